"""The shape of a clip apart from its background: cover, area and centroid by frame.

1. The background's colour is the median of the pixels along the border.
2. The shape's colour is the median of the pixels farthest from it; a pixel's cover is
   its place on the line from one colour to the other,
   a = <p - background, color - background> / |color - background|^2.
3. In each frame the pixels with a > 1/2 give an area and a centroid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from ltx_jax.moving_shapes import world

SMALLEST = 1.85 * 1.03 * world.SIZES["small"] ** 2
"""Area of the smallest shape, a triangle, in units of S^2."""

_MIN_CONTRAST = 40.0  # Between shape and background; the palette's least is 116.
_MIN_AREA = 0.35  # In units of the smallest shape's.


class Foreground(NamedTuple):
  """What a clip shows, without a name.

  Attributes:
    background: Its colour.
    color: The shape's.
    frames: Numbers of the frames that show it; none if fewer than half of them do, or
      if both colours are almost the same.
    cover: Cover of the pixels of these frames: 0 on the background, 1 inside.
    areas: Areas of the shape in them, in pixels.
    centroids: Its centroids (y, x), in pixels.
  """

  background: Float[np.ndarray, "3"]
  color: Float[np.ndarray, "3"]
  frames: Int[np.ndarray, "n"]
  cover: Float[np.ndarray, "n H W"]
  areas: Int[np.ndarray, "n"]
  centroids: Float[np.ndarray, "n 2"]


def _background(video: np.ndarray) -> np.ndarray:
  """Returns [3]: the median colour of a margin that no rendered shape reaches."""
  rows, columns = (max(1, round(0.03 * size)) for size in video.shape[1:3])
  margin = np.ones(video.shape[1:3], bool)
  margin[rows:-rows, columns:-columns] = False
  return np.median(video[:, margin].reshape(-1, 3), axis=0)


def _color(video: np.ndarray, background: np.ndarray) -> np.ndarray:
  """Returns [3]: the median colour of the shape's inside.

  The first estimate uses the pixels farthest from the background, in each frame half as
  many as the smallest shape has. The second uses all pixels that resemble it. A few
  frames are enough.
  """
  frames, height, width = video.shape[:3]
  half = max(1, int(0.5 * SMALLEST * min(height, width) ** 2))
  chosen = np.unique(np.linspace(0, frames - 1, 7).round().astype(int))
  pixels = video[chosen].reshape(len(chosen), -1, 3)
  distance = np.square(pixels - background) @ np.ones(3, np.float32)
  far = np.argpartition(distance, -half, axis=1)[:, -half:]
  color = np.median(np.take_along_axis(pixels, far[..., None], 1), axis=(0, 1))
  for _ in range(2):
    inside = pixels[_cover(pixels, background, color) > 0.75]
    color = np.median(inside, axis=0) if len(inside) else color
  return color


def _cover(pixels: np.ndarray, background: np.ndarray, color: np.ndarray) -> np.ndarray:
  """Returns [...]: 0 for the background's colour, 1 for the shape's."""
  line = color - background
  line = (line / max(float(line @ line), 1e-6)).astype(np.float32)
  return pixels @ line - float(background @ line)


def _smooth(cover: np.ndarray) -> np.ndarray:
  """Returns [F H W]: the mean over 3 x 3 pixels, so that noise makes no spots."""
  for axis in (1, 2):
    padded = np.pad(cover, [(int(a == axis), int(a == axis)) for a in range(3)], "edge")
    ends = [slice(None)] * 3
    parts = []
    for start in range(3):
      ends[axis] = slice(start, start + cover.shape[axis])
      parts.append(padded[tuple(ends)])
    cover = sum(parts) / 3
  return cover


def foreground(video: UInt8[np.ndarray, "F H W 3"]) -> Foreground:
  """Tells a clip's shape from its background.

  Args:
    video: RGB frames.
  """
  height, width = video.shape[1:3]
  pixels = video.astype(np.float32)
  background = _background(pixels)
  color = _color(pixels, background)
  cover = _cover(pixels, background, color)
  masks = _smooth(cover) > 0.5
  areas = masks.sum((1, 2))
  frames = np.flatnonzero(areas > _MIN_AREA * SMALLEST * min(height, width) ** 2)
  contrast = np.linalg.norm(color - background)
  if contrast < _MIN_CONTRAST or 2 * len(frames) < len(video):
    frames = frames[:0]
  rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
  masks, areas = masks[frames], areas[frames]
  sums = np.stack([masks.sum(2) @ rows, masks.sum(1) @ columns], 1)
  centroids = sums / areas[:, None]
  return Foreground(background, color, frames, cover[frames], areas, centroids)
