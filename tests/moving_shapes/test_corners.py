import collections
import math

import numpy as np
import pytest

from ltx_jax.moving_shapes import corners, world
from ltx_jax.moving_shapes.corners import ROUND, SHARP, Sharpness, sharpness
from ltx_jax.moving_shapes.damage import blurred, noisy
from ltx_jax.moving_shapes.foreground import foreground

POLYGONS = ("square", "triangle")


def _spoilt(video, blur, noise, seed):
  return noisy(blurred(video.astype(np.float32), blur), noise, seed)


def _confusion(step, size, blur=0.0, noise=0.0, rounded=0.0):
  """Counts of (drawn, read), over every `step`th caption."""
  counts = collections.Counter()
  for seed, caption in list(enumerate(world.captions()))[::step]:
    video = world.clip(caption, seed, *size, rounded)
    video = _spoilt(video, blur, noise, seed) if blur or noise else video
    counts[world.parse(caption).shape, sharpness(video).shape] += 1
  return counts


@pytest.mark.parametrize(
  ("step", "size", "blur", "noise"),
  [
    pytest.param(1, (3, 128, 128), 0, 0, marks=pytest.mark.slow),
    (13, (3, 128, 128), 0, 0),
    (61, (25, 128, 128), 0, 0),
    (13, (9, 64, 64), 0, 0),
    (19, (2, 96, 160), 0, 0),
    (41, (5, 128, 128), 1.5, 8),
    (61, (9, 128, 128), 2, 20),
    (41, (9, 64, 64), 1, 10),
  ],
)
def test_every_shape_is_read_from_its_corners(step, size, blur, noise):
  found = _confusion(step, size, blur, noise)
  assert set(found) == {(shape, shape) for shape in world.SHAPES}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("shape", POLYGONS)
def test_sharpness_falls_with_the_radius_of_the_corners(shape, size):
  caption = f"a {size} white {shape} moving left on a navy background"
  radii = np.linspace(0, 0.95, 6)
  found = [
    getattr(sharpness(world.clip(caption, 0, 9, 128, 128, q)), shape) for q in radii
  ]
  np.testing.assert_allclose(found, 1 - radii, atol=0.1)
  assert np.all(np.diff(found) < -0.1)


def test_a_circle_reaches_its_radius_in_every_direction():
  caption = "a small yellow circle moving right on a gray background"
  seen = foreground(world.clip(caption, 2, 9, 128, 128))
  distances = np.arange(0, 30, 0.05)
  reach = [
    distances[np.argmax(corners._along(seen, distances, turn) < 0.5)]
    for turn in range(0, 360, 45)
  ]
  np.testing.assert_allclose(reach, 0.13 * 128, atol=0.15)


def test_round_corners_make_a_circle():
  sharp = _confusion(61, (3, 128, 128), rounded=0.4)
  assert set(sharp) == {(shape, shape) for shape in world.SHAPES}
  round_ = _confusion(61, (3, 128, 128), rounded=0.6)
  assert set(round_) == {(shape, "circle") for shape in world.SHAPES}


@pytest.mark.parametrize("shape", POLYGONS)
def test_blur_as_wide_as_the_shape_makes_a_circle(shape):
  caption = f"a small cyan {shape} moving up on a black background"
  video = world.clip(caption, 1, 3, 128, 128)
  assert sharpness(_spoilt(video, 2.0, 0, 0)).shape == shape
  assert sharpness(_spoilt(video, 6.0, 0, 0)).shape == "circle"


def test_shapes_of_another_world_have_no_name():
  clip = world.clip("a large red triangle moving up on a gray background", 0, 4, 64, 64)
  assert sharpness(clip[:, ::-1].copy()).shape is None  # It stands on its head.
  y, x = np.mgrid[:64, :64] - 31.5
  diamond = np.full((2, 64, 64, 3), 10, np.uint8)
  diamond[:, abs(y) + abs(x) < 16] = 240
  assert sharpness(diamond).shape is None


def test_a_clip_that_shows_nothing_has_no_sharpness():
  found = sharpness(np.full((9, 64, 64, 3), (15, 20, 70), np.uint8))
  assert all(math.isnan(value) for value in found) and found.shape is None


@pytest.mark.parametrize(
  ("square", "triangle", "shape"),
  [
    (SHARP + 0.01, 0.0, "square"),
    (SHARP, 0.0, "circle"),
    (0.6, 0.7, "triangle"),
    (-0.1, SHARP + 0.01, "triangle"),
    (ROUND + 0.01, 0.0, "circle"),
    (0.0, ROUND, None),
    (math.nan, math.nan, None),
  ],
)
def test_the_sharper_polygon_is_the_shape(square, triangle, shape):
  assert Sharpness(square, triangle).shape == shape
