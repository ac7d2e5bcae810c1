"""Moving shapes in other colours: what a decoder needs to know that colours vary.

A world of eight colours on four backgrounds lets a network remember each pair instead
of learning how a shape's outline is drawn. Every pixel x, 0 to 255, of a clip becomes

    gain x + shift,    gain ~ U[0.85, 1.15],  shift ~ U[-25, 25],

with one gain and one shift for each colour channel. That changes no outline and no
motion, and makes no pair of colours of the world from another one. So it shows nobody a
caption that is held out.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from ltx_jax.moving_shapes import world

GAIN = 0.15
"""Largest change of a channel's gain."""

SHIFT = 25.0
"""Largest shift of a channel."""


def clip(
  caption: str, seed: int, frames: int, height: int, width: int
) -> UInt8[np.ndarray, "F H W 3"]:
  """Renders a caption in other colours.

  Args:
    caption: One of `world.captions()` or `world.later_captions()`.
    seed: Non-negative integer that decides the offset and the colours.
    frames: Number of frames, at least 1.
    height: Height in pixels.
    width: Width in pixels.

  Returns:
    RGB frames.

  Raises:
    ValueError: If the caption does not follow the grammar.
  """
  video = world.clip(caption, seed, frames, height, width)
  rng = np.random.default_rng((seed, 1))  # 1: apart from the offset's draw.
  gain = rng.uniform(1 - GAIN, 1 + GAIN, 3)
  shift = rng.uniform(-SHIFT, SHIFT, 3)
  levels = np.arange(256)[:, None] * gain + shift
  table = np.clip(np.round(levels), 0, 255).astype(np.uint8)  # 256 3
  return np.stack([table[video[..., k], k] for k in range(3)], axis=-1)
