"""A second judge of the shape: how much farther it reaches in its corners.

From the centroid, a regular polygon of n sides reaches k = 1 / cos(pi / n) times as far
in its corners as in the middle of its sides. Corners that are rounded with q times the
radius of the inscribed circle leave

    reach in the corners / reach in the sides = k - (k - 1) q,

so the sharpness

    s = (reach in the corners / reach in the sides - 1) / (k - 1) = 1 - q

is 1 for the polygon and 0 for its inscribed circle. It is measured for a square and for
a triangle that point as in `world`; the one with s > 1/2 is the shape. A circle has
both between -1/4 and 1/2: a polygon that points elsewhere may have s = -1/k. The
triangle of `world` is almost equilateral.

The reach is where the cover, a mean over the frames around their centroids, falls below
1/2. Pixels and blur round corners too: a Gaussian of b pixels takes about 1.5 b / h
from the sharpness of a square of half-side h.

Unlike `judge`, which compares whole outlines, it looks only at the corners, and nothing
is drawn. Both tell the shape from its background in the same way (`foreground`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from ltx_jax.moving_shapes.foreground import Foreground, foreground

SHARP = 0.5
"""Least sharpness of a polygon: corners of half the inscribed circle's radius."""
ROUND = -0.25
"""Least sharpness of a circle."""

_STEP = 0.1  # Pixels between two points of a ray.
_SQUARE, _TRIANGLE = (4, 45.0), (3, 90.0)
"""Number of sides, and the direction of a corner in degrees, counter-clockwise."""


class Sharpness(NamedTuple):
  """1 - q for each polygon; not a number if the clip shows nothing."""

  square: float
  triangle: float

  @property
  def shape(self) -> str | None:
    """The shape with such corners; None if it is none of the three."""
    if max(self) > SHARP:
      return self._fields[self.index(max(self))]
    return "circle" if min(self) > ROUND else None


def _along(seen: Foreground, distances: np.ndarray, degrees: float) -> np.ndarray:
  """Returns [r]: the mean cover at distances from the centroids, in one direction."""
  turn = np.radians(degrees)
  ray = distances[:, None] * (-np.sin(turn), np.cos(turn))
  points = seen.centroids[:, None] + ray - 0.5  # From here in units of pixel centres.
  points = points.clip(0, np.subtract(seen.cover.shape[1:], 1.001))
  corner = points.astype(int)
  (y, x), (v, u) = np.moveaxis(corner, -1, 0), np.moveaxis(points - corner, -1, 0)
  n = np.arange(len(points))[:, None]
  upper = (1 - u) * seen.cover[n, y, x] + u * seen.cover[n, y, x + 1]
  lower = (1 - u) * seen.cover[n, y + 1, x] + u * seen.cover[n, y + 1, x + 1]
  return ((1 - v) * upper + v * lower).mean(0)


def _reach(seen: Foreground, sides: int, degrees: float) -> float:
  """Returns the mean reach in pixels in as many directions as there are sides."""
  farthest = 2 * math.sqrt(float(np.median(seen.areas)) / math.pi)
  distances = np.arange(0, farthest, _STEP)
  turns = degrees + 360 / sides * np.arange(sides)
  inside = [_along(seen, distances, turn) > 0.5 for turn in turns]
  return max(_STEP * float(np.mean(np.sum(inside, 1))), _STEP)


def sharpness(video: UInt8[np.ndarray, "F H W 3"]) -> Sharpness:
  """Measures how sharp the corners of a clip's shape are.

  Args:
    video: RGB frames.
  """
  seen = foreground(video)
  if not len(seen.frames):
    return Sharpness(math.nan, math.nan)
  found = []
  for sides, corner in (_SQUARE, _TRIANGLE):
    half_way = corner + 180 / sides
    ratio = _reach(seen, sides, corner) / _reach(seen, sides, half_way)
    found.append((ratio - 1) / (1 / math.cos(math.pi / sides) - 1))
  return Sharpness(*found)
