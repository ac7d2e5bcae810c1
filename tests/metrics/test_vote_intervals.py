import numpy as np
import pytest

from ltx_jax.metrics import win_rates
from ltx_jax.metrics.estimates import clustered_mean
from ltx_jax.metrics.vote_intervals import intervals, pair_p_values, ranks
from ltx_jax.metrics.win_rates import Votes

PAIRS = np.array([(0, 1), (0, 2), (1, 2)])


def study(seed, taste=0.7, strengths=(0.0, 0.0, 0.0), raters=8, prompts=24):
  """Every rater votes on all three pairs of every prompt; both have tastes."""
  rng = np.random.default_rng(seed)
  rater, prompt, pair = np.indices((raters, prompts, 3)).reshape(3, -1)
  a, b = PAIRS[pair].T
  liked = np.array(strengths) + taste * rng.normal(size=(prompts, 3))[:, None]
  liked = liked + taste * rng.normal(size=(raters, 3))  # prompts raters 3
  logit = liked[prompt, rater, a] - liked[prompt, rater, b]
  won = rng.uniform(size=len(a)) < 1 / (1 + np.exp(-logit))
  outcome = np.where(rng.uniform(size=len(a)) < 0.1, 0.5, won)
  return Votes(prompt, rater, a, b, outcome, 3)


def lonely(votes):
  """The same votes as if each had a prompt and a rater of its own."""
  each = np.arange(len(votes.a))
  return votes._replace(prompt=each, rater=each)


def test_intervals_hold_the_truth_and_those_of_resampled_votes_do_not():
  """All models are equal, so every difference of strengths is 0."""
  covered = {"clustered": [], "votes": []}
  for seed in range(40):
    votes = study(seed)
    for name, given in (("clustered", votes), ("votes", lonely(votes))):
      found = intervals(given, seed, 100).differences
      inside = (found.low <= 0) & (found.high >= 0)
      covered[name].extend(inside[np.triu_indices(3, 1)])
  assert np.mean(covered["clustered"]) >= 0.9
  assert np.mean(covered["votes"]) < 0.85


def test_the_error_of_a_rate_is_that_of_a_clustered_mean():
  votes = study(1)
  first = (votes.a == 0) & (votes.b == 1)
  pair = Votes(*(column[first] for column in votes[:-1]), 2)
  found = intervals(pair, 0, 4000)
  mean = clustered_mean(pair.outcome, pair.prompt, pair.rater)
  assert found.half_rates.value[0] == pytest.approx(mean.value)
  # The analytic error has factors G / (G - 1) that resamples lack.
  assert found.half_rates.error[0] == pytest.approx(float(mean.error), rel=0.1)
  assert found.half_rates.freedom == mean.freedom == 7


def test_equal_arguments_give_equal_numbers_and_another_seed_gives_others():
  votes = study(2)
  one, same, other = (intervals(votes, seed, 50) for seed in (3, 3, 4))
  np.testing.assert_array_equal(one.scores.low, same.scores.low)
  assert (one.scores.low != other.scores.low).all()
  np.testing.assert_array_equal(one.scores.value, other.scores.value)
  assert (one.raters, one.prompts, one.votes) == (8, 24, 576)


def test_clear_differences_are_significant_and_order_the_ranks():
  found = intervals(study(0, 0.2, (2.0, 0.0, -0.1)), 0, 200)
  p = pair_p_values(found)
  assert p[0, 1] == p[1, 0] < 0.01 and p[0, 2] < 0.01 < p[1, 2]
  assert np.isnan(np.diag(p)).all()
  np.testing.assert_array_equal(ranks(found), [[1, 1], [2, 3], [2, 3]])
  assert (
    found.rates.value[0]
    == win_rates.win_rates(win_rates.matrix(study(0, 0.2, (2.0, 0.0, -0.1))))[0]
  )


def test_one_rater_leaves_the_prompts():
  votes = study(0, raters=1)
  found = intervals(votes, 0, 500)
  assert found.raters == 1 and found.scores.freedom == 23
  many = intervals(votes._replace(rater=np.arange(len(votes.a))), 0, 500)
  np.testing.assert_allclose(found.rates.error, many.rates.error, rtol=0.2)
  alone = intervals(votes._replace(prompt=np.zeros(len(votes.a), int)), 0, 50)
  assert np.isnan(alone.rates.low).all() and np.isfinite(alone.rates.value).all()
  assert np.isnan(pair_p_values(alone)).all()


def test_a_model_that_always_wins_is_open_above():
  votes = study(0)
  wins = (votes.a == 0).astype(float)
  outcome = np.where(wins == 1, 1.0, votes.outcome)
  found = intervals(votes._replace(outcome=outcome), 0, 100)
  assert found.scores.high[0] == np.inf and np.isfinite(found.scores.low[0])
  assert (found.differences.high[0, 1:] == np.inf).all()
  assert (found.differences.low[1:, 0] == -np.inf).all()
  assert np.isfinite(found.differences.high[1, 2])
  # All votes are alike, and yet eight raters prove no rate of 1.
  assert found.rates.value[0] == 1 == pytest.approx(found.rates.high[0])
  assert 0.5 < found.rates.low[0] < 0.7


def test_all_ties_have_scores_of_zero_with_intervals():
  votes = study(0)
  found = intervals(votes._replace(outcome=np.full(len(votes.a), 0.5)), 0, 50)
  assert np.isnan(found.rates.value).all() and np.isnan(found.rates.low).all()
  np.testing.assert_allclose(found.scores.value, 0, atol=1e-12)
  assert (found.scores.low < -0.5).all() and (found.scores.high > 0.5).all()
  assert (found.half_rates.low < 0.25).all() and (found.half_rates.high > 0.75).all()


def test_models_that_never_met_are_not_compared():
  votes = study(0)
  first = (votes.a == 0) & (votes.b == 1)
  pair = Votes(*(column[first] for column in votes[:-1]), 4)
  apart = pair._replace(
    a=np.append(pair.a, [2, 2]),
    b=np.append(pair.b, [3, 3]),
    outcome=np.append(pair.outcome, [0.0, 1.0]),
    prompt=np.append(pair.prompt, [0, 1]),
    rater=np.append(pair.rater, [0, 1]),
  )
  found = intervals(apart, 0, 100)
  assert np.isnan(found.differences.value[0, 2:]).all()
  assert np.isfinite(found.differences.value[0, 1])
  np.testing.assert_array_equal(np.isfinite(found.scores.low), True)
  assert ranks(found).shape == (4, 2)
