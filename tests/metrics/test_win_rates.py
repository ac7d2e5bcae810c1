import numpy as np
import pytest

from ltx_jax.metrics.win_rates import (
  Matrix,
  Votes,
  bradley_terry,
  components,
  half_rates,
  matrix,
  misfit,
  pair_rates,
  win_rates,
)


def of(wins, ties=None):
  wins = np.array(wins, np.float64)
  return Matrix(wins, np.zeros_like(wins) if ties is None else np.array(ties, float))


def votes(rows, models=3):
  """Votes of (a, b, outcome), each of its own prompt and rater."""
  a, b, outcome = (np.array(column) for column in zip(*rows, strict=True))
  every = np.arange(len(a))
  return Votes(every, every, a, b, outcome.astype(float), models)


def test_votes_are_counted_by_pair_whichever_side_they_are_on():
  counts = matrix(votes([(0, 1, 1), (1, 0, 0), (0, 1, 0), (1, 2, 0.5), (2, 0, 0)]))
  np.testing.assert_array_equal(counts.wins, [[0, 2, 1], [1, 0, 0], [0, 0, 0]])
  np.testing.assert_array_equal(counts.ties, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
  np.testing.assert_allclose(win_rates(counts), [3 / 4, 1 / 3, 0])
  np.testing.assert_allclose(half_rates(counts), [3 / 4, 1.5 / 4, 0.5 / 2])
  np.testing.assert_allclose(pair_rates(counts)[0], [np.nan, 2 / 3, 1])


def test_all_ties_have_no_win_rate_and_equal_scores():
  counts = matrix(votes([(0, 1, 0.5)] * 4 + [(1, 2, 0.5)] * 4))
  assert np.isnan(win_rates(counts)).all()
  np.testing.assert_array_equal(half_rates(counts), 0.5)
  scores = bradley_terry(counts)
  np.testing.assert_allclose(scores.value, 0, atol=1e-12)
  np.testing.assert_array_equal(scores.bound, 0)


def test_strengths_solve_their_equation():
  counts = of([[0, 7, 3, 2], [4, 0, 6, 1], [5, 2, 0, 9], [3, 8, 1, 0]])
  value = bradley_terry(counts).value
  chance = 1 / (1 + np.exp(value - value[:, None]))
  games = counts.points + counts.points.T
  np.testing.assert_allclose((games * chance).sum(1), counts.points.sum(1), rtol=1e-12)
  assert value.sum() == pytest.approx(0, abs=1e-12)


def test_two_models_have_the_logit_of_their_rate():
  value = bradley_terry(of([[0, 6.5], [1.5, 0]])).value
  assert value[0] - value[1] == pytest.approx(np.log(6.5 / 1.5), rel=1e-12)


def paper(rates):
  """The table of LTX-Video: its rates against three others, of 100 votes each."""
  wins = np.zeros((4, 4))
  wins[3, :3], wins[:3, 3] = rates, 1 - np.array(rates)
  return of(100 * wins)


def test_strengths_from_the_papers_three_pairs_predict_its_totals():
  """For images they do; for text they miss the paper's 20, 38, 51 and 85 %."""
  for rates, expected in (
    ([0.95, 0.88, 0.91], [23, 47, 39, 91]),
    ([0.96, 0.85, 0.72], [11, 42, 62, 84]),
  ):
    value = bradley_terry(paper(rates)).value
    chance = 1 / (1 + np.exp(value - value[:, None]))
    totals = (chance.sum(1) - 0.5) / 3
    np.testing.assert_allclose(100 * totals, expected, atol=0.6)


def test_a_model_that_always_wins_has_a_finite_score_that_is_a_bound():
  scores = bradley_terry(of([[0, 9, 9], [0, 0, 5], [0, 4, 0]]))
  assert scores.bound.tolist() == [1, -1, -1]  # The two others always lose to it.
  assert np.isfinite(scores.value).all() and scores.value.argmax() == 0
  more = bradley_terry(of([[0, 90, 90], [0, 0, 5], [0, 4, 0]]))
  assert more.value[0] > scores.value[0] + 1


def test_a_chain_without_upsets_bounds_both_of_its_ends():
  scores = bradley_terry(of([[0, 5, 0], [0, 0, 5], [0, 0, 0]]))
  assert scores.bound.tolist() == [1, 0, -1]
  np.testing.assert_allclose(scores.value, -scores.value[::-1], atol=1e-9)


def test_models_that_never_met_have_no_common_scale():
  wins = np.zeros((5, 5))
  wins[0, 3], wins[3, 0], wins[1, 4], wins[4, 1] = 3, 1, 2, 2
  counts = of(wins)
  np.testing.assert_array_equal(components(counts), [0, 1, 2, 0, 1])
  scores = bradley_terry(counts)
  expected = np.array([np.log(3), 0, 0, -np.log(3), 0]) / 2
  np.testing.assert_allclose(scores.value, expected, atol=1e-9)
  np.testing.assert_array_equal(scores.bound, 0)


def test_a_cycle_does_not_fit_and_a_line_does():
  cycle = misfit(of([[0, 30, 10], [10, 0, 30], [30, 10, 0]]))
  assert cycle.freedom == 1 and cycle.p < 1e-6
  chance = np.array([[0, 2, 4], [1, 0, 2], [1, 1, 0]]) * 1.0
  line = misfit(of(60 * chance / (chance + chance.T + np.eye(3))))
  assert line.statistic == pytest.approx(0, abs=1e-9) and line.p == pytest.approx(
    1, abs=1e-4
  )
  pair = misfit(of([[0, 3], [2, 0]]))
  assert pair.freedom == 0 and np.isnan(pair.p)


@pytest.mark.parametrize(
  "rows, message",
  [
    ([(0, 3, 1)], "Vote 0 has models 0 and 3 .* one of 0 to 2"),
    ([(0, 1, 1), (1, 1, 0)], "Vote 1 has models 1 and 1 .* two different"),
    ([(0, 1, 0.25)], "outcome 0.25; outcomes are 1, 0.5 and 0"),
  ],
)
def test_votes_that_do_not_count_are_refused(rows, message):
  with pytest.raises(ValueError, match=message):
    matrix(votes(rows))


def test_columns_of_unequal_length_and_no_votes_are_refused(unchecked):
  whole = votes([(0, 1, 1), (1, 2, 0)])
  with pytest.raises(ValueError, match="2 of prompt, 2 of rater, 1 of a"):
    matrix(whole._replace(a=whole.a[:1]))
  with pytest.raises(ValueError, match="There is no vote"):
    matrix(Votes(*(column[:0] for column in whole[:-1]), 3))
