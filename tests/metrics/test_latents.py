import numpy as np
import pytest

from ltx_jax.metrics.latents import LatentSums

RNG = np.random.default_rng(0)


def latents(rows):
  """Rows of channels as latents [b f h w c]."""
  return np.asarray(rows, np.float32).reshape(2, -1, 2, 5, np.shape(rows)[-1])


def test_batches_add_up_to_the_statistics_of_the_whole():
  mixed = RNG.normal(size=(4, 4))
  rows = RNG.normal(size=(600, 4)) @ mixed + 1000  # Far from 0, where float32 fails.
  batches = [latents(rows[:40]), latents(rows[40:500]), latents(rows[500:])]
  sums = LatentSums.of(batches)
  rows = rows.astype(np.float32).astype(np.float64)
  assert sums.count == 600
  np.testing.assert_allclose(sums.covariance, np.cov(rows.T, bias=True), rtol=1e-5)
  np.testing.assert_allclose(sums.std, rows.std(0), rtol=1e-5)
  correlation = np.abs(np.corrcoef(rows.T)[~np.eye(4, dtype=bool)]).mean()
  assert sums.correlation() == pytest.approx(correlation, rel=1e-5)
  variances = np.linalg.svd(rows - rows.mean(0))[1] ** 2 / 600
  np.testing.assert_allclose(sums.spectrum(), variances, rtol=1e-5)


def test_channels_that_hardly_vary_are_not_in_use():
  rows = RNG.normal(size=(400, 3)) * [1, 0.09, 0]
  sums = LatentSums.of([latents(rows)])
  np.testing.assert_array_equal(sums.in_use(), [True, False, False])
  np.testing.assert_array_equal(sums.in_use(0.001), [True, True, False])
  assert sums.correlation() == 0


def test_copies_of_a_channel_are_correlated_and_add_no_rank():
  rows = RNG.normal(size=(20_000, 2))
  sums = LatentSums.of([latents(rows[:, [0, 0, 1, 1]] * [1, -1, 1, 1])])
  assert sums.correlation() == pytest.approx(1 / 3, abs=0.02)
  assert sums.effective_rank() == pytest.approx(2, abs=0.01)


def test_the_effective_rank_counts_equal_components_and_weighs_others():
  def rank(*variances):
    signs = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    return LatentSums.of([latents(np.tile(signs, (5, 1)) * np.sqrt(variances))])

  assert rank(2, 2, 2).effective_rank() == pytest.approx(3)
  assert rank(1, 0, 0).effective_rank() == pytest.approx(1)
  shares = np.array([0.5, 0.25, 0.25])
  expected = np.exp(-np.sum(shares * np.log(shares)))
  assert rank(2, 1, 1).effective_rank() == pytest.approx(expected)
  assert rank(0, 0, 0).effective_rank() == 0


def test_no_latents_at_all_are_refused():
  with pytest.raises(ValueError, match="no latents to describe"):
    LatentSums.of([])
