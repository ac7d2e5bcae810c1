import math

import numpy as np
import pytest

from ltx_jax.checkpoints import keys
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  Block,
  TransformerConfig,
  VAEConfig,
)
from tests.checkpoints import manifests

COUNTS = {
  "transformer_2b": 1_923_385_472,
  "transformer_13b": 13_042_569_344,
  "vae_a": 419_193_649,
  "vae_b": 934_976_434,
  "vae_c": 1_246_913_522,
}


def _entries(name, config):
  if name.startswith("vae"):
    return keys.vae_entries(VAEConfig.from_metadata(config))
  return keys.transformer_entries(TransformerConfig.from_metadata(config))


def test_there_is_a_manifest_of_every_release():
  assert set(COUNTS) < set(manifests.NAMES)


@pytest.mark.parametrize("name", manifests.NAMES)
def test_the_map_names_the_tensors_of_the_original(name):
  config, parameters, tensors = manifests.read(name)
  entries = _entries(name, config)
  official = {entry.key: entry.shape for entry in entries}
  assert len(official) == len(entries)
  statistics = {
    key: shape for key, shape in official.items() if key.startswith(keys.STATISTICS)
  }
  expected = {k: v for k, v in tensors.items() if k not in keys.IGNORED}
  assert {k: v for k, v in official.items() if k not in statistics} == expected
  if name.startswith("vae"):
    c = config["latent_channels"]
    assert statistics == {
      keys.MEAN_OF_MEANS: (c,),
      f"{keys.STATISTICS}std-of-means": (c,),
    }
  assert parameters == COUNTS.get(name, parameters)


@pytest.mark.parametrize("name", COUNTS)
def test_the_trees_hold_as_many_numbers_as_the_released_networks(name):
  config, _, _ = manifests.read(name)
  shapes = keys.tree_shapes(_entries(name, config))
  numbers = [math.prod(s) for p, s in shapes.items() if not p.startswith(keys.MEASURED)]
  assert sum(numbers) == COUNTS[name]


@pytest.mark.parametrize(
  ("name", "config"),
  [
    ("transformer_2b", TRANSFORMER_2B),
    ("transformer_13b", TRANSFORMER_13B),
    ("vae_a", VAE_A),
    ("vae_b", VAE_B),
    ("vae_c", VAE_C),
  ],
)
def test_the_named_configs_are_those_of_the_releases(name, config):
  metadata, _, _ = manifests.read(name)
  entries = _entries(name, config.to_metadata())
  assert entries == _entries(name, metadata)


@pytest.mark.parametrize("name", manifests.NAMES)
def test_every_array_is_made_of_all_its_layers(name):
  config, _, _ = manifests.read(name)
  for path, group in keys.by_path(_entries(name, config)).items():
    layers = [entry.layer for entry in group]
    expected = [None] if layers == [None] else list(range(group[0].layers))
    assert layers == expected, path
    assert len({(e.shape, e.layout, e.our_shape) for e in group}) == 1, path


def test_paths_of_the_transformer():
  config, _, _ = manifests.read("transformer_2b")
  shapes = keys.tree_shapes(_entries("transformer_2b", config))
  d, n = 2048, 28
  expected = {
    "scale_shift_table": (2, d),
    "patchify_proj/kernel": (128, d),
    "proj_out/kernel": (d, 128),
    "adaln_single/emb/timestep_embedder/linear_1/kernel": (256, d),
    "adaln_single/emb/timestep_embedder/linear_2/bias": (d,),
    "adaln_single/linear/kernel": (d, 6 * d),
    "caption_projection/linear_1/kernel": (4096, d),
    "blocks/scale_shift_table": (n, 6, d),
    "blocks/attn1/to_q/kernel": (n, d, d),
    "blocks/attn2/to_out/bias": (n, d),
    "blocks/attn2/k_norm/scale": (n, d),
    "blocks/ff/proj_in/kernel": (n, d, 4 * d),
    "blocks/ff/proj_out/kernel": (n, 4 * d, d),
  }
  assert {path: shapes.get(path) for path in expected} == expected
  assert len(shapes) == 15 + 25


def test_paths_of_the_vae():
  config, _, _ = manifests.read("vae_b")
  shapes = keys.tree_shapes(_entries("vae_b", config))
  expected = {
    "encoder/conv_in/kernel": (3, 3, 3, 48, 128),
    "encoder/down_blocks_0/res_blocks/conv1/kernel": (4, 3, 3, 3, 128, 128),
    "encoder/down_blocks_1/conv/kernel": (3, 3, 3, 128, 128),
    "encoder/down_blocks_2/conv_shortcut/kernel": (1, 1, 1, 128, 256),
    "encoder/down_blocks_2/norm3/scale": (128,),
    "encoder/conv_out/bias": (129,),
    "decoder/up_blocks_2/res_blocks/per_channel_scale1": (7, 512),
    "decoder/up_blocks_0/res_blocks/scale_shift_table": (8, 4, 1024),
    "decoder/up_blocks_0/time_embedder/timestep_embedder/linear_2/kernel": (4096, 4096),
    "decoder/up_blocks_1/conv/kernel": (3, 3, 3, 1024, 4096),
    "decoder/timestep_scale_multiplier": (),
    "decoder/last_scale_shift_table": (2, 128),
    "decoder/last_time_embedder/timestep_embedder/linear_1/kernel": (256, 256),
    "per_channel_statistics/mean": (128,),
    "per_channel_statistics/std": (128,),
  }
  assert {path: shapes.get(path) for path in expected} == expected


@pytest.mark.parametrize(
  ("layout", "shape", "ours"),
  [
    (keys.SAME, (4,), (4,)),
    (keys.DENSE, (2, 3), (3, 2)),
    (keys.CONV, (2, 3, 4, 5, 6), (4, 5, 6, 3, 2)),
    (keys.COLUMN, (4, 1, 1), (4,)),
  ],
)
def test_layouts_go_both_ways(layout, shape, ours):
  official = np.arange(math.prod(shape)).reshape(shape)
  view = layout.view(official)
  assert layout.shape(shape) == view.shape == ours
  assert np.shares_memory(view, official)
  np.testing.assert_array_equal(layout.official_view(view), official)


def test_dense_and_convolution_kernels_turn_as_xla_wants_them():
  dense = np.arange(6).reshape(2, 3)
  assert keys.DENSE.view(dense)[2, 1] == dense[1, 2]
  conv = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
  assert keys.CONV.view(conv)[3, 4, 5, 2, 1] == conv[1, 2, 3, 4, 5]


def test_older_names_are_read_as_todays():
  assert keys.vae_key("encoder.down_blocks.0.resnets.1.conv1.conv.weight") == (
    "encoder.down_blocks.0.res_blocks.1.conv1.conv.weight"
  )
  assert keys.vae_key("decoder.upsamplers.0.conv") == "decoder.upsample.conv"


def test_only_norms_that_the_network_has_not_are_strays():
  config, _, _ = manifests.read("vae_a")
  strays = {
    "encoder.down_blocks.0.res_blocks.0.norm1.norm.weight",
    "encoder.mid_block.norm.bias",
    "norm.weight",
  }
  of_the_network = {
    "encoder.down_blocks.0.res_blocks.0.norm1.weight",
    "encoder.down_blocks.2.norm3.bias",
    "decoder.conv_norm_out.weight",
    "latent_norm_out.running_mean",
    "encoder.mid_block.bias",
  }
  entries = _entries("vae_a", config)
  assert keys.stray_norms(strays | of_the_network, entries) == strays


def test_blocks_on_the_wrong_side_are_refused():
  attention = Block("attn_res_x", 1, attention_head_dim=8)
  with pytest.raises(ValueError, match="An encoder has no 'attn_res_x' blocks"):
    keys.vae_entries(VAEConfig(encoder_blocks=(attention,)))
  with pytest.raises(ValueError, match="A decoder has no 'compress_all_res' blocks"):
    keys.vae_entries(VAEConfig(decoder_blocks=(Block("compress_all_res"),)))
