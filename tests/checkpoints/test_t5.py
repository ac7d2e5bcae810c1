import dataclasses
import json
import tracemalloc

import jax
import ml_dtypes
import numpy as np
import pytest

from ltx_jax.checkpoints.keys import tree_shapes
from ltx_jax.checkpoints.safetensors_io import (
  aligned_empty,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.t5 import load_config, load_t5, save_t5, t5_entries
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from tests.models.t5_case import CONFIG, random_params

QUERY = "encoder.block.1.layer.0.SelfAttention.q.weight"
INDEX = "model.safetensors.index.json"


def _write(path, arrays):
  write_safetensors(
    path, [(name, a.shape, a.dtype, lambda a=a: a) for name, a in arrays.items()]
  )


def _arrays(folder):
  with open_safetensors(folder / "model.safetensors") as reader:
    return {name: reader.read(name) for name in reader.names}


@pytest.fixture
def saved(tmp_path):
  folder = tmp_path / "saved"
  save_t5(folder, CONFIG, random_params())
  return folder


def _shard(folder, parts):
  """Splits the file into shards: {file name: tensors}, or one name per tensor."""
  (folder / "model.safetensors").unlink()
  weight_map = {}
  for file, arrays in parts.items():
    _write(folder / file, arrays)
    weight_map |= dict.fromkeys(arrays, file)
  (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _assert_equal(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_file_has_the_official_names_and_layout(saved):
  params, arrays = random_params(), _arrays(saved)
  blocks = params["blocks"]
  attention, ff = "encoder.block.1.layer.0.", "encoder.block.1.layer.1."
  expected = {
    "shared.weight": params["shared"]["embedding"],
    "encoder.final_layer_norm.weight": params["final_norm"]["scale"],
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
      params["relative_attention_bias"]["embedding"]
    ),
    attention + "layer_norm.weight": blocks["attention_norm"]["scale"][1],
    **{
      f"{attention}SelfAttention.{name}.weight": blocks[name]["kernel"][1].T
      for name in "qkvo"
    },
    ff + "layer_norm.weight": blocks["ff_norm"]["scale"][1],
    **{
      f"{ff}DenseReluDense.{name}.weight": blocks[name]["kernel"][1].T
      for name in ("wi_0", "wi_1", "wo")
    },
  }
  assert len(arrays) == 3 + 9 * CONFIG.num_layers
  for name, array in expected.items():
    np.testing.assert_array_equal(arrays[name], array, err_msg=name)
  with open_safetensors(saved / "model.safetensors") as reader:
    assert reader.metadata == {"format": "pt"}
  config = json.loads((saved / "config.json").read_text())
  assert config["architectures"] == ["T5EncoderModel"]
  assert (config["model_type"], config["num_heads"]) == ("t5", 3)


def test_save_load_save_is_bit_identical(saved, tmp_path):
  config, params = load_t5(saved)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
  _assert_equal(params, random_params())
  save_t5(tmp_path / "again", config, params)
  for name in ("model.safetensors", "config.json"):
    assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()
  assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
    "config.json",
    "model.safetensors",
  ]


def test_dtype_is_cast_on_reading_and_on_writing(saved, tmp_path):
  config, params = load_t5(saved, dtype="bfloat16")
  expected = jax.tree.map(lambda a: a.astype(ml_dtypes.bfloat16), random_params())
  assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"bfloat16"}
  _assert_equal(params, expected)
  save_t5(tmp_path / "half", config, params)
  save_t5(tmp_path / "cast", config, random_params(), dtype="bfloat16")
  half, cast = (tmp_path / name / "model.safetensors" for name in ("half", "cast"))
  assert half.read_bytes() == cast.read_bytes()
  _assert_equal(load_t5(tmp_path / "half")[1], expected)


def test_keys_of_the_config_are_kept(saved, tmp_path):
  path = saved / "config.json"
  known = json.loads(path.read_text())
  path.write_text(json.dumps(known | {"dropout_rate": 0.1, "torch_dtype": "float16"}))
  config, params = load_t5(saved)
  save_t5(tmp_path / "again", config, params)
  again = json.loads((tmp_path / "again" / "config.json").read_text())
  assert again == known | {"dropout_rate": 0.1}  # The dtype is the tensors' own.


@pytest.mark.parametrize("length", [256, 32])
def test_the_length_of_texts_is_written_where_it_is_another(saved, tmp_path, length):
  config = dataclasses.replace(CONFIG, max_text_tokens=length)
  save_t5(tmp_path / "again", config, random_params())
  written = json.loads((tmp_path / "again" / "config.json").read_text())
  known = json.loads((saved / "config.json").read_text())
  own = {} if length == 256 else {"max_text_tokens": length}
  assert written == known | own
  loaded = load_config(tmp_path / "again")
  assert dataclasses.replace(loaded, extra=()) == config


def test_shards_and_the_other_half_of_t5(saved):
  arrays = _arrays(saved)
  arrays["encoder.embed_tokens.weight"] = arrays["shared.weight"]
  arrays["decoder.block.0.layer.0.layer_norm.weight"] = np.ones(24, np.float32)
  arrays["lm_head.weight"] = np.ones((50, 24), np.float32)
  names = sorted(arrays)
  _shard(saved, {f"part-{i}": {n: arrays[n] for n in names[i::3]} for i in range(3)})
  _assert_equal(load_t5(saved)[1], random_params())


def test_arrays_are_placed_as_they_are_read(saved):
  placed = []

  def place(path, array):
    placed.append(path)
    return array * 2

  _, params = load_t5(saved, place=place)
  _assert_equal(params, jax.tree.map(lambda a: a * 2, random_params()))
  assert len(placed) == 12 and "blocks/q/kernel" in placed


def test_a_cpu_takes_over_what_was_read(saved, monkeypatch):
  read = []

  def recorded(*arguments):
    read.append(aligned_empty(*arguments))
    return read[-1]

  monkeypatch.setattr("ltx_jax.checkpoints.arrays.aligned_empty", recorded)
  _, params = load_t5(saved)
  there = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(params)}
  assert there == {array.ctypes.data for array in read}


def test_memory_is_one_stack(tmp_path):
  config = dataclasses.replace(CONFIG, d_model=256, d_ff=512, num_layers=12)
  params = random_params(config)
  save_t5(tmp_path, config, params)
  tracemalloc.start()
  load_t5(tmp_path, place=lambda path, array: array[:1].copy())
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  model = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  stack = params["blocks"]["wi_0"]["kernel"].nbytes
  # One stack, the tensor being read, and a layer kept of each other stack.
  assert peak < 1.35 * stack + model / 12 < 0.6 * model


def _missing(arrays):
  del arrays[QUERY]
  return rf"missing: {QUERY} \(30, 24\)\."


def _unknown(arrays):
  arrays |= {f"extra.{i}": np.ones(2, np.float32) for i in range(12)}
  return r"unknown: extra\.0 \(2,\), .*extra\.\d+ \(2,\) and 2 more\."


def _misshaped(arrays):
  arrays[QUERY] = arrays[QUERY].T
  return rf"misshaped: {QUERY} \(expected \(30, 24\), found \(24, 30\)\)\."


def _quantised(arrays):
  arrays[QUERY] = arrays[QUERY].astype(np.int8)
  return rf"not of floating point: {QUERY} \(int8\)\."


@pytest.mark.parametrize("spoil", [_missing, _unknown, _misshaped, _quantised])
def test_tensors_that_do_not_fit_are_refused(saved, spoil):
  arrays = _arrays(saved)
  message = spoil(arrays)
  _write(saved / "model.safetensors", arrays)
  with pytest.raises(ValueError, match=message) as error:
    load_t5(saved)
  assert "\n" not in str(error.value)


def test_truncated_file_is_refused(saved):
  path = saved / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(ValueError, match="model.safetensors is truncated"):
    load_t5(saved)


def test_bad_shards_are_refused(saved):
  arrays = _arrays(saved)
  rest = {name: array for name, array in arrays.items() if name != QUERY}
  _shard(saved, {"a": rest, "b": {QUERY: arrays[QUERY]}})
  _write(saved / "b", {"other": arrays[QUERY]})
  with pytest.raises(ValueError, match=rf"says that b has {QUERY}, but it does not"):
    load_t5(saved)
  _write(saved / "b", {QUERY: arrays[QUERY], "shared.weight": arrays["shared.weight"]})
  with pytest.raises(ValueError, match="repeats tensors of another shard: shared"):
    load_t5(saved)
  (saved / "b").unlink()
  with pytest.raises(ValueError, match="Expected a safetensors file at .*b, but found"):
    load_t5(saved)
  (saved / INDEX).write_text("{}")
  with pytest.raises(ValueError, match="has no weight_map"):
    load_t5(saved)


def test_folders_without_weights_are_refused(saved):
  (saved / "model.safetensors").unlink()
  with pytest.raises(ValueError, match="found neither; pickled weights are not read"):
    load_t5(saved)
  (saved / "pytorch_model.bin").touch()
  with pytest.raises(ValueError, match="found only pytorch_model.bin"):
    load_t5(saved)
  (saved / "config.json").unlink()
  with pytest.raises(ValueError, match="There is no .*config.json"):
    load_t5(saved)


def test_other_models_are_refused(tmp_path):
  path = tmp_path / "config.json"
  for content, message in {
    '{"model_type": "umt5"}': "has model_type 'umt5'; this code reads 't5'",
    '{"model_type": "t5", "d_model": 512}': "feed_forward_proj = 'relu'",
    '{"feed_forward_proj": "gated-gelu", "max_text_tokens": 0}': "max_text_tokens is 0",
    "[1]": "holds a JSON list, not an object",
    "{": "is not a JSON file",
  }.items():
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
      load_config(tmp_path)


def test_parameters_of_another_config_are_not_written(tmp_path):
  params = random_params()
  params["blocks"]["q"]["kernel"] = params["blocks"]["q"]["kernel"][:2]
  with pytest.raises(ValueError, match=r"blocks/q/kernel \(expected \(3,.*found \(2,"):
    save_t5(tmp_path / "none", CONFIG, params)
  assert not (tmp_path / "none").exists()


def test_released_config_reads_as_the_default(tmp_path):
  metadata = TextEncoderConfig().to_metadata()
  (tmp_path / "config.json").write_text(json.dumps(metadata | {"model_type": "t5"}))
  config = load_config(tmp_path)
  assert dataclasses.replace(config, extra=()) == TextEncoderConfig()


@pytest.mark.parametrize("config", [CONFIG, TextEncoderConfig()])
def test_entries_are_the_parameters_of_the_model(config):
  tree = jax.eval_shape(lambda: text_encoder.init(config, jax.random.key(0)))
  shapes = {path: leaf.shape for path, leaf in flatten(tree).items()}
  assert tree_shapes(t5_entries(config)) == shapes
