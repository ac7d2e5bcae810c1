"""Pixels as bytes and as floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.data.pixels import to_floats, to_uint8

BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray])
def test_every_byte_comes_back(of):
  floats = to_floats(of(BYTES))
  assert isinstance(floats, type(of(BYTES))) and floats.dtype == np.float32
  assert (floats.min(), floats.max()) == (-1, 1)
  np.testing.assert_array_equal(to_uint8(floats), BYTES)
  np.testing.assert_array_equal(jax.jit(lambda x: to_uint8(to_floats(x)))(BYTES), BYTES)


@pytest.mark.parametrize("of", [np.asarray, jnp.asarray])
def test_what_lies_between_is_rounded_and_what_lies_beyond_is_cut(of):
  levels = np.float32([-1.5, -1, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 1, 3])
  found = to_uint8(of(levels))
  assert found.dtype == np.uint8 and found.tolist() == [0, 0, 0, 1, 255, 255]
