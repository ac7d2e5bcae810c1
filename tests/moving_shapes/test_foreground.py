import numpy as np

from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.foreground import foreground

CAPTION = "a large orange circle moving right on a navy background"


def test_colours_cover_area_and_path_are_those_of_the_world():
  seen = foreground(world.clip(CAPTION, 3, 5, 96, 128))
  assert tuple(seen.background) == world.BACKGROUNDS["navy"]
  assert tuple(seen.color) == world.COLORS["orange"]
  assert list(seen.frames) == list(range(5))
  expected = world.centers(world.parse(CAPTION), 3, 5, 96, 128)
  np.testing.assert_allclose(seen.centroids, expected, atol=0.1)
  area = np.pi * (0.22 * 96) ** 2
  np.testing.assert_allclose(seen.areas, area, rtol=0.02)
  np.testing.assert_allclose(seen.cover.sum((1, 2)), area, rtol=0.02)


def test_only_frames_that_show_the_shape_are_kept():
  video = world.clip(CAPTION, 0, 5, 64, 64)
  video[1] = world.BACKGROUNDS["navy"]
  seen = foreground(video)
  assert list(seen.frames) == [0, 2, 3, 4]
  assert len(seen.cover) == len(seen.areas) == len(seen.centroids) == 4
  video[2:4] = world.BACKGROUNDS["navy"]
  assert not len(foreground(video).frames)


def test_a_shape_in_almost_the_background_s_colour_is_not_seen():
  video = np.full((3, 64, 64, 3), 100, np.uint8)
  video[:, 20:40, 20:40] = 120
  assert not len(foreground(video).frames)
