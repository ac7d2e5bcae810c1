import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.linear import SCALE, Dense, linear
from tests import tolerance

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 5, 12)).astype(np.float32)
KERNEL = RNG.standard_normal((12, 7)).astype(np.float32)
BIAS = RNG.standard_normal(7).astype(np.float32)


def _far(out, expected):
  return np.linalg.norm(np.float64(out) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_scale_it_is_flax_dense_bit_for_bit(dtype):
  ours, theirs = Dense(7, dtype), nn.Dense(7, dtype=dtype)
  params = {"params": {"kernel": KERNEL, "bias": BIAS}}
  out, expected = ours.apply(params, X), theirs.apply(params, X)
  assert out.dtype == dtype
  np.testing.assert_array_equal(out, expected)
  key = jax.random.key(0)
  drawn, theirs_drawn = (layer.init(key, X)["params"] for layer in (ours, theirs))
  assert set(drawn) == {"kernel", "bias"}
  np.testing.assert_array_equal(drawn["kernel"], theirs_drawn["kernel"])


def test_sums_may_be_kept_wider_than_what_is_multiplied():
  layer = Dense(7, "bfloat16", use_bias=False, out_dtype="float32")
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
  out = Dense(7, dtype, use_bias=bias is not None).apply({"params": params}, X)
  expected = X.astype(np.float64) @ (eight * scale) + (0 if bias is None else bias)
  assert out.dtype == dtype
  assert _far(out, expected) < tolerance.of_sums(len(KERNEL), dtype=dtype)


@tolerance.FLOAT16
def test_sums_over_8_bits_stay_within_float16():
  x, eight = np.ones((1, 4096), np.float32), np.full((4096, 1), 127, np.int8)
  scale = np.float32([1e-4])
  out = linear(x, eight, scale, None, "float16")
  assert out.dtype == np.float16
  np.testing.assert_allclose(out, 4096 * 127 * 1e-4, rtol=1e-3)  # 520192 unscaled.
