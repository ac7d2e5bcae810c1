"""The exact motion of the moving shapes: where each pixel goes, and what stays visible.

The shape moves as a whole by the difference of its centres; the background does not
move. A pixel belongs to the shape if more than half of it is covered. Pixels at the
outline mix both, and go nowhere as a whole: they count as hidden, and so does the
background that the shape covers next.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32

from ltx_jax.moving_shapes import world


def flow(
  caption: str, seed: int, frames: int, height: int, width: int
) -> tuple[Float32[np.ndarray, "_ H W 2"], Bool[np.ndarray, "_ H W"]]:
  """Returns the motion between the frames of `world.clip` of the same arguments.

  Args:
    caption: One of `captions()` or `later_captions()`.
    seed: Seed of the clip.
    frames: Number of its frames, at least 2.
    height: Height in pixels.
    width: Width in pixels.

  Returns:
    How far each pixel moves to the next frame, (down, right) in pixels, and whether the
    next frame still shows it.

  Raises:
    ValueError: If the caption does not follow the grammar.
  """
  words = world.parse(caption)
  r = world.radius(words.size, height, width)
  centers = world.centers(words, seed, frames, height, width)
  rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
  cover = np.stack(
    [
      world.coverage(words.shape, (rows - y)[:, None], (columns - x)[None], r)
      for y, x in centers
    ]
  )
  step = np.diff(centers, axis=0).astype(np.float32)
  inside = cover[:-1] > 0.5
  moved = inside[..., None] * step[:, None, None]
  whole = _eroded(cover == 1)
  empty = _eroded(cover == 0)
  return moved, np.where(inside, whole[:-1], empty[:-1] & empty[1:])


def _eroded(mask: Bool[np.ndarray, "F H W"]) -> Bool[np.ndarray, "F H W"]:
  """Returns the pixels all of whose neighbours are in a mask as well.

  Between pixels, colours are mixed from their neighbours.
  """
  padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
  height, width = mask.shape[1:]
  parts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
  return np.logical_and.reduce(parts)
