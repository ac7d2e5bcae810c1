"""Intervals of simulated studies hold the truth as often as they say."""

import numpy as np
import pytest

from tests.train.evaluate.study import studies
from tests.train.evaluate.study.simulated import World

WORLD = World(studies.STRENGTHS)


@pytest.fixture(scope="module")
def twenty():
  size = {"items": 40, "raters": 8}
  return [studies.found(WORLD, seed, 200, **size) for seed in range(20)]


def test_intervals_hold_the_truth_and_those_of_votes_alone_do_not(twenty):
  """Twenty studies say little about one percent: tests/verify simulates 200."""
  found = studies.coverage(twenty)
  assert all(0.89 <= share <= 1 for share in found["covered"])
  assert all(share < 0.9 for share in found["naive"])


def test_strengths_and_rates_are_the_true_ones_on_average(twenty):
  scores, rates = studies.truth(WORLD)
  mean = np.mean([each.scores for each in twenty], 0)
  np.testing.assert_allclose(mean, scores, atol=0.12)
  assert (np.diff(mean) < 0).all()
  found = np.mean([each.rates for each in twenty], 0)
  np.testing.assert_allclose(found, rates, atol=0.03)


def test_taste_makes_rates_less_than_strengths_say():
  scores, rates = studies.truth(WORLD)
  plain = studies.truth(World(studies.STRENGTHS, 0, 0, ties=0))
  np.testing.assert_allclose(plain[0], studies.STRENGTHS, atol=1e-6)
  assert scores[0] < plain[0][0] and 0.5 < rates[0] < plain[1][0]


def test_a_liking_for_the_left_moves_no_rate_and_is_seen():
  left = World(studies.STRENGTHS, left=0.3)
  size = {"items": 100, "raters": 8}
  plain, biased = (studies.votes(w, 3, **size) for w in (WORLD, left))
  moved, p = studies.moved_by(plain, biased)
  assert moved < 0.03 and p < 0.05
