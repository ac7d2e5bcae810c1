"""The judge: names what a clip of the moving shapes shows, from its pixels, by rules.

1. The background's colour is the median of the pixels along the border.
2. The shape's colour is the median of the pixels farthest from it; a pixel's cover is
   its place on the line from one colour to the other,
   a = <p - background, color - background> / |color - background|^2.
3. In each frame the pixels with a > 1/2 give an area and a centroid. Each of the three
   shapes is drawn with that area at that centroid; the one with the least squared
   difference to a is the frame's. Over the clip the median difference decides.
4. The size is the nearer of the two radii; the radius follows from the median area.
5. The direction is that of the line fitted to the centroids over time.

Colours are matched to the nearest of the palette. Nothing is trained, and the caption
is not used before all words are found.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import UInt8

from ltx_jax.moving_shapes import world

# Of a shape with r = 1: its area, and its centroid below the centre.
_AREA = {"circle": math.pi, "square": 3.24, "triangle": 1.85 * 1.03}
_BELOW = {"circle": 0.0, "square": 0.0, "triangle": (2 * 0.75 - 1.1) / 3}
_SMALLEST = _AREA["triangle"] * world.SIZES["small"] ** 2  # In units of S^2.

_MIN_CONTRAST = 40.0  # Between shape and background; the palette's least is 116.
_MIN_AREA = 0.35  # In units of the smallest shape's.
_MIN_TRAVEL = 0.1  # In units of the frame's side; a rendered shape covers 0.45.


@dataclasses.dataclass(frozen=True)
class Judgement:
  """The words that a clip shows; None where it shows nothing recognisable."""

  size: str | None
  color: str | None
  shape: str | None
  direction: str | None
  background: str | None

  def agreement(self, caption: str) -> dict[str, bool]:
    """Returns for each of the five words whether it equals the caption's."""
    words = dataclasses.asdict(world.parse(caption))
    return {name: getattr(self, name) == word for name, word in words.items()}


def _nearest(color: np.ndarray, palette: dict[str, tuple[int, int, int]]) -> str:
  return min(palette, key=lambda name: float(np.linalg.norm(color - palette[name])))


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
  half = max(1, int(0.5 * _SMALLEST * min(height, width) ** 2))
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


def _misfits(cover: np.ndarray, area: float, y: float, x: float) -> dict[str, float]:
  """Returns the distance of a frame's cover [H W] from each shape placed there."""
  rows, columns = (np.arange(size) + 0.5 for size in cover.shape)
  misfits = {}
  for shape in world.SHAPES:
    r = math.sqrt(area / _AREA[shape])
    near_y, near_x = abs(rows - y) < 1.8 * r + 2, abs(columns - x) < 1.8 * r + 2
    expected = world.coverage(
      shape,
      (rows[near_y] - y + _BELOW[shape] * r)[:, None],
      (columns[near_x] - x)[None],
      r,
    )
    seen = np.clip(cover[np.ix_(near_y, near_x)], 0, 1)
    misfits[shape] = float(np.sum((seen - expected) ** 2)) / area
  return misfits


def _direction(
  times: np.ndarray, centroids: np.ndarray, height: int, width: int
) -> str | None:
  """Returns the word for the direction of the centroids [n 2], in shares of a side."""
  if len(times) < 2:
    return None
  slope = np.polyfit(times, centroids / (height, width), 1)[0]
  travel = slope * (times[-1] - times[0])
  axis = int(np.argmax(abs(travel)))
  if abs(travel[axis]) < _MIN_TRAVEL:
    return None
  way = (np.arange(2) == axis) * int(np.sign(travel[axis]))
  return next(w for w, d in world.DIRECTIONS.items() if d == tuple(way))


def judge(video: UInt8[np.ndarray, "F H W 3"]) -> Judgement:
  """Names the size, colour, shape, direction and background of a clip.

  Args:
    video: RGB frames; a single one shows no direction.

  Returns:
    Words of the captions. If fewer than half of the frames show anything, only the
    background is named.
  """
  height, width = video.shape[1:3]
  side = min(height, width)
  pixels = video.astype(np.float32)
  background = _background(pixels)
  word = _nearest(background, world.BACKGROUNDS)
  nothing = Judgement(None, None, None, None, word)
  color = _color(pixels, background)
  if np.linalg.norm(color - background) < _MIN_CONTRAST:
    return nothing

  cover = _cover(pixels, background, color)
  masks = _smooth(cover) > 0.5
  areas = masks.sum((1, 2))
  shown = np.flatnonzero(areas > _MIN_AREA * _SMALLEST * side**2)
  if 2 * len(shown) < len(video):
    return nothing
  rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
  centroids = (
    np.stack([masks[shown].sum(2) @ rows, masks[shown].sum(1) @ columns], 1)
    / areas[shown, None]
  )
  misfits = [
    _misfits(cover[i], float(areas[i]), float(y), float(x))
    for i, (y, x) in zip(shown, centroids, strict=True)
  ]
  medians = {s: float(np.median([m[s] for m in misfits])) for s in misfits[0]}
  shape = min(medians, key=medians.__getitem__)
  r = math.sqrt(float(np.median(areas[shown])) / _AREA[shape]) / side
  size = min(world.SIZES, key=lambda s: abs(math.log(r / world.SIZES[s])))
  direction = _direction(shown, centroids, height, width)
  return Judgement(size, _nearest(color, world.PALETTE), shape, direction, word)
