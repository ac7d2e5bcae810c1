import dataclasses
import json

import jax
import numpy as np
import pytest

from ltx_jax.checkpoints.safetensors_io import open_safetensors, write_safetensors
from ltx_jax.checkpoints.upsampler import load_upsampler, save_upsampler
from tests.models import upsampler_case as case

KINDS = pytest.mark.parametrize("kind", case.KINDS)
CONFIG = case.config("spatial")


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "upsampler.safetensors"
  save_upsampler(path, CONFIG, case.random_params(CONFIG))
  return path


@KINDS
def test_what_is_saved_is_read_back_bit_for_bit(tmp_path, kind):
  config = dataclasses.replace(case.config(kind), extra=(("note", "kept"),))
  params = case.random_params(config)
  paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
  save_upsampler(paths[0], config, params)
  found, read = load_upsampler(paths[0])
  assert dict(found.extra) == {"_class_name": "LatentUpsampler", "note": "kept"}
  assert dataclasses.replace(found, extra=()) == dataclasses.replace(config, extra=())
  jax.tree.map(np.testing.assert_array_equal, read, params)
  save_upsampler(paths[1], found, read)
  assert paths[0].read_bytes() == paths[1].read_bytes()


def test_keys_are_those_of_the_original(path):
  with open_safetensors(path) as reader:
    assert len(reader.names) == 8 + 2 * CONFIG.num_blocks_per_stage * 8
    assert reader.shape("upsampler.0.weight") == (256, 64, 3, 3)
    assert reader.shape("res_blocks.1.conv2.weight") == (64, 64, 3, 3, 3)
    assert reader.shape("post_upsample_res_blocks.0.norm1.bias") == (64,)


def _rewrite(path, change=lambda tensors: None, metadata=None):
  with open_safetensors(path) as reader:
    tensors = {name: reader.read(name) for name in reader.names}
    metadata = dict(reader.metadata) if metadata is None else metadata
  change(tensors)
  items = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  write_safetensors(path, items, metadata)


def _refused(path, message):
  with pytest.raises(ValueError, match=message) as error:
    load_upsampler(path)
  assert str(path) in str(error.value)


def test_tensors_that_do_not_fit_are_named(path):
  _rewrite(path, lambda tensors: tensors.pop("final_conv.bias"))
  _refused(path, r"final_conv.bias \(expected \(6,\), found nothing\)")
  stray = {"final_conv.bias": np.zeros(6, np.int32)}
  _rewrite(path, lambda tensors: tensors.update(stray))
  _refused(path, "has final_conv.bias as int32")


@pytest.mark.parametrize(
  ("metadata", "message"),
  [
    ({}, "is not a latent upsampler"),
    ({"config": "{"}, "config is not JSON"),
    ({"config": json.dumps({"vae": {}})}, "is not a latent upsampler"),
    ({"config": json.dumps({"spatial_upsample": True, "dims": 5})}, "dims = 5"),
  ],
)
def test_files_of_something_else_are_refused(path, metadata, message):
  _rewrite(path, metadata=metadata)
  _refused(path, message)


def test_parameters_of_another_config_are_not_written(tmp_path):
  path = tmp_path / "no.safetensors"
  with pytest.raises(ValueError, match="a temporal latent upsampler of width 64 and 2"):
    save_upsampler(path, case.config("temporal"), case.random_params(CONFIG))
  assert not path.exists()
