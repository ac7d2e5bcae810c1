import numpy as np
import pytest
from scipy import stats

from ltx_jax.metrics.estimates import clustered_mean, holm, p_values

RNG = np.random.default_rng(0)
VALUES = RNG.normal(3, 2, 12)


def test_without_clusters_the_interval_is_students():
  found = clustered_mean(VALUES)
  low, high = stats.t.interval(0.95, 11, VALUES.mean(), stats.sem(VALUES))
  assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
  expected = stats.ttest_1samp(VALUES, 2.5).pvalue
  assert p_values(found, 2.5) == pytest.approx(expected, rel=1e-9)


def test_repeating_a_cluster_adds_no_evidence():
  once = clustered_mean(VALUES)
  repeated = clustered_mean(np.repeat(VALUES, 5), np.repeat(np.arange(12), 5))
  np.testing.assert_allclose(repeated[:4], once[:4], rtol=1e-12)
  assert repeated.freedom == once.freedom == 11
  assert clustered_mean(np.repeat(VALUES, 5)).error < 0.5 * once.error


def test_two_kinds_of_clusters_add_up_less_what_both_count():
  rater, prompt = np.indices((4, 6)).reshape(2, -1)
  taste = RNG.normal(size=4)[rater] + RNG.normal(size=6)[prompt]
  values = taste + 0.1 * RNG.normal(size=24)
  single = clustered_mean(values).error ** 2
  by_prompt, by_rater = (clustered_mean(values, x).error ** 2 for x in (prompt, rater))
  both = clustered_mean(values, prompt, rater)
  assert both.error**2 == pytest.approx(by_prompt + by_rater - single, rel=1e-12)
  assert both.freedom == 3
  independent = RNG.normal(size=24)
  found = clustered_mean(independent, prompt, rater).error
  each = [clustered_mean(independent, x).error for x in (prompt, rater)]
  assert found >= max(each)


def test_one_cluster_leaves_the_other_kind_and_one_of_both_no_interval():
  one = np.zeros(12)
  alone = clustered_mean(VALUES, np.arange(12), one)
  assert alone == clustered_mean(VALUES, np.arange(12))
  nothing = clustered_mean(VALUES, one)
  assert nothing.freedom == 0
  assert np.isnan([nothing.low, nothing.high, p_values(nothing)]).all()
  assert nothing.value == VALUES.mean()


def test_a_mean_of_nothing_or_of_nan_is_refused():
  with pytest.raises(ValueError, match="There is no observation"):
    clustered_mean(np.zeros(0))
  with pytest.raises(ValueError, match="Observation 2 is nan; .* leave it out"):
    clustered_mean(np.array([1, 2, np.nan]))


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
  p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
  expected = [0.03, 0.06, np.nan, 0.06, 0.02]
  np.testing.assert_allclose(holm(p), expected, rtol=1e-12)
  np.testing.assert_array_equal(holm(np.array([0.9, 0.8])), [1, 1])
