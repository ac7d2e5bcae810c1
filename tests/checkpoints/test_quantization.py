"""Weights in 8 bits: their error, their place in the tree, their bytes, their use."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.quantization import (
  is_quantized,
  quantize,
  quantize_params,
  quantizing,
  widened_bytes,
)
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models.linear import linear
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.planning import memory
from ltx_jax.platforms import CPU
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case
from tests.checkpoints.test_lora import as_file, pairs
from tests.models import t5_case, transformer_case
from tests.models.transformer_case import relative_error

RNG = np.random.default_rng(0)
FLOAT8 = ml_dtypes.float8_e4m3fn
OF_A_BLOCK = {
  *(f"{attn}/{to}" for attn in ("attn1", "attn2") for to in ("to_q", "to_k", "to_v")),
  *("attn1/to_out", "attn2/to_out", "ff/proj_in", "ff/proj_out"),
}


def drawn(*shape):
  """Returns weights whose channels differ in size, as in a trained network."""
  size = np.exp(RNG.standard_normal(shape[-1]))
  return (RNG.standard_normal(shape) * size / 50).astype(np.float32)


def largest_error(kernel, scale, weights):
  """The bound on |W - Q s| that the module's docstring gives."""
  half = np.broadcast_to(scale[..., None, :], kernel.shape) / 2
  if weights == "int8":
    return half
  return np.maximum(abs(kernel) / 16, half / 512)


@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_errors_are_within_their_bound_and_reach_it(weights):
  kernel, x = drawn(256, 32), RNG.standard_normal((64, 256)).astype(np.float32)
  eight, scale = quantize(kernel, weights)
  assert eight.itemsize == 1 and scale.dtype == np.float32
  bound = largest_error(kernel, scale, weights)
  error = abs(eight.astype(np.float64) * scale - kernel)
  assert (error <= bound * (1 + 1e-5)).all()
  assert ((error / bound).max(axis=0) > 0.8).all()

  y = linear(x, eight, scale, None, "float32")
  off = abs(np.asarray(y, np.float64) - x.astype(np.float64) @ kernel)
  assert (off <= abs(x) @ bound + 1e-4).all()
  # Errors are independent: they add up like their squares.
  assert relative_error(y, x @ kernel) < {"int8": 0.02, "fp8": 0.04}[weights]


@pytest.mark.parametrize("weights", ["int8", "fp8"])
def test_every_layer_of_a_stack_has_its_own_scales(weights):
  stack = drawn(3, 16, 8) * np.float32([1, 100, 1e-4])[:, None, None]
  eight, scale = quantize(stack, weights)
  assert eight.shape == (3, 16, 8) and scale.shape == (3, 8)
  for layer in range(3):
    alone = quantize(stack[layer], weights)
    np.testing.assert_array_equal(eight[layer], alone[0])
    np.testing.assert_array_equal(scale[layer], alone[1])
  for other in (jnp.asarray(stack), stack.astype(ml_dtypes.bfloat16)):
    rounded = np.asarray(other, np.float32)
    same = quantize(rounded, weights)
    for found, expected in zip(quantize(other, weights), same, strict=True):
      np.testing.assert_array_equal(found, expected)


def test_channels_of_zeros_and_of_float8_numbers_are_kept_as_they_are():
  kernel = drawn(16, 3)
  kernel[:, 0], kernel[:, 1] = 0, kernel[:, 1].astype(FLOAT8)
  for weights, kept in (("int8", [True, False]), ("fp8", [True, True])):
    eight, scale = quantize(kernel, weights)
    same = (eight[:, :2].astype(np.float32) == kernel[:, :2]).all(axis=0)
    np.testing.assert_array_equal(same, kept)
    np.testing.assert_array_equal(scale[:2] == 1, kept)
    assert scale[2] != 1


@pytest.fixture(scope="module")
def params():
  text = TextEncoderConfig(
    vocab_size=9, d_model=10, d_kv=4, d_ff=12, num_layers=2, num_heads=2
  )
  return case.params() | {"text_encoder": t5_case.random_params(text)}


def test_kernels_of_blocks_are_quantised_and_nothing_else(params):
  flat, eight = flatten(params), flatten(quantize_params(params, "int8"))
  new = {path.removesuffix("/kernel_scale") for path in eight if path not in flat}
  text = {f"text_encoder/blocks/{name}" for name in ("q", "k", "v", "o", "wo")}
  text |= {"text_encoder/blocks/wi_0", "text_encoder/blocks/wi_1"}
  assert new == text | {f"transformer/blocks/{name}" for name in OF_A_BLOCK}
  for path, leaf in flat.items():
    if path.removesuffix("/kernel") in new:
      assert eight[path].dtype == np.int8
      scale = eight[path + "_scale"]
      assert scale.shape == (leaf.shape[0], leaf.shape[2])
    else:
      assert eight[path] is leaf


def test_bytes_are_a_quarter_and_known_without_the_weights():
  params = {"transformer": transformer_case.random_params()}
  before = sum(leaf.nbytes for leaf in jax.tree.leaves(params["transformer"]["blocks"]))
  eight = quantize_params(params, "int8")
  blocks = jax.tree.leaves(eight["transformer"]["blocks"])
  kernels = [leaf for leaf in blocks if leaf.dtype == np.int8]
  assert sum(leaf.nbytes for leaf in kernels) > 0.2 * before
  small = sum(leaf.nbytes for leaf in blocks if leaf.ndim == 2 and leaf.shape[1] <= 128)
  assert sum(leaf.nbytes for leaf in kernels) == sum(leaf.size for leaf in kernels)
  assert sum(leaf.nbytes for leaf in blocks) < before / 4 + 2 * small
  shapes = jax.eval_shape(lambda tree: quantize_params(tree, "int8"), params)
  found, expected = flatten(shapes), flatten(eight)
  assert {path: (leaf.shape, leaf.dtype) for path, leaf in found.items()} == {
    path: (leaf.shape, leaf.dtype) for path, leaf in expected.items()
  }


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick):
  folder = tmp_path_factory.mktemp("model")
  save_checkpoint(folder / "model.safetensors", case.config(), case.params())
  return folder


@pytest.fixture(scope="module")
def full(folder):
  return ltx_jax.load(folder)


def velocity(model):
  """Of two clips of five tokens, with the texts of the case."""
  tokens = case.draws("tokens", (2, 5, case.TRANSFORMER.in_channels))
  coords = np.random.default_rng(1).random((2, 5, 3)).astype(np.float32)
  text, _ = case.texts()
  return model.velocity(tokens, coords, *text, np.float32([0.9, 0.3]))


def assert_same(found, expected):
  found, expected = flatten(found), flatten(expected)
  assert set(found) == set(expected)
  for path, leaf in expected.items():
    assert found[path].dtype == leaf.dtype
    np.testing.assert_array_equal(found[path], leaf)


@pytest.mark.parametrize(
  ("weights", "error"),
  [("int8", 0.03), pytest.param("fp8", 0.15, marks=pytest.mark.slow)],
)
def test_a_model_loaded_in_8_bits_predicts_nearly_the_same(
  folder, full, weights, error
):
  model = ltx_jax.load(folder, weights=weights)
  assert_same(model.params, quantize_params(full.params, weights))
  assert 1e-4 < relative_error(velocity(model), velocity(full)) < error


def test_the_scan_gives_every_layer_its_own_scale(full):
  """One layer's kernel times 3, or its scale times 3: the same network."""
  larger = np.float32([[1], [3]])
  flat = flatten(full.params)
  eight = flatten(quantize_params(full.params, "int8"))
  name = "transformer/blocks/attn1/to_out/kernel"
  one = flat | {name: flat[name] * larger[..., None]}
  other = eight | {f"{name}_scale": eight[f"{name}_scale"] * larger}
  expected, found = (
    velocity(dataclasses.replace(full, params=nest(params))) for params in (one, other)
  )
  assert relative_error(expected, velocity(full)) > 0.1
  assert relative_error(found, expected) < 0.03


def test_loras_are_merged_before_weights_become_8_bits(folder, tmp_path):
  width, name = case.TRANSFORMER.width, "transformer_blocks.0.attn1.to_q"
  halves = pairs({name: (width, width)}, rank=width)
  as_file(tmp_path / "a", "diffusion_model.", ("lora_A", "lora_B"), halves)
  merged = ltx_jax.load(folder, loras=[(tmp_path / "a", 1.0)])
  model = ltx_jax.load(folder, loras=[(tmp_path / "a", 1.0)], weights="int8")
  assert_same(model.params, quantize_params(merged.params, "int8"))


def test_a_float8_file_is_kept_and_equals_its_upcast(tmp_path):
  flat = flatten(case.params())
  for path in (f"transformer/blocks/{name}/kernel" for name in OF_A_BLOCK):
    flat[path] = flat[path].astype(FLOAT8)
  save_checkpoint(tmp_path / "model.safetensors", case.config(), nest(flat))
  kept, upcast = (ltx_jax.load(tmp_path, weights=given) for given in ("fp8", None))
  for path, leaf in flatten(kept.params).items():
    if path.endswith("kernel_scale"):
      np.testing.assert_array_equal(leaf, 1)
    else:
      assert leaf.dtype == flat[path].dtype
      np.testing.assert_array_equal(leaf, flat[path])
  assert not is_quantized(upcast.params)
  np.testing.assert_array_equal(velocity(kept), velocity(upcast))


def test_shards_have_their_share_of_both_leaves(folder, full):
  mesh = make_mesh(data=1, fsdp=4)
  model = ltx_jax.load(folder, mesh=mesh, weights="int8")
  layer = model.params["transformer"]["blocks"]["attn1"]["to_q"]
  assert not layer["kernel"].is_fully_replicated
  assert layer["kernel_scale"].is_fully_replicated
  assert_same(model.params, quantize_params(full.params, "int8"))


def test_the_plan_counts_what_a_block_takes_while_it_is_used(monkeypatch):
  eight = quantize_params(case.params(), "int8")
  d = case.TRANSFORMER.width
  assert widened_bytes(eight, "bfloat16") == 2 * (8 * d * d + 2 * 4 * d * d)
  assert widened_bytes(case.params(), "bfloat16") == 0
  left, plan = [], memory.Plan(0, 0, (3, 4, 5))

  def check(*asked, **_):
    left.append(asked[5])
    return plan

  monkeypatch.setattr(memory, "free_beside", lambda params: 10**9)
  monkeypatch.setattr(memory, "check", check)
  for params in (case.params(), eight):
    model = ltx_jax.LTXVideo(case.config(), params, CPU)
    model.check_memory(1, Canvas.of(case.VAE, 5, 32, 40), ltx_jax.Sampling())
  assert left == [10**9, 10**9 - widened_bytes(eight, "float32")]


def test_what_cannot_be_is_refused_in_words(folder, tmp_path, unchecked):
  with pytest.raises(ValueError, match="Weights 'int4' are not known; give int8"):
    ltx_jax.load(folder, weights="int4")
  with pytest.raises(ValueError, match="Weights 'int2' are not known"):
    ltx_jax.load(folder, text_weights="int2")
  model = ltx_jax.load(folder, weights="int8")
  for layout in ("lightricks", "diffusers"):
    with pytest.raises(ValueError, match="are in 8 bits .* load it without weights="):
      ltx_jax.save(model, tmp_path / "out.safetensors", layout)
  assert list(tmp_path.iterdir()) == []
  place = quantizing("int8", lambda path, array: array)
  for wrong in (np.nan, np.inf):
    kernel = drawn(2, 4, 3)
    kernel[1, 2, 0] = wrong
    with pytest.raises(ValueError, match="blocks/q/kernel has numbers that are not fi"):
      place("text_encoder/blocks/q/kernel", kernel)
