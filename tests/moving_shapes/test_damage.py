import numpy as np
import pytest

from ltx_jax.moving_shapes.damage import blurred, noisy


def test_blur_keeps_the_mean_and_spreads_a_point():
  point = np.zeros((1, 33, 33, 3), np.float32)
  point[0, 16, 16] = 1
  soft = blurred(point, 2.0)
  np.testing.assert_allclose(soft.sum((1, 2)), 1, rtol=1e-5)
  y = np.arange(33) - 16
  np.testing.assert_allclose((soft[0, ..., 0].sum(1) * y**2).sum(), 4, rtol=0.02)
  np.testing.assert_allclose((soft[0, ..., 0].sum(0) * y**2).sum(), 4, rtol=0.02)


def test_noise_has_its_deviation_and_its_seed_decides_it():
  gray = np.full((2, 32, 32, 3), 128, np.uint8)
  spoilt = noisy(gray, 10.0, 3)
  assert spoilt.std() == pytest.approx(10, rel=0.05)
  np.testing.assert_array_equal(spoilt, noisy(gray, 10.0, 3))
  assert np.any(spoilt != noisy(gray, 10.0, 4))
