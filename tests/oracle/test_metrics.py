"""Metrics against the packages that others use: scikit-image, choix, krippendorff.

    pip install scikit-image choix krippendorff

Each test is skipped where its package is not installed.
"""

import numpy as np
import pytest

from ltx_jax.metrics import agreement, psnr, ssim
from ltx_jax.metrics.win_rates import Matrix, bradley_terry

RNG = np.random.default_rng(0)


def clips():
  """A clip of smooth colours with flat areas, and one with noise."""
  y, x = np.mgrid[:48, :64] / 10
  waves = np.stack([np.sin(x + f) * np.cos(y * f / 3) for f in range(4)])
  reference = np.clip(128 + 150 * waves[..., None] * [1, 0.7, 0.4], 0, 255)
  noisy = np.clip(reference + RNG.normal(0, 12, reference.shape), 0, 255)
  return noisy.round().astype(np.uint8), reference.round().astype(np.uint8)


def test_both_psnrs_are_those_of_scikit_image():
  metrics = pytest.importorskip("skimage.metrics")
  noisy, reference = clips()
  error = psnr.squared_error(noisy[None], reference[None])
  whole = metrics.peak_signal_noise_ratio(reference, noisy)
  assert psnr.psnr_of_clip(error)[0] == pytest.approx(whole, abs=1e-4)
  pairs = zip(reference, noisy, strict=True)
  frames = [metrics.peak_signal_noise_ratio(*pair) for pair in pairs]
  assert psnr.psnr_of_frames(error)[0] == pytest.approx(np.mean(frames), abs=1e-4)


@pytest.mark.parametrize(
  "window, settings",
  [
    (
      ssim.GAUSSIAN,
      {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
    (ssim.UNIFORM, {}),
  ],
)
def test_both_windows_of_ssim_are_those_of_scikit_image(window, settings):
  metrics = pytest.importorskip("skimage.metrics")
  noisy, reference = clips()
  expected = [
    metrics.structural_similarity(
      x / 255, y / 255, data_range=1, channel_axis=-1, **settings
    )
    for x, y in zip(reference, noisy, strict=True)
  ]
  found = ssim.ssim_by_frame(noisy, reference, 255.0, window)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_strengths_are_those_of_choix_with_ties_as_half():
  choix = pytest.importorskip("choix")
  points = RNG.integers(1, 20, (5, 5)) + 0.5 * RNG.integers(0, 2, (5, 5))
  np.fill_diagonal(points, 0)
  expected = choix.ilsr_pairwise_dense(points, tol=1e-12)
  found = bradley_terry(Matrix(points, np.zeros((5, 5)))).value
  np.testing.assert_allclose(found, expected - expected.mean(), atol=1e-6)


def test_alpha_is_that_of_krippendorff():
  package = pytest.importorskip("krippendorff")
  ratings = RNG.integers(0, 3, (6, 40)).astype(float)
  ratings[:4] = ratings[0]
  ratings[RNG.uniform(size=ratings.shape) < 0.3] = np.nan
  expected = package.alpha(ratings, level_of_measurement="nominal")
  _, unit = np.nonzero(~np.isnan(ratings))
  found = agreement.krippendorff_alpha(unit, ratings[~np.isnan(ratings)])
  assert found.alpha == pytest.approx(expected, abs=1e-6)
