"""Sharpness of a clip: how much neighbouring pixels differ.

    sharpness = mean over frames, rows and columns of |x_(i+1) - x_i|

As a ratio to the original's it says what a reconstruction lost: below 1 it is blurred,
above 1 it has detail, or noise, that was not there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from ltx_jax.typing import AnyArray


@jax.jit
def sharpness(video: UInt8[AnyArray, "b F H W 3"]) -> Float[Array, "b"]:
  """Returns the sharpness of each clip, of at least two rows and columns.

  Args:
    video: Pixels; `frames.frames_8bit` makes them.
  """
  levels = jnp.asarray(video, jnp.int32)
  parts = []
  for axis in (2, 3):
    change = jnp.abs(jnp.diff(levels, axis=axis))
    # A row's sum of whole numbers is exact.
    rows = jnp.sum(change, axis=(3, 4)).astype(jnp.float32)
    parts.append(jnp.mean(rows, axis=(1, 2)) / (3 * change.shape[3] * 255.0))
  return (parts[0] + parts[1]) / 2
