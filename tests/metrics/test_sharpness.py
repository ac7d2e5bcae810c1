import numpy as np

from ltx_jax.metrics.sharpness import sharpness
from ltx_jax.moving_shapes import damage, world


def test_it_is_the_mean_difference_of_neighbours():
  video = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 3), np.uint8)
  levels = video.astype(float)
  down, right = (abs(np.diff(levels, axis=axis)).mean((1, 2, 3, 4)) for axis in (2, 3))
  np.testing.assert_allclose(sharpness(video), (down + right) / 2 / 255, rtol=1e-6)


def test_blur_lowers_it_and_one_colour_has_none():
  clip = world.clip(world.captions()[0], 0, 3, 32, 48)
  soft = damage.blurred(clip.astype(np.float32), 2.0).round().astype(np.uint8)
  sharp, blurred, plain = sharpness(np.stack([clip, soft, np.zeros_like(clip)]))
  assert 0 == plain < blurred < sharp
