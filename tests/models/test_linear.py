import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.linear import SCALE, Dense, linear
from ltx_jax.platforms import CPU
from tests import tolerance

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 5, 12)).astype(np.float32)
KERNEL = RNG.standard_normal((12, 7)).astype(np.float32)
BIAS = RNG.standard_normal(7).astype(np.float32)


def _far(out, expected):
  return np.linalg.norm(np.float64(out) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_scale_it_is_flax_dense_bit_for_bit(dtype):
  ours, theirs = Dense(7, CPU.in_dtype(dtype)), nn.Dense(7, dtype=dtype)
  params = {"params": {"kernel": KERNEL, "bias": BIAS}}
  out, expected = ours.apply(params, X), theirs.apply(params, X)
  assert out.dtype == dtype
  np.testing.assert_array_equal(out, expected)
  key = jax.random.key(0)
  drawn, theirs_drawn = (layer.init(key, X)["params"] for layer in (ours, theirs))
  assert set(drawn) == {"kernel", "bias"}
  np.testing.assert_array_equal(drawn["kernel"], theirs_drawn["kernel"])


@pytest.mark.parametrize("use_bias", [True, False])
def test_measured_gradients_are_those_that_jax_derives(use_bias):
  params = {"kernel": KERNEL} | ({"bias": BIAS} if use_bias else {})
  weight = RNG.standard_normal((2, 5, 7)).astype(np.float32)

  def gradients(dense):
    layer = Dense(7, dataclasses.replace(CPU, dense=dense), use_bias)

    def loss(params, x):
      return (layer.apply({"params": params}, x) * weight).sum()

    return jax.grad(loss, argnums=(0, 1))(params, X)

  (ours, dx), (derived, derived_dx) = gradients("measured"), gradients("derived")
  assert ours.keys() == derived.keys() == params.keys()
  rows = X.shape[0] * X.shape[1]
  for name, expected in derived.items():
    assert _far(ours[name], expected) < tolerance.of_sums(rows)
  assert _far(dx, derived_dx) < tolerance.of_sums(7)


def test_measured_gradients_hold_no_transposed_copy():
  layer = Dense(64, CPU)
  x, params = (
    jnp.ones((64, 32, 16)),
    {"kernel": jnp.ones((16, 64)), "bias": jnp.ones(64)},
  )

  def loss(params):
    return jnp.sin(layer.apply({"params": params}, x)).sum()

  program = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
  assert "f32[64,2048]" not in program and "reduce-window" not in program


def test_sums_may_be_kept_wider_than_what_is_multiplied():
  layer = Dense(7, CPU.in_dtype("bfloat16"), use_bias=False, out_dtype="float32")
  out = layer.apply({"params": {"kernel": KERNEL}}, X)
  rounded = (np.asarray(jnp.asarray(a, "bfloat16"), np.float64) for a in (X, KERNEL))
  assert out.dtype == np.float32
  assert _far(out, np.matmul(*rounded)) < tolerance.of_sums(len(KERNEL))


@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_scale_multiplies_its_channel_before_the_bias(dtype, bias):
  eight = RNG.integers(-127, 128, KERNEL.shape, np.int8)
  scale = np.exp(RNG.standard_normal(7)).astype(np.float32) / 100
  params = {"kernel": eight, SCALE: scale} | ({} if bias is None else {"bias": bias})
  out = Dense(7, CPU.in_dtype(dtype), use_bias=bias is not None)
  out = out.apply({"params": params}, X)
  expected = X.astype(np.float64) @ (eight * scale) + (0 if bias is None else bias)
  assert out.dtype == dtype
  assert _far(out, expected) < tolerance.of_sums(len(KERNEL), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_go_backwards_through_8_bits_and_keep_no_wide_copy(dtype):
  eight = RNG.integers(-127, 128, (12, 7), np.int8)
  scale = np.exp(RNG.standard_normal(7)).astype(np.float32) / 100
  dy = RNG.standard_normal((2, 5, 7)).astype(np.float32)

  def backward(dy):
    _, back = jax.vjp(lambda x: linear(x, eight, scale, BIAS, dtype), X)
    (dx,) = back(jnp.asarray(dy, dtype))
    return dx, back

  dx, back = jax.jit(backward)(dy)
  expected = np.float64(jnp.asarray(dy, dtype)) @ (eight * np.float64(scale)).T
  assert dx.dtype == X.dtype
  assert _far(dx, expected) < tolerance.of_sums(7, dtype=dtype)
  kept = [leaf for leaf in jax.tree.leaves(back) if leaf.shape == eight.shape]
  assert [leaf.dtype for leaf in kept] == [np.int8]


@tolerance.FLOAT16
def test_sums_over_8_bits_stay_within_float16():
  x, eight = np.ones((1, 4096), np.float32), np.full((4096, 1), 127, np.int8)
  scale = np.float32([1e-4])
  out = linear(x, eight, scale, None, "float16")
  assert out.dtype == np.float16
  np.testing.assert_allclose(out, 4096 * 127 * 1e-4, rtol=1e-3)  # 520192 unscaled.
