"""Intervals of win rates and strengths, clustered by prompts and by raters.

Votes of one rater, or of one prompt, share a taste. So prompts, raters and votes are
resampled, each kind by itself, and

    variance = by prompts + by raters - by votes, not below the larger of the first two

with Student's t of min(raters, prompts) - 1 degrees of freedom. Resampling votes alone
covers far less than it says. A kind of which there is one is left out; with one rater
the interval is about prompts and says nothing about people.

Where no resample differs, since all votes are alike, as many votes count as there are
clusters of the fewer kind: for rates in Wilson's interval, for strengths in the
information of their likelihood. Where no chain of wins leads back, the end is infinite.

Source: Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering", 2011;
Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.errors import check_number, check_seed
from ltx_jax.metrics import win_rates
from ltx_jax.metrics.estimates import (
  Estimate,
  cluster_numbers,
  combined_variance,
  estimate,
  holm,
  p_values,
)
from ltx_jax.metrics.tails import student_quantile
from ltx_jax.metrics.win_rates import Matrix, Votes

_NOTHING = 1e-20  # Variance below which no resample differs.


class Intervals(NamedTuple):
  """What votes say about models, with intervals.

  Attributes:
    rates: Win rates without ties; NaN for a model without a decisive vote.
    half_rates: Win rates with ties as half a win.
    pair_rates: Rate of each model against each other one, ties as half.
    scores: Strengths; an end is infinite where nothing bounds it.
    differences: Strength of the row's model less that of the column's.
    raters: Number of raters; one says nothing about people.
    prompts: Number of prompts.
    votes: Number of votes.
  """

  rates: Estimate
  half_rates: Estimate
  pair_rates: Estimate
  scores: Estimate
  differences: Estimate
  raters: int
  prompts: int
  votes: int


class _Resamples(NamedTuple):
  """Resampled counts, each kind by itself, and the numbers of clusters."""

  kinds: list[Matrix]
  prompts: int
  raters: int

  @property
  def fewest(self) -> int:
    """The fewer of raters and prompts; one alone cannot be resampled."""
    return min((n for n in (self.prompts, self.raters) if n > 1), default=1)

  def variance(self, statistic: Callable[[Matrix], np.ndarray]) -> np.ndarray:
    """Returns the variance of a statistic of counts."""
    return self.combined([statistic(counts) for counts in self.kinds])

  def combined(self, drawn: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the variance of a statistic, given for the resamples of each kind."""
    prompts, raters, votes = (_variance(each) for each in drawn)
    return combined_variance(prompts, raters, votes)


def _variance(drawn: np.ndarray) -> np.ndarray:
  """Returns the variance over resamples in which the statistic exists."""
  known = ~np.isnan(drawn)
  n = np.maximum(known.sum(0), 1)
  drawn = np.where(known, drawn, 0)
  return (known * (drawn - drawn.sum(0) / n) ** 2).sum(0) / n


def _resampled(
  votes: Votes, labels: np.ndarray, rng: np.random.Generator, resamples: int
) -> tuple[Matrix, int]:
  """Returns counts of resampled clusters, and the number of clusters."""
  numbers, count = cluster_numbers(labels)
  counts = win_rates.by_cluster(votes, numbers, count)
  drawn = rng.multinomial(count, np.full(count, 1 / count), resamples).astype(float)
  parts = ((drawn @ x.reshape(count, -1)).reshape(-1, *x.shape[1:]) for x in counts)
  return Matrix(*parts), count


def _resampled_votes(
  counts: Matrix, rng: np.random.Generator, resamples: int
) -> Matrix:
  """Returns counts of resampled votes; those of a pair and an outcome are alike."""
  cells = np.concatenate([counts.wins.ravel(), np.triu(counts.ties).ravel()])
  total, k = cells.sum(), len(counts.wins)
  drawn = rng.multinomial(round(total), cells / total, resamples).astype(float)
  wins, ties = np.moveaxis(drawn.reshape(resamples, 2, k, k), 1, 0)
  return Matrix(wins, ties + np.swapaxes(ties, 1, 2))


def intervals(
  votes: Votes, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Intervals:
  """Returns rates and strengths with intervals; equal for equal arguments.

  Args:
    votes: The votes.
    seed: Seed of the resamples.
    resamples: Number of resamples of each kind.
    level: Share of such intervals that hold the true number.

  Raises:
    ValueError: If votes do not count (`win_rates.check_votes`).
  """
  check_seed(seed)
  check_number("resamples", resamples, at_least=2, whole=True)
  counts = win_rates.matrix(votes)
  rng = np.random.default_rng(seed)
  by_prompt, prompts = _resampled(votes, votes.prompt, rng, resamples)
  by_rater, raters = _resampled(votes, votes.rater, rng, resamples)
  by_vote = _resampled_votes(counts, rng, resamples)
  drawn = _Resamples([by_prompt, by_rater, by_vote], prompts, raters)
  scores, differences = _strengths(counts, drawn, level)
  return Intervals(
    rates=_rates(win_rates.win_rates, counts, drawn, level),
    half_rates=_rates(win_rates.half_rates, counts, drawn, level),
    pair_rates=_rates(win_rates.pair_rates, counts, drawn, level),
    scores=scores,
    differences=differences,
    raters=raters,
    prompts=prompts,
    votes=len(votes.a),
  )


def _rates(
  statistic: Callable[[Matrix], np.ndarray],
  counts: Matrix,
  drawn: _Resamples,
  level: float,
) -> Estimate:
  """Returns rates with intervals inside 0 and 1."""
  value, variance, n = statistic(counts), drawn.variance(statistic), drawn.fewest
  found = estimate(value, np.sqrt(variance), n - 1, level)
  if n == 1:
    return found
  t = student_quantile(level, n - 1)
  alike = variance < _NOTHING
  center = (value + t * t / (2 * n)) / (1 + t * t / n)
  half = t * np.sqrt(value * (1 - value) / n + (t / (2 * n)) ** 2) / (1 + t * t / n)
  low = np.clip(np.where(alike, center - half, found.low), 0, 1)
  high = np.clip(np.where(alike, center + half, found.high), 0, 1)
  # For a p-value: what the error would be if both were equally good.
  error = np.where(alike, 0.5 / math.sqrt(n), found.error)
  return found._replace(low=low, high=high, error=error)


def _strengths(
  counts: Matrix, drawn: _Resamples, level: float
) -> tuple[Estimate, Estimate]:
  """Returns the estimates of strengths and of their differences."""
  scores = win_rates.bradley_terry(counts)
  samples = [win_rates.strengths(kind.points, counts) for kind in drawn.kinds]
  fewest, found = drawn.fewest, []
  covariance = _covariance(counts, scores.value, fewest)
  of_pairs = np.diag(covariance)[:, None] + np.diag(covariance) - 2 * covariance
  same = scores.component[:, None] == scores.component
  reach = win_rates.reaches(counts.points) & same
  up, down = reach & ~reach.T, reach.T & ~reach
  for value, drawings, plain, highest, lowest in (
    (scores.value, samples, np.diag(covariance), up.any(1), down.any(1)),
    (_less(scores.value), [_less(x) for x in samples], of_pairs, up, down),
  ):
    variance = drawn.combined(drawings)
    variance = np.where(variance < _NOTHING, np.maximum(plain, 0), variance)
    each = estimate(value, np.sqrt(variance), fewest - 1, level)
    low = np.where(lowest, -np.inf, each.low)
    found.append(each._replace(low=low, high=np.where(highest, np.inf, each.high)))
  scored, differ = found
  none = np.where(same, 0, np.nan)
  return scored, differ._replace(
    value=differ.value + none, low=differ.low + none, high=differ.high + none
  )


def _less(score: np.ndarray) -> np.ndarray:
  """Returns the differences [.. k k] of strengths [.. k]."""
  return score[..., :, None] - score[..., None, :]


def _covariance(counts: Matrix, score: np.ndarray, fewest: int) -> np.ndarray:
  """Returns the covariance if each cluster of the fewer kind were one vote."""
  games = counts.points + counts.points.T
  share = min(1.0, fewest / (games.sum() / 2))
  chance = 1 / (1 + np.exp(-_less(score)))
  return np.linalg.pinv(win_rates.information(share * games, chance))


def pair_p_values(found: Intervals) -> Float[np.ndarray, "k k"]:
  """Returns p-values, by Holm's rule, that both of a pair are equally good.

  They rest on the votes about that pair alone (`pair_rates`), whether strengths fit or
  not. NaN where a pair never met.
  """
  p = p_values(found.pair_rates, at=0.5)
  rows, columns = np.triu_indices(len(p), 1)
  adjusted = np.full_like(p, np.nan)
  adjusted[rows, columns] = adjusted[columns, rows] = holm(p[rows, columns])
  return adjusted


def ranks(found: Intervals) -> Int[np.ndarray, "k 2"]:
  """Returns the best and the worst rank of each model that the intervals allow.

  Rank 1 is the best. Models that are not comparable could stand anywhere.
  """
  better = found.differences.high < 0  # Of the column's model.
  worse = found.differences.low > 0
  return np.stack([1 + better.sum(1), len(better) - worse.sum(1)], axis=1)
