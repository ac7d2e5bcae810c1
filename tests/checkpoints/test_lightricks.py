import dataclasses

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.lightricks import (
  check_same_latents,
  load_checkpoint,
  read_config,
  save_checkpoint,
)
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import SchedulerConfig, TransformerConfig
from tests.checkpoints import small


@pytest.fixture
def path(tmp_path):
  return tmp_path / "model.safetensors"


def _assert_equal(tree, other):
  ours, theirs = flatten(tree), flatten(other)
  assert ours.keys() == theirs.keys()
  for name in ours:
    assert ours[name].dtype == theirs[name].dtype, name
    np.testing.assert_array_equal(np.asarray(ours[name]), theirs[name], err_msg=name)


def test_every_tensor_arrives_where_it_belongs(path):
  tensors = small.official()
  small.write(path, tensors, small.metadata())
  config, params = load_checkpoint(path)
  assert config.transformer == small.TRANSFORMER
  assert config.vae == small.VAE
  assert config.scheduler == SchedulerConfig(sampler="LinearQuadratic")
  kernel = tensors["model.diffusion_model.transformer_blocks.2.attn2.to_out.0.weight"]
  ours = params["transformer"]["blocks"]["attn2"]["to_out"]["kernel"]
  np.testing.assert_array_equal(ours[2], kernel.T)
  conv = tensors["vae.encoder.down_blocks.0.res_blocks.1.conv2.conv.weight"]
  ours = params["vae"]["encoder"]["down_blocks_0"]["res_blocks"]["conv2"]["kernel"]
  np.testing.assert_array_equal(ours[1], conv.transpose(2, 3, 4, 1, 0))
  noise = tensors["vae.decoder.up_blocks.4.res_blocks.1.per_channel_scale2"]
  ours = params["vae"]["decoder"]["up_blocks_4"]["res_blocks"]["per_channel_scale2"]
  np.testing.assert_array_equal(ours[1], noise[:, 0, 0])
  statistics = params["vae"]["per_channel_statistics"]
  for ours, theirs in (("mean", "mean-of-means"), ("std", "std-of-means")):
    official = tensors[f"vae.per_channel_statistics.{theirs}"]
    np.testing.assert_array_equal(statistics[ours], official)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_save_load_save_gives_the_same_bytes(tmp_path, dtype):
  one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
  params = small.params(jnp.dtype(dtype))
  save_checkpoint(one, small.CONFIG, params)
  config, loaded = load_checkpoint(one)
  assert config == small.CONFIG
  _assert_equal(loaded, params)
  save_checkpoint(two, config, loaded)
  assert one.read_bytes() == two.read_bytes()


def test_a_foreign_file_keeps_every_tensor_and_its_config_when_written(tmp_path):
  one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
  tensors = small.official()
  metadata = small.metadata() | {"extra": {"a": [1, {"b": None}]}, "name": "theirs"}
  small.write(one, tensors, metadata)
  save_checkpoint(two, *load_checkpoint(one))
  with open_safetensors(two) as reader:
    assert set(reader.names) == set(tensors)
    for name, tensor in tensors.items():
      np.testing.assert_array_equal(reader.read(name), tensor)
  assert read_config(two) == read_config(one)


def test_weights_are_cast_while_loading_and_statistics_are_not(path):
  tensors = small.official()
  small.write(path, tensors, small.metadata())
  _, params = load_checkpoint(path, dtype="bfloat16")
  for name, leaf in flatten(params).items():
    measured = "per_channel_statistics" in name
    assert leaf.dtype == ("float32" if measured else "bfloat16"), name
  kernel = tensors["model.diffusion_model.proj_out.weight"]
  np.testing.assert_array_equal(
    params["transformer"]["proj_out"]["kernel"], kernel.T.astype(ml_dtypes.bfloat16)
  )


def test_weights_are_cast_while_saving_and_statistics_are_not(path):
  params = small.params()
  save_checkpoint(path, small.CONFIG, params, dtype="bfloat16")
  with open_safetensors(path) as reader:
    for name in reader.names:
      measured = "per_channel_statistics" in name
      assert reader.dtype(name) == ("float32" if measured else "bfloat16"), name
  _, loaded = load_checkpoint(path, dtype="float32")
  kernel = params["transformer"]["patchify_proj"]["kernel"]
  np.testing.assert_array_equal(
    loaded["transformer"]["patchify_proj"]["kernel"],
    kernel.astype(ml_dtypes.bfloat16).astype(np.float32),
  )


def test_bfloat16_files_stay_bfloat16_with_float32_statistics(path):
  tensors = {k: v.astype(ml_dtypes.bfloat16) for k, v in small.official().items()}
  small.write(path, tensors, small.metadata())
  _, params = load_checkpoint(path)
  assert params["vae"]["encoder"]["conv_in"]["kernel"].dtype == "bfloat16"
  assert params["vae"]["per_channel_statistics"]["std"].dtype == "float32"


def test_arrays_are_placed_by_path_as_they_are_read(path):
  small.write(path, small.official(), small.metadata())
  seen = {}

  def place(name, array):
    assert isinstance(array, np.ndarray)
    seen[name] = array.shape
    return jax.device_put(array, jax.devices()[-1])

  _, params = load_checkpoint(path, place=place)
  flat = flatten(params)
  assert {name: leaf.shape for name, leaf in flat.items()} == seen
  assert {leaf.device for leaf in flat.values()} == {jax.devices()[-1]}
  assert seen["transformer/blocks/attn1/to_q/kernel"] == (3, 24, 24)


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_a_file_may_hold_one_network_with_or_without_prefixes(tmp_path, part):
  whole = small.official()
  for prefix in (keys.PREFIXES[part], ""):
    tensors = small.official(prefixes={part: prefix})
    path = small.write(tmp_path / "x.safetensors", tensors, small.metadata())
    config, params = load_checkpoint(path)
    assert list(params) == [part]
    other = "vae" if part == "transformer" else "transformer"
    assert getattr(config, other) is None
    with pytest.raises(ValueError, match=f"has no {other}; it has {part}"):
      load_checkpoint(path, parts=[other])
    save_checkpoint(path, config, params)
    with open_safetensors(path) as reader:
      assert set(reader.names) == {
        k for k in whole if k.startswith(keys.PREFIXES[part])
      }


def test_one_part_of_a_whole_file_can_be_read_alone(path):
  small.write(path, small.official(), small.metadata())
  config, params = load_checkpoint(path, parts=["vae"])
  assert list(params) == ["vae"]
  assert config.transformer is None and config.vae == small.VAE
  with pytest.raises(ValueError, match="No part is called 'text'; there are trans"):
    load_checkpoint(path, parts=["text"])


def test_quirks_of_the_originals_loader(path):
  tensors = small.official()
  expected = dict(tensors)
  means = tensors.pop("vae.per_channel_statistics.mean-of-means")
  for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means"):
    tensors[f"vae.per_channel_statistics.{name}"] = means
  tensors["vae.encoder.mid_block.norm.weight"] = means
  old = {k.replace(".res_blocks.", ".resnets."): v for k, v in tensors.items()}
  assert old.keys() != tensors.keys()
  small.write(path, old, small.metadata())
  _, params = load_checkpoint(path)
  small.write(path, expected, small.metadata())
  _, plain = load_checkpoint(path)
  plain["vae"]["per_channel_statistics"]["mean"] = np.zeros(8, np.float32)
  _assert_equal(params, plain)


def _refused(path, tensors, message, config=None):
  small.write(path, tensors, config or small.metadata())
  with pytest.raises(ValueError, match=message) as error:
    load_checkpoint(path)
  assert str(path) in str(error.value)
  return str(error.value)


def test_missing_misshaped_and_unknown_tensors_are_listed_with_shapes(path):
  tensors = small.official()
  del tensors["vae.encoder.conv_in.conv.bias"]
  tensors["vae.encoder.conv_out.conv.bias"] = np.zeros(5, np.float32)
  tensors["vae.encoder.extra.bias"] = np.zeros(6, np.float32)
  message = _refused(path, tensors, "a VAE of 10 blocks and 8 latent channels")
  assert "differs in 3 tensors" in message
  assert "encoder.conv_in.conv.bias (expected (8,), found nothing)" in message
  assert "encoder.conv_out.conv.bias (expected (9,), found (5,))" in message
  assert "encoder.extra.bias (expected nothing, found (6,))" in message


def test_at_most_ten_tensors_are_listed(path):
  tensors = {k: v for k, v in small.official().items() if "attn1" not in k}
  message = _refused(path, tensors, "a transformer of 3 layers and width 24")
  assert "differs in 30 tensors" in message
  assert message.count("found nothing") == 10
  assert "and 20 more; take a checkpoint" in message


def test_the_standard_deviations_may_not_be_missing(path):
  tensors = small.official()
  del tensors["vae.per_channel_statistics.std-of-means"]
  _refused(path, tensors, "std-of-means .expected .8,., found nothing")


def test_norms_that_the_network_has_without_parameters_are_no_strays(path):
  tensors = small.official()
  tensors["vae.encoder.conv_norm_out.weight"] = np.zeros(8, np.float32)
  _refused(path, tensors, "encoder.conv_norm_out.weight .expected nothing")


def test_tensors_of_neither_network_are_refused(path):
  tensors = small.official() | {"text.shared.weight": np.zeros((2, 3), np.float32)}
  message = "belong to no transformer and no VAE: text.shared.weight .2, 3."
  _refused(path, tensors, message)
  tensors = small.official() | {"encoder.conv_in.conv.bias": np.zeros(8, np.float32)}
  _refused(path, tensors, "belong to no transformer and no VAE: encoder.conv_in")
  _refused(path, {}, "has no tensors")


def test_two_names_for_one_tensor_are_refused(path):
  tensors = small.official()
  name = "vae.encoder.down_blocks.0.res_blocks.0.conv1.conv.bias"
  tensors[name.replace("res_blocks", "resnets")] = tensors[name]
  _refused(path, tensors, "has tensors of the same meaning: vae.encoder.down_blocks.0")


def test_integers_are_no_weights(path):
  tensors = small.official()
  name = "model.diffusion_model.proj_out.bias"
  tensors[name] = np.zeros(8, np.int32)
  _refused(path, tensors, f"has {name} as int32; weights are floating-point")


def test_configs_that_do_not_fit_are_refused(path):
  tensors, metadata = small.official(), small.metadata()
  wide = metadata | {"transformer": metadata["transformer"] | {"in_channels": 9}}
  _refused(
    path,
    tensors,
    "a transformer of 3 layers and width 24 has in_channels = 9, but a VAE of 10 "
    "blocks and 8 latent channels has latent_channels = 8",
    wide,
  )
  odd = metadata | {"transformer": metadata["transformer"] | {"qk_norm": "layer_norm"}}
  _refused(path, tensors, "qk_norm = 'layer_norm'", odd)
  _refused(path, tensors, "not a JSON object of transformer, vae", {"vae": 3})
  _refused(path, tensors, "not a JSON object of transformer, vae", [1])


def test_a_config_that_is_no_json_is_refused(path):
  listed = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in small.official().items()]
  small.write_safetensors(path, listed, {"config": "{nonsense"})
  with pytest.raises(ValueError, match=r"model\.safetensors.*config is not JSON"):
    read_config(path)


def test_unknown_networks_without_a_config_are_refused(path):
  small.write(path, small.official())
  with pytest.raises(ValueError, match="no config in its metadata, and its VAE of"):
    load_checkpoint(path)
  small.write(path, small.official(prefixes={"transformer": ""}))
  with pytest.raises(ValueError, match="is none of the 2B transformer, the 13B"):
    load_checkpoint(path)


def test_transformer_and_vae_must_have_the_same_latents():
  config = small.CONFIG
  check_same_latents(dataclasses.replace(config, transformer=None), config)
  check_same_latents(config, config)
  wide = dataclasses.replace(config, transformer=TransformerConfig())
  with pytest.raises(ValueError, match="the 2B transformer has in_channels = 128, but"):
    check_same_latents(wide, config)
  message = r"the 2B transformer in a/b has in_channels.* a VAE of .* in c has latent"
  with pytest.raises(ValueError, match=message):
    check_same_latents(wide, config, ("a/b", "c"))


def test_transformer_and_vae_of_two_releases_are_refused():
  older, newer = (
    dataclasses.replace(small.CONFIG, name=name) for name in ("0.9.0", "0.9.5")
  )
  unnamed = dataclasses.replace(small.CONFIG, name=None)
  for pair in ((older, older), (older, unnamed), (unnamed, older)):
    check_same_latents(*pair)
  message = "the transformer in a is of '0.9.0', but the VAE in b is of '0.9.5'"
  with pytest.raises(ValueError, match=message):
    check_same_latents(older, newer, ("a", "b"))
  without = dataclasses.replace(newer, vae=None)
  check_same_latents(older, without)


def test_only_parameters_that_fit_are_written(path):
  params = small.params()
  params["vae"]["encoder"]["conv_in"]["bias"] = np.zeros(5, np.float32)
  del params["vae"]["decoder"]["conv_in"]["kernel"]
  params["vae"]["decoder"]["more"] = np.zeros(3, np.float32)
  with pytest.raises(ValueError, match="differs in 3 tensors") as error:
    save_checkpoint(path, small.CONFIG, params)
  assert "encoder/conv_in/bias (expected (8,), found (5,))" in str(error.value)
  del params["vae"]
  with pytest.raises(ValueError, match="the parameters lack 'vae'"):
    save_checkpoint(path, small.CONFIG, params)
  nothing = dataclasses.replace(small.CONFIG, transformer=None, vae=None)
  with pytest.raises(ValueError, match="the config has neither of"):
    save_checkpoint(path, nothing, params)
  assert not path.exists()
