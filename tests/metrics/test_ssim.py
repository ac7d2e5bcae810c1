import numpy as np
import pytest

from ltx_jax.metrics.ssim import UNIFORM, ssim, ssim_by_frame

RNG = np.random.default_rng(0)


def images():
  """Two clips of a pattern, the second with an error that depends on the place."""
  f, y, x, c = np.indices((2, 20, 26, 3))
  reference = ((37 * x + 61 * y + 97 * c + 53 * f) % 256).astype(np.uint8)
  error = (x * y + 29 * f + 11 * c) % 61 - 30
  return np.clip(reference + error, 0, 255).astype(np.uint8), reference


def test_the_numbers_are_those_of_scikit_image():
  """Of 0.26.0: `structural_similarity(x, y, data_range=255, channel_axis=-1,
  gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`, in float64."""
  expected = [0.973648329970839, 0.9750323367893371]
  np.testing.assert_allclose(ssim_by_frame(*images(), 255.0), expected, rtol=2e-6)
  assert ssim(*images(), 255.0) == pytest.approx(np.mean(expected), rel=2e-6)


def gaussian():
  place = np.arange(11) - 5
  weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))[..., None]
  return weights / weights.sum()


def direct(x, y, weights, sample=1.0):
  """The formula, window by window."""
  found, side = [], len(weights)
  for i in range(len(x) - side + 1):
    for j in range(x.shape[1] - side + 1):
      a, b = (z[i : i + side, j : j + side].astype(np.float64) for z in (x, y))
      ma, mb = ((weights * z).sum((0, 1)) for z in (a, b))
      va, vb = ((weights * (z - m) ** 2).sum((0, 1)) for z, m in ((a, ma), (b, mb)))
      both = (weights * (a - ma) * (b - mb)).sum((0, 1))
      va, vb, both = sample * va, sample * vb, sample * both
      c1, c2 = 2.55**2, 7.65**2
      index = (2 * ma * mb + c1) * (2 * both + c2)
      found.append(index / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
  return np.mean(found)


def test_it_is_the_mean_of_the_formula_over_windows_inside_the_image():
  x = RNG.integers(0, 256, (1, 13, 15, 3), np.uint8)
  y = np.clip(x + RNG.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
  expected = direct(x[0], y[0], gaussian())
  assert ssim(x, y, 255.0) == pytest.approx(expected, abs=1e-5)


def test_the_other_window_has_equal_weights_and_the_covariance_of_a_sample():
  """As scikit-image's defaults: 7 x 7 pixels, 49 / 48 of the variance."""
  x = RNG.integers(0, 256, (1, 13, 15, 3), np.uint8)
  y = np.clip(x + RNG.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
  expected = direct(x[0], y[0], np.full((7, 7, 1), 1 / 49), 49 / 48)
  found = ssim(x, y, 255.0, UNIFORM)
  assert found == pytest.approx(expected, abs=1e-5)
  assert abs(found - ssim(x, y, 255.0)) > 1e-3


def test_equal_clips_have_one_and_peak_and_pixels_scale_together():
  video, reference = images()
  assert ssim(video, video, 255.0) == pytest.approx(1, abs=1e-6)
  scaled = ssim(video / 255, reference / 255, 1.0)
  assert scaled == pytest.approx(ssim(video, reference, 255.0), abs=1e-6)


def test_an_image_smaller_than_the_window_is_refused():
  small = np.zeros((1, 10, 40, 3), np.uint8)
  with pytest.raises(ValueError, match=r"40x10 pixels have no SSIM; .* 11x11"):
    ssim(small, small, 255.0)
