"""The judge: names what a clip of the moving shapes shows, from its pixels, by rules.

1. The shape is told from the background (`foreground`): two colours, and for each frame
   a cover a, an area and a centroid. Both colours are matched to the nearest of the
   palette.
2. Each of the three shapes is drawn with a frame's area at its centroid; the one with
   the least squared difference to a is the frame's. Over the clip the median difference
   decides.
3. The size is the nearer of the two radii; the radius follows from the median area.
4. The direction is that of the line fitted to the centroids over time.

Nothing is trained, and the caption is not used before all words are found. `corners` is
a second judge of the shape.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import UInt8

from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.foreground import foreground

# Of a shape with r = 1: its area, and its centroid below the centre.
_AREA = {"circle": math.pi, "square": 3.24, "triangle": 1.85 * 1.03}
_BELOW = {"circle": 0.0, "square": 0.0, "triangle": (2 * 0.75 - 1.1) / 3}
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
  seen = foreground(video)
  background = _nearest(seen.background, world.BACKGROUNDS)
  if not len(seen.frames):
    return Judgement(None, None, None, None, background)
  misfits = [
    _misfits(cover, float(area), float(y), float(x))
    for cover, area, (y, x) in zip(seen.cover, seen.areas, seen.centroids, strict=True)
  ]
  medians = {s: float(np.median([m[s] for m in misfits])) for s in misfits[0]}
  shape = min(medians, key=medians.__getitem__)
  r = math.sqrt(float(np.median(seen.areas)) / _AREA[shape]) / min(height, width)
  size = min(world.SIZES, key=lambda s: abs(math.log(r / world.SIZES[s])))
  direction = _direction(seen.frames, seen.centroids, height, width)
  color = _nearest(seen.color, world.PALETTE)
  return Judgement(size, color, shape, direction, background)
