import dataclasses
import json

import jax
import numpy as np
import pytest

from ltx_jax.checkpoints import diffusers, diffusers_vae, networks, recognize, shards
from ltx_jax.checkpoints.diffusers import load_checkpoint, read_config, save_checkpoint
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  Block,
  ModelConfig,
  SchedulerConfig,
)
from tests.checkpoints import folders, small

RELEASED = {"a": VAE_A, "b": VAE_B, "c": VAE_C}


def _edit(path, **changes):
  content = json.loads(path.read_text())
  content |= changes
  path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


@pytest.fixture
def folder(tmp_path):
  config = folders.config(newer=True)
  save_checkpoint(tmp_path, config, folders.params(config))
  return tmp_path


@pytest.mark.parametrize("newer", [False, True])
def test_a_folder_arrives_as_it_was_written(tmp_path, newer):
  config = dataclasses.replace(
    folders.config(newer),
    allowed_inference_steps=(1.0, 0.5),
    default_size=(9, 64, 96),
    default_fps=12.0,
    extra=(("made_by", "a test"),),
  )
  params = folders.params(config)
  save_checkpoint(tmp_path, config, params, max_shard_bytes=100_000)
  found, loaded = load_checkpoint(tmp_path)
  assert found == config
  ours, theirs = flatten(loaded), flatten(params)
  assert ours.keys() == theirs.keys()
  for name, array in theirs.items():
    assert isinstance(ours[name], jax.Array)
    np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_names_are_those_of_diffusers(folder):
  config, params = load_checkpoint(folder)
  transformer = folders.tensors(folder / "transformer")
  kernel = params["transformer"]["blocks"]["attn2"]["to_k"]["kernel"]
  name = "transformer_blocks.2.attn2.to_k.weight"
  np.testing.assert_array_equal(transformer[name], kernel[2].T)
  for name in (
    "proj_in.weight",
    "time_embed.emb.timestep_embedder.linear_1.bias",
    "transformer_blocks.0.attn1.norm_q.weight",
    "caption_projection.linear_2.weight",
  ):
    assert name in transformer
  vae = folders.tensors(folder / "vae")
  for name in (
    "encoder.down_blocks.3.downsamplers.0.conv.conv.weight",
    "encoder.mid_block.resnets.1.conv2.conv.bias",
    "decoder.mid_block.time_embedder.timestep_embedder.linear_1.weight",
    "decoder.up_blocks.2.resnets.4.scale_shift_table",
    "decoder.up_blocks.0.upsamplers.0.conv.conv.weight",
    "decoder.scale_shift_table",
    "latents_mean",
  ):
    assert name in vae
  older = diffusers_vae.names(VAE_A)
  assert older["encoder.down_blocks.5.conv_shortcut.weight"] == (
    "encoder.down_blocks.1.conv_out.conv_shortcut.conv.weight"
  )
  assert older["decoder.up_blocks.7.norm3.norm.bias"] == (
    "decoder.up_blocks.3.conv_in.norm3.bias"
  )
  assert older["decoder.up_blocks.1.res_blocks.0.conv1.conv.weight"] == (
    "decoder.up_blocks.0.resnets.0.conv1.conv.weight"
  )
  assert config.name == "tiny"


@pytest.mark.parametrize("name", RELEASED)
def test_released_vaes_cross_both_ways(name):
  config = RELEASED[name]
  written = diffusers_vae.to_diffusers(config)
  assert diffusers_vae.from_diffusers(written) == config
  theirs = folders.DIFFUSERS_VAES[name]
  for key in theirs.keys() - {"latent_channels", "patch_size"}:
    expected = theirs[key]
    if key.endswith("out_channels"):
      expected = [16 * channels for channels in expected]
    if key == "spatial_compression_ratio":
      expected = 32
    assert written[key] == (list(expected) if isinstance(expected, tuple) else expected)
  assert len(set(diffusers_vae.names(config).values())) == len(
    networks.ENTRIES["vae"](config)
  )


def test_what_a_folder_of_others_does_not_say_is_guessed(folder):
  for file in (diffusers._INDEX, *diffusers._FILES.values()):
    _edit(folder / file, _ltx_video=...)
  newer = dataclasses.replace(folders.config(True), name=None)
  assert read_config(folder) == newer
  _edit(folder / "model_index.json", _class_name="LTXPipeline")
  assert read_config(folder) == newer  # Recognised by the VAE.
  for part in ("vae", "scheduler"):
    (folder / diffusers._FILES[part]).unlink()
  found = read_config(folder)
  assert found.vae is None
  assert not found.transformer.causal_temporal_positioning
  assert found.scheduler.sampler == "Uniform"
  _edit(folder / "model_index.json", _class_name="LTXConditionPipeline")
  assert read_config(folder) == dataclasses.replace(newer, vae=None)
  _edit(folder / "model_index.json", _class_name="LTXPipeline")
  _edit(folder / "transformer/config.json", num_layers=48)
  assert read_config(folder).transformer.causal_temporal_positioning


def test_options_that_diffusers_has_no_words_for_are_kept(tmp_path):
  config = folders.config(newer=True)
  config = dataclasses.replace(
    config,
    transformer=dataclasses.replace(
      config.transformer,
      causal_temporal_positioning=False,
      extra=(("project_to_2d_pos", True),),
    ),
    scheduler=SchedulerConfig(sampler="Constant", shift=2.0, extra=(("more", 1),)),
  )
  save_checkpoint(tmp_path, config, folders.params(config))
  written = json.loads((tmp_path / "transformer/config.json").read_text())
  assert written["_ltx_video"] == {
    "causal_temporal_positioning": False,
    "project_to_2d_pos": True,
  }
  assert read_config(tmp_path) == config
  _edit(tmp_path / "transformer/config.json", _ltx_video=3)
  with pytest.raises(ValueError, match="_ltx_video is 3 and should be a JSON object"):
    read_config(tmp_path)


def test_released_configs_leave_nothing_but_names_out():
  newer = dataclasses.replace(TRANSFORMER_2B, causal_temporal_positioning=True)
  for config in (
    ModelConfig(TRANSFORMER_2B, VAE_A, recognize.SHIFTED),
    ModelConfig(newer, VAE_C, recognize.LINEAR_QUADRATIC),
    ModelConfig(TRANSFORMER_13B, VAE_C, recognize.LINEAR_QUADRATIC),
  ):
    contents = diffusers._contents(config, networks.PARTS)
    assert not any("_ltx_video" in content for content in contents.values())
    assert diffusers._config(contents) == config


def test_weights_are_cast_and_placed_and_parts_chosen(folder):
  seen = []

  def place(path, array):
    seen.append(path)
    return jax.device_put(array)

  config, params = load_checkpoint(folder, "bfloat16", place, parts=["vae"])
  assert config.transformer is None and list(params) == ["vae"]
  assert sorted(seen) == sorted(f"vae/{path}" for path in flatten(params["vae"]))
  assert params["vae"]["encoder"]["conv_in"]["kernel"].dtype == "bfloat16"
  assert params["vae"]["per_channel_statistics"]["std"].dtype == "float32"
  with pytest.raises(ValueError, match="No part is called 'text'"):
    load_checkpoint(folder, parts=["text"])


@pytest.mark.slow
def test_a_folder_written_over_another_leaves_none_of_its_weights(folder):
  config = folders.config(newer=True)
  others = folder / "vae" / "diffusion_pytorch_model.fp16.safetensors"
  others.touch()  # Another's file, which must stay.
  save_checkpoint(folder, config, folders.params(config), max_shard_bytes=100_000)
  names = {path.name for path in (folder / "vae").glob("*model*")}
  assert "diffusion_pytorch_model.safetensors" not in names
  assert "diffusion_pytorch_model.safetensors.index.json" in names
  assert load_checkpoint(folder)[0] == config
  save_checkpoint(folder, config, folders.params(config))
  names = {path.name for path in (folder / "vae").glob("*model*")}
  assert names == {"diffusion_pytorch_model.safetensors", others.name}


def test_an_index_never_lists_shards_of_two_models(folder, monkeypatch):
  config = folders.config(newer=True)
  save_checkpoint(folder, config, folders.params(config), max_shard_bytes=100_000)
  written = []

  def broken_off(path, *_):
    written.append(path)
    raise OSError("no space left")

  monkeypatch.setattr(shards, "write_safetensors", broken_off)
  with pytest.raises(OSError, match="no space left"):
    save_checkpoint(folder, config, folders.params(config), max_shard_bytes=100_000)
  index = written[0].with_name("diffusion_pytorch_model.safetensors.index.json")
  assert not index.exists()


@pytest.mark.parametrize(
  ("file", "changes", "message"),
  [
    ("transformer/config.json", {"num_layers": 2}, "25 of them are unknown"),
    ("transformer/config.json", {"num_layers": 4}, "differs in 25 tensors"),
    ("transformer/config.json", {"rope": "new"}, "unknown options: rope"),
    ("transformer/config.json", {"patch_size": 2}, "patch_size = 2; this code runs 1"),
    ("transformer/config.json", {"_class_name": "Other"}, "_class_name = 'Other'"),
    ("transformer/config.json", {"in_channels": 9}, "do not go together"),
    ("vae/config.json", {"tiling": 1}, "unknown options: tiling"),
    ("vae/config.json", {"layers_per_block": [4]}, "lists that are too short"),
    ("vae/config.json", {"encoder_causal": False}, "encoder_causal = False"),
    ("vae/config.json", {"upsample_factor": [3, 2, 2]}, "16, not a multiple of 3"),
    ("vae/config.json", {"downsample_type": ["x"] * 4}, "downsample_type = 'x'"),
    ("scheduler/scheduler_config.json", {"shift": 3.0}, "shift = 3.0"),
    (
      "scheduler/scheduler_config.json",
      {"use_dynamic_shifting": True, "base_shift": 0.5},
      "base_shift = 0.5; this code runs 0.95",
    ),
  ],
)
def test_folders_that_do_not_fit_are_refused(folder, file, changes, message):
  _edit(folder / file, **changes)
  with pytest.raises(ValueError, match=message):
    load_checkpoint(folder)


def test_damaged_folders_are_refused(folder, tmp_path_factory):
  weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
  weights.rename(folder / "vae" / "diffusion_pytorch_model.bin")
  with pytest.raises(ValueError, match="found only diffusion_pytorch_model.bin"):
    load_checkpoint(folder)
  (folder / "vae/config.json").write_text("{")
  with pytest.raises(ValueError, match="config.json is not a JSON file"):
    load_checkpoint(folder)
  empty = tmp_path_factory.mktemp("empty")
  with pytest.raises(ValueError, match="is not a folder in the diffusers layout"):
    read_config(empty)


def test_networks_that_diffusers_cannot_have_are_not_written(tmp_path):
  with pytest.raises(ValueError, match=r"positional_embedding_max_pos = \(20, 2048"):
    config = folders.config(True)
    narrow = dataclasses.replace(
      config.transformer, positional_embedding_max_pos=(5, 9, 9)
    )
    config = dataclasses.replace(config, transformer=narrow)
    save_checkpoint(tmp_path / "x", config, folders.params(config))
  with pytest.raises(ValueError, match="diffusers' AutoencoderKLLTXVideo cannot have"):
    save_checkpoint(tmp_path / "x", small.CONFIG, small.params())
  assert not (tmp_path / "x").exists()
  one = Block("res_x")
  for changes, message in (
    ({"norm_layer": "group_norm"}, "norm_layer = 'group_norm'"),
    ({"encoder_blocks": (one, Block("compress_time"), one)}, "block 1 .'compress_time"),
    ({"encoder_blocks": (one, Block("compress_all"))}, "no 'res_x'"),
    ({"encoder_blocks": (Block("compress_all"), one)}, "block 0 .'compress_all'"),
    ({"encoder_blocks": (one, Block("res_x_y"), one)}, "these block lists"),
    ({"decoder_blocks": (one, Block("res_x_y"), one)}, "is told the noise level"),
  ):
    with pytest.raises(ValueError, match=message):
      diffusers_vae.to_diffusers(dataclasses.replace(VAE_C, **changes))
