"""Simulated studies against what is true of them: are the intervals what they say?

The truth is that of the expected matrix of pairs, since taste pulls rates toward a
half: with t the spread of the difference of two tastes,

    p_ij = E logistic(s_i - s_j + t z),   z normal,   t^2 = 2 (prompts^2 + raters^2)

Strengths of Bradley and Terry that fit p are true, and so is the mean of a row as a
model's rate, as every pair is met equally often.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ltx_jax.metrics import agreement, vote_intervals, win_rates
from ltx_jax.metrics.estimates import p_values
from ltx_jax.metrics.win_rates import Matrix, Votes
from tests.train.evaluate.study.cases import study
from tests.train.evaluate.study.simulated import Crowd, World, votes_of
from train.evaluate.study import tally
from train.evaluate.study.design import Rules

STRENGTHS = (0.9, 0.3, -0.3, -0.9)


@dataclasses.dataclass(frozen=True)
class Found:
  """What a simulated study says.

  Attributes:
    scores: Strengths.
    rates: Win rates without ties.
    covered: Whether each clustered interval of a strength holds the true one, and the
      same of rates.
    naive: The same if votes are resampled as if none shared a prompt or a rater.
  """

  scores: np.ndarray
  rates: np.ndarray
  covered: tuple[np.ndarray, np.ndarray]
  naive: tuple[np.ndarray, np.ndarray]


def truth(world: World) -> tuple[np.ndarray, np.ndarray]:
  """Returns the true strengths and win rates."""
  nodes, weights = np.polynomial.hermite_e.hermegauss(64)
  spread = np.sqrt(2 * (world.prompt_taste**2 + world.rater_taste**2))
  strengths = np.array(world.strengths)
  gain = (strengths[:, None] - strengths)[..., None] + spread * nodes
  p = (weights / (1 + np.exp(-gain))).sum(-1) / weights.sum()
  np.fill_diagonal(p, 0)
  wins = 1e6 * (1 - world.ties) * p
  ties = 1e6 * world.ties * (1 - np.eye(len(p)))
  scores = win_rates.bradley_terry(Matrix(wins, ties)).value
  return scores, p.sum(1) / (len(p) - 1)


def votes(world: World, seed: int, *, items: int, raters: int) -> Votes:
  """Returns the votes of a study; two raters vote on each pair of clips."""
  models = len(world.strengths)
  pairs = models * (models - 1) // 2
  each = -(-2 * items * pairs // raters)
  rules = Rules(votes_per_pair=2, comparisons=each, damaged=0, repeats=0, same=0)
  made = study(models, items, seed=seed, damaged=0, rules=rules)
  names = [f"r{k}" for k in range(raters)]
  rows = votes_of(made, names, Crowd(made, names, world, seed))
  return tally.votes(made, tally.pairs(rows))


def found(world: World, seed: int, resamples: int, **size: int) -> Found:
  """Simulates a study and compares its intervals with the truth."""
  true, cast = truth(world), votes(world, seed, **size)
  ours = vote_intervals.intervals(cast, seed, resamples)
  alone = np.arange(len(cast.a))
  naive = vote_intervals.intervals(
    cast._replace(prompt=alone, rater=alone), seed, resamples
  )
  inside = [
    tuple(
      (estimate.low <= value) & (value <= estimate.high)
      for estimate, value in zip((each.scores, each.rates), true, strict=True)
    )
    for each in (ours, naive)
  ]
  return Found(ours.scores.value, ours.rates.value, *inside)


def coverage(studies: Iterable[Found]) -> dict[str, tuple[float, float]]:
  """Returns the share of intervals that hold the truth: of strengths and of rates."""
  each = list(studies)
  return {
    name: tuple(
      float(np.mean([getattr(one, name)[k] for one in each])) for k in range(2)
    )
    for name in ("covered", "naive")
  }


def moved_by(plain: Votes, biased: Votes) -> tuple[float, float]:
  """Returns how far a liking for a side moves a rate, and the p-value of it."""
  rates = [win_rates.win_rates(win_rates.matrix(each)) for each in (plain, biased)]
  share = agreement.side_bias(biased.outcome, biased.prompt, biased.rater)
  return float(abs(rates[0] - rates[1]).max()), float(p_values(share, at=0.5))
