"""Low-rank updates: what they add to a network, with each precision of its kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.checkpoints.quantization import quantize_params
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config.lora import LAYERS, LoRAConfig
from ltx_jax.models import transformer
from ltx_jax.training import lora
from tests.checkpoints import small
from tests.policies import QUICK

CONFIG = small.TRANSFORMER
LORA = LoRAConfig(rank=3, alpha=6.0, layers=LAYERS)


def moved(tree, scale):
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: leaf + scale * rng.standard_normal(leaf.shape, np.float32), tree
  )


@pytest.fixture(scope="module")
def base():
  return moved(transformer.init(CONFIG, jax.random.key(0)), 0.05)


@pytest.fixture(scope="module")
def updates():
  return moved(lora.init(jax.random.key(1), CONFIG, LORA), 0.1)


@jax.jit
def velocity(params):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 6, CONFIG.in_channels), np.float32)
  coords = rng.random((2, 6, 3), np.float32)
  text = rng.standard_normal((2, 5, CONFIG.caption_channels), np.float32)
  module = transformer.Transformer(CONFIG, QUICK)
  inputs = x, coords, text, np.ones((2, 5), bool), np.float32([0.3, 0.8])
  return module.apply({"params": params}, *inputs)


def merged(base, updates):
  """W + (alpha / r) A B in place of the kernels."""
  flat, changes = flatten(base), flatten(updates)
  for layer in lora.layers(CONFIG, LORA):
    change = changes[f"{layer}/lora_down"] @ changes[f"{layer}/lora_up"]
    flat[f"{layer}/kernel"] = flat[f"{layer}/kernel"] + 2.0 * change
  return nest(flat)


def widened(eight):
  """Q s in place of the kernels."""
  flat = flatten(eight)
  for path in [path for path in flat if path.endswith("/kernel_scale")]:
    kernel = path.removesuffix("_scale")
    flat[kernel] = flat[kernel].astype(np.float32) * flat.pop(path)[..., None, :]
  return nest(flat)


def error(found, expected):
  return float(jnp.abs(found - expected).max() / jnp.abs(expected).max())


def test_every_layer_that_is_named_has_an_update():
  assert len(lora.layers(CONFIG, LORA)) == 10
  few = lora.layers(CONFIG, LoRAConfig(rank=1, layers=("to_k", "proj_in")))
  assert set(few) == {"blocks/attn1/to_k", "blocks/attn2/to_k", "blocks/ff/proj_in"}
  assert few["blocks/ff/proj_in"] == (CONFIG.num_layers, 24, 96)


def test_the_first_updates_change_nothing(base):
  first = lora.init(jax.random.key(1), CONFIG, LORA)
  expected = velocity(base)
  np.testing.assert_array_equal(velocity(lora.joined(base, first, LORA)), expected)
  down = first["blocks"]["ff"]["proj_in"]["lora_down"]
  assert down.shape == (CONFIG.num_layers, 24, 3)
  assert 0.9 < float(jnp.abs(down).max()) * np.sqrt(24) <= 1


def test_updates_are_those_of_merged_kernels(base, updates):
  expected = velocity(merged(base, updates))
  assert error(velocity(lora.joined(base, updates, LORA)), expected) < 1e-4
  assert error(velocity(base), expected) > 0.05


def test_updates_go_on_kernels_of_8_bits(base, updates):
  eight = quantize_params({"transformer": base}, "int8")["transformer"]
  expected = velocity(merged(widened(eight), updates))
  assert error(velocity(lora.joined(eight, updates, LORA)), expected) < 1e-4


@pytest.mark.parametrize(
  "weights", ["int8", pytest.param("fp8", marks=pytest.mark.slow)]
)
def test_gradients_over_8_bits_are_those_over_the_same_numbers(base, updates, weights):
  eight = quantize_params({"transformer": base}, weights)["transformer"]
  wide = widened(eight)

  @jax.jit
  def gradients(base):
    return jax.grad(lambda u: jnp.sum(jnp.sin(velocity(lora.joined(base, u, LORA)))))(
      updates
    )

  found, expected = flatten(gradients(eight)), flatten(gradients(wide))
  assert found.keys() == expected.keys()
  for path, gradient in expected.items():
    assert error(found[path], gradient) < 1e-5
  # Those of the full-precision model differ, because its numbers do.
  whole = flatten(gradients(base))
  assert max(error(found[path], whole[path]) for path in whole) > 1e-3


def test_gradients_are_those_of_merged_kernels(base, updates):
  def loss(params):
    return jnp.sum(jnp.sin(velocity(params)))

  found = flatten(jax.grad(lambda u: loss(lora.joined(base, u, LORA)))(updates))
  kernels = flatten(jax.grad(loss)(merged(base, updates)))
  flat = flatten(updates)
  for layer in lora.layers(CONFIG, LORA):
    dw = 2.0 * kernels[f"{layer}/kernel"]
    down, up = flat[f"{layer}/lora_down"], flat[f"{layer}/lora_up"]
    assert error(found[f"{layer}/lora_down"], dw @ up.swapaxes(1, 2)) < 1e-4
    assert error(found[f"{layer}/lora_up"], down.swapaxes(1, 2) @ dw) < 1e-4
