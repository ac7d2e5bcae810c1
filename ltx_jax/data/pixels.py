"""Conversion of pixels: 0 to 255 as stored, [-1, 1] as networks see them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from ltx_jax.typing import AnyArray


def to_floats(frames: UInt8[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
  """Returns frames / 127.5 - 1 in float32, as a NumPy or JAX array like the input."""
  return frames.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(frames: Shaped[AnyArray, "*shape"]) -> UInt8[AnyArray, "*shape"]:
  """Rounds to the nearest byte and clips to [-1, 1]; NumPy or JAX like the input."""
  xp = jnp if isinstance(frames, jax.Array) else np
  return xp.rint(127.5 * (xp.clip(frames, -1, 1) + 1)).astype(np.uint8)
