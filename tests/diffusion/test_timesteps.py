"""The law of training noise levels against integration and a histogram."""

import jax
import numpy as np
import pytest

from ltx_jax.diffusion import timesteps

MUS = [-1.0, 0.95, 2.05, 4.0]


def logit(t):
  return np.log(t) - np.log1p(-t)


def tail_clamped(t, mu, quantiles):
  """Equation (3) of the module, unnormalised, straight from its definition."""
  grid = np.linspace(1e-6, 1 - 1e-6, 2_000_001)
  p = lambda t: np.exp(-((logit(t) - mu) ** 2) / 2) / (t * (1 - t))  # noqa: E731
  cdf = np.cumsum(p(grid))
  low, high = (grid[np.searchsorted(cdf, q * cdf[-1])] for q in quantiles)
  return p(np.clip(t, low, high))


def test_shift_is_a_line_through_two_points_without_clamp():
  shift = timesteps.token_shift
  assert shift(1024) == pytest.approx(0.95)
  assert shift(4096) == pytest.approx(2.05)
  assert shift(13376) == pytest.approx(5.3729167, abs=1e-6)
  assert shift(64) == pytest.approx(0.95 - 960 * 1.1 / 3072)


def test_the_shift_can_be_bounded():
  assert timesteps.token_shift(27588, 3.0) == 3.0
  assert timesteps.token_shift(1024, 3.0) == timesteps.token_shift(1024)


@pytest.mark.parametrize("mu", MUS)
def test_half_of_the_law_exceeds_its_median(mu):
  levels = 1 / (1 + np.exp(-(mu + np.random.default_rng(0).standard_normal(20_000))))
  assert (levels > timesteps.median(mu)).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("mu", MUS)
def test_density_is_the_clamped_one_and_integrates_to_one(mu):
  t = np.linspace(0, 1, 400_001)
  f = np.asarray(timesteps.density(t.astype(np.float32), mu), np.float64)
  assert np.trapezoid(f, t) == pytest.approx(1, abs=2e-4)
  reference = tail_clamped(t, mu, timesteps.QUANTILES)
  reference /= np.trapezoid(reference, t)
  np.testing.assert_allclose(f, reference, rtol=2e-3)
  assert f[0] > 0 and f[-1] > 0


@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize("quantiles", [(0.005, 0.999), (0.1, 0.8)])
def test_inverse_cdf_inverts_the_integral_of_the_density(mu, quantiles):
  t = np.linspace(0, 1, 400_001)
  f = tail_clamped(np.clip(t, 1e-9, 1 - 1e-9), mu, quantiles)
  cdf = np.concatenate([[0], np.cumsum((f[1:] + f[:-1]) / 2)])
  cdf /= cdf[-1]
  uniform = np.linspace(0, 1, 1001)
  expected = np.interp(uniform, cdf, t)
  levels = timesteps.inverse_cdf(uniform.astype(np.float32), mu, quantiles)
  np.testing.assert_allclose(levels, expected, atol=2e-5)
  assert (np.diff(levels) >= 0).all()
  assert levels[0] == 0
  assert levels[-1] == pytest.approx(1, abs=1e-6)


def test_histogram_of_samples_follows_the_density():
  mu, n = 1.4, 400_000
  levels = np.asarray(timesteps.draw(jax.random.key(0), (n,), mu))
  counts, edges = np.histogram(levels, bins=50, range=(0, 1))
  grid = np.linspace(0, 1, 50 * 200 + 1)
  f = np.asarray(timesteps.density(grid.astype(np.float32), mu), np.float64)
  expected = [
    np.trapezoid(f[i : i + 201], grid[i : i + 201]) for i in range(0, 10000, 200)
  ]
  deviation = (counts - n * np.array(expected)) / np.sqrt(n * np.array(expected))
  assert np.abs(deviation).max() < 5
  assert (counts > 0).all()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("mu", [0.95, 2.05, timesteps.token_shift(27588, 3.0)])
def test_levels_follow_the_law_by_kolmogorov_and_smirnov(mu, share):
  n = 100_000
  draw = timesteps.draw(jax.random.key(2), (n,), mu, timesteps.QUANTILES, share)
  grid = np.linspace(0, 1, 200_001)
  f = np.asarray(timesteps.density(grid.astype(np.float32), mu), np.float64)
  law = np.concatenate([[0], np.cumsum((f[1:] + f[:-1]) / 2) * (grid[1] - grid[0])])
  levels = np.sort(np.asarray(draw, np.float64))
  expected = (1 - share) * np.interp(levels, grid, law / law[-1]) + share * levels
  distance = np.abs(expected - (np.arange(n) + 0.5) / n).max()
  assert distance < 1.95 / np.sqrt(n)  # One in a thousand is above that by chance.


def test_shift_may_differ_by_clip_and_stay_finite_far_out():
  mu = np.array([0.0, 50.0, -50.0], np.float32)
  levels = timesteps.draw(jax.random.key(1), (1000, 3), mu)
  assert np.isfinite(levels).all()
  assert (levels >= 0).all() and (levels <= 1).all()
  # Far out the flat tail is all there is of the law.
  assert np.abs(levels[:, 1:].mean(axis=0) - 0.5).max() < 0.05


@pytest.mark.parametrize("quantiles", [(0.0, 0.9), (0.5, 0.5), (0.1, 1.0)])
def test_quantiles_out_of_order_are_refused(quantiles):
  with pytest.raises(ValueError, match="0 < low < high < 1"):
    timesteps.inverse_cdf(np.zeros(1, np.float32), 0.0, quantiles)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_another_spread_is_the_logit_normal_of_that_deviation(spread):
  uniform = np.linspace(0.1, 0.9, 9)
  levels = np.asarray(timesteps.inverse_cdf(uniform, 0.3, (1e-4, 0.9999), spread))
  logits = np.log(levels) - np.log1p(-levels)
  normal = np.asarray(jax.scipy.special.ndtri(uniform))
  np.testing.assert_allclose(logits, 0.3 + spread * normal, atol=0.02)
  grid = np.linspace(0, 1, 200_001)
  density = np.asarray(timesteps.density(grid, 0.3, spread=spread))
  assert abs(np.trapezoid(density, grid) - 1) < 1e-3
