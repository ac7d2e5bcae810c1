import numpy as np
import pytest

from ltx_jax.metrics.agreement import agreement, halves, krippendorff_alpha, side_bias
from ltx_jax.metrics.estimates import p_values
from ltx_jax.metrics.win_rates import Votes

# Three observers of 15 units, some missed; the example of Krippendorff's own papers.
RATINGS = """
  * * * * * 3 4 1 2 1 1 3 3 * 3
  1 * 2 1 3 3 4 3 * * * * * * *
  * * 2 1 3 4 4 * 2 1 1 3 3 * 4
"""


def test_alpha_is_that_of_the_published_example():
  rows = [line.split() for line in RATINGS.strip().splitlines()]
  given = [(u, int(v)) for row in rows for u, v in enumerate(row) if v != "*"]
  unit, value = map(np.array, zip(*given, strict=True))
  found = krippendorff_alpha(unit, value)
  assert found.alpha == pytest.approx(0.691, abs=5e-4)
  assert (found.units, found.votes) == (12, 26)


def ballots(seed=0, raters=6, prompts=40, care=1.0):
  """Two models; each prompt has a better clip, which careful raters see."""
  rng = np.random.default_rng(seed)
  rater, prompt = np.indices((raters, prompts)).reshape(2, -1)
  better = rng.integers(0, 2, prompts)[prompt]
  guess = rng.integers(0, 2, len(rater))
  a = rng.integers(0, 2, len(rater))
  winner = np.where(rng.uniform(size=len(rater)) < care, better, guess)
  return Votes(prompt, rater, a, 1 - a, (winner == a).astype(float), 2)


def test_agreement_does_not_depend_on_sides_and_is_zero_by_chance():
  assert agreement(ballots()).alpha == 1
  assert abs(agreement(ballots(care=0.0)).alpha) < 0.1
  assert 0.2 < agreement(ballots(care=0.7)).alpha < 0.8


def test_alpha_is_undefined_where_nothing_differs_or_nothing_repeats():
  votes = ballots()
  tied = agreement(votes._replace(outcome=np.full(len(votes.a), 0.5)))
  assert np.isnan(tied.alpha) and tied.units == 40
  once = Votes(*(column[:40] for column in votes[:-1]), 2)
  assert np.isnan(agreement(once).alpha) and agreement(once).units == 0


def test_a_side_bias_is_found_and_its_absence_too():
  rng = np.random.default_rng(1)
  rater, prompt = np.indices((20, 60)).reshape(2, -1)
  for chance, biased in ((1 / (1 + np.exp(-0.3)), True), (0.5, False)):
    left = (rng.uniform(size=len(rater)) < chance).astype(float)
    left[::10] = 0.5
    found = side_bias(left, prompt, rater)
    assert (p_values(found, 0.5) < 0.01) == biased
    assert found.low < chance < found.high
  with pytest.raises(ValueError, match="All 9 votes are ties"):
    side_bias(np.full(9, 0.5), prompt[:9], rater[:9])


def test_halves_differ_as_by_chance_unless_raters_have_tastes():
  votes = ballots(care=0.0, raters=8)
  alike = halves(votes, 0, 60)
  assert 0 < alike.found < 1.5 * alike.by_chance
  fans = np.where(votes.rater < 4, votes.a == 0, votes.a == 1).astype(float)
  apart = halves(votes._replace(outcome=fans), 0, 60)
  assert apart.found > 3 * apart.by_chance
  assert halves(votes, 0, 60) == alike
  with pytest.raises(ValueError, match="of one rater; halves"):
    halves(votes._replace(rater=np.zeros(len(votes.a), int)))
