import numpy as np
import pytest
import scipy.linalg

from ltx_jax.metrics import fvd
from ltx_jax.metrics.fvd import Moments, frechet, merge, mmd, moments, noise_floor


def of(mean, covariance, n=1000):
  """Moments with a given mean and covariance."""
  return Moments(n, np.asarray(mean, float), (n - 1) * np.asarray(covariance, float))


def sample(seed, n, d, mixed=True):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, d))
  return x @ np.random.default_rng(9).normal(size=(d, d)) + 0.1 * seed if mixed else x


def test_moments_are_those_of_numpy_and_merge_to_those_of_all():
  x = sample(0, 50, 7) + 1e4
  parts = [moments(part) for part in np.split(x, [1, 20, 33])]
  whole, merged = moments(x), parts[0]
  for part in parts[1:]:
    merged = merge(merged, part)
  np.testing.assert_allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-9)
  assert merged.n == 50
  np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
  np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-9)


def test_diagonal_covariances_have_the_closed_form():
  a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 1.0, 2.0])
  expected = 3**2 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
  found = frechet(of([0, 0, 0], np.diag(a)), of([1, 2, 2], np.diag(b)))
  assert found == pytest.approx(expected, rel=1e-12)


def test_equal_covariances_leave_the_distance_of_means():
  covariance = np.cov(sample(0, 100, 6), rowvar=False)
  mean = np.arange(6.0)
  found = frechet(of(mean, covariance), of(mean + 0.5, covariance))
  assert found == pytest.approx(6 * 0.25, rel=1e-9)
  assert frechet(of(mean, covariance), of(mean, covariance)) < 1e-12


@pytest.mark.parametrize("d", [3, 40])
def test_it_is_the_distance_by_scipys_root_of_a_matrix(d):
  one, other = moments(sample(0, 200, d)), moments(sample(1, 300, d) ** 2)
  root = scipy.linalg.sqrtm(one.covariance @ other.covariance)
  apart = one.mean - other.mean
  expected = apart @ apart + np.trace(one.covariance + other.covariance - 2 * root.real)
  assert frechet(one, other) == pytest.approx(expected, rel=1e-9)
  assert frechet(one, other) == pytest.approx(frechet(other, one), rel=1e-12)


def test_fewer_clips_than_features_are_exact_as_well():
  """Two covariances of rank 1: the shared part is the cosine between directions."""
  u, v = np.array([3.0, 4.0, 0, 0, 0]), np.array([0, 2.0, 0, 0, 0])
  found = frechet(of(np.zeros(5), np.outer(u, u)), of(np.zeros(5), np.outer(v, v)))
  assert found == pytest.approx(25 + 4 - 2 * 4 * 2, rel=1e-12)
  few = moments(sample(0, 4, 60))
  assert frechet(few, few) < 1e-9 * np.trace(few.covariance)


def test_the_floor_is_what_two_samples_of_one_distribution_have():
  """Of 400 features and 2048 clips it is 40, as published figures have them."""
  one, other = (moments(sample(i, 2048, 400, False)) for i in range(2))
  assert frechet(one, other) == pytest.approx(40, abs=1)
  true = noise_floor(of(np.zeros(400), np.eye(400)), 2048)
  assert true == pytest.approx(39.5, abs=0.2)
  # The eigenvalues of a sample are farther apart than the true ones.
  assert 0.94 * true < noise_floor(merge(one, other), 2048) < 0.97 * true
  for d, n, other_n in ((10, 400, 400), (10, 300, 900)):
    found = [
      frechet(
        moments(sample(i, n, d, False)), moments(sample(~i & 0xFFF, other_n, d, False))
      )
      for i in range(40)
    ]
    floor = noise_floor(of(np.zeros(d), np.eye(d)), n, other_n)
    assert floor == pytest.approx(np.mean(found), rel=0.1)


def test_the_line_through_fewer_clips_ends_at_the_true_distance():
  """Of one distribution that is 0, and the slope is the floor times the clips."""
  x, y = sample(1, 600, 8, False), sample(2, 600, 8, False)
  line = fvd.frechet_at_infinity(x, y)
  assert len(line.sizes) == 8 and line.sizes[0] == 150 and line.sizes[-1] == 600
  floor = noise_floor(of(np.zeros(8), np.eye(8)), 150)
  assert line.found[0] == pytest.approx(floor, rel=0.4)
  assert abs(line.value) < 0.2 * floor
  assert line.slope == pytest.approx(150 * floor, rel=0.4)
  again = fvd.frechet_at_infinity(x, y)
  assert again == line
  with pytest.raises(ValueError, match="from 9 to 20 clips of 12, with 8 features"):
    fvd.frechet_at_infinity(x[:12], y[:12], sizes=(9, 20))


def test_the_interval_covers_and_keeps_sources_together():
  inside = []
  for seed in range(20):
    x, y = sample(seed, 200, 3, False), sample(seed + 50, 200, 3, False) + 1
    found = fvd.frechet_interval(x, y, seed=seed)
    inside.append(found.low <= 3 + noise_floor(moments(x), 200) <= found.high)
  assert np.mean(inside) >= 0.85
  assert found.value == pytest.approx(frechet(moments(x), moments(y)), rel=1e-9)
  copies = np.repeat(np.arange(20), 10)
  apart = fvd.frechet_interval(np.repeat(x[:20], 10, 0), np.repeat(y[:20], 10, 0))
  together = fvd.frechet_interval(
    np.repeat(x[:20], 10, 0), np.repeat(y[:20], 10, 0), (copies, copies)
  )
  assert together.error > 2 * apart.error
  with pytest.raises(ValueError, match="5 independent clips .* 10 groups"):
    fvd.frechet_interval(x[:5], y)


def test_a_source_of_both_sides_is_left_out_of_both():
  """The distance of clips and slightly changed ones is about the change alone."""
  x = sample(0, 60, 3, False)
  y, names = x + 0.01, np.array([f"video {k}" for k in range(60)])
  paired = fvd.frechet_interval(x, y, (names, names))
  apart = fvd.frechet_interval(x, y)
  assert paired.value == pytest.approx(3e-4, rel=1e-6)
  assert apart.value == pytest.approx(3e-4, rel=1e-6)
  assert paired.error < 1e-6 < apart.error
  order = np.random.default_rng(0).permutation(60)
  again = fvd.frechet_interval(x, y[order], (names, names[order]))
  assert again.error == pytest.approx(paired.error, abs=1e-6)


def test_sources_of_one_side_fill_every_group():
  one, other = np.arange(12), np.arange(6, 18)
  dealt = fvd._dealt((one, other), 10, np.random.default_rng(0))
  assert all(set(side) == set(range(10)) for side in dealt)
  shared = [
    side[np.isin(names, np.arange(6, 12))]
    for side, names in zip(dealt, (one, other), strict=True)
  ]
  np.testing.assert_array_equal(*shared)


def test_the_kernel_distance_is_the_mean_over_all_pairs():
  x, y = sample(0, 6, 4), sample(1, 9, 4)
  pairs = [np.mean((a @ b.T / 4) ** 2) for a, b in ((x, x), (y, y), (x, y))]
  assert mmd(x, y) == pytest.approx(
    100 * (pairs[0] + pairs[1] - 2 * pairs[2]), rel=1e-9
  )
  assert mmd(x, x, 1.0) == 0
  assert mmd(x[:, :1] * 0 + 2, x[:, :1] * 0 + 1, 1.0) == pytest.approx((4 - 1) ** 2)


def test_few_clips_are_remarked_on_and_one_is_refused():
  few, more = moments(sample(0, 12, 5)), moments(sample(1, 14, 5))
  said = fvd.remarks(few, more)
  assert "12 clips are fewer than 10 for each of 5 features" in said[0]
  assert "ranks 5 and 5" in said[0] and "12 and 14 clips" in said[1]
  tiny = moments(sample(0, 3, 5))
  assert fvd.rank(tiny) == 2
  enough = moments(sample(0, 50, 5))
  assert fvd.remarks(enough, enough) == []
  with pytest.raises(ValueError, match="1 and 50 clips; .* at least 2"):
    frechet(moments(sample(0, 1, 5)), enough)


def test_broken_features_and_other_networks_are_refused():
  with pytest.raises(ValueError, match="Feature 1 of clip 2 is nan"):
    moments(np.array([[0, 0], [0, 0], [0, np.nan]]))
  with pytest.raises(ValueError, match="no features"):
    moments(np.zeros((0, 3)))
  with pytest.raises(ValueError, match="One side has 3 features, the other 4"):
    frechet(moments(sample(0, 9, 3)), moments(sample(0, 9, 4)))
