"""Win rates and strengths of models from votes on pairs of their clips.

A vote says which of two clips, made by models i and j for the same prompt, is better. A
model's rate is wins / (wins + losses), or with ties as half a win each. Strengths s are
the most likely ones of the model of Bradley and Terry,

    P(i beats j) = 1 / (1 + exp(s_j - s_i)),    sum_j (w_ij - n_ij P(i beats j)) = 0 (1)

where w_ij counts the wins of i over j, ties as half, n_ij = w_ij + w_ji, and the mean
of s is 0. Newton's steps solve (1), cut so that no difference moves by more than 1
logit; the likelihood is concave and its curvature changes by at most e over such a
step, so each step gains. Without a win in both directions strengths are infinite: then
half a vote is added to each compared pair, and the score counts as "at least" or "at
most". Models that no chain of comparisons joins have no common scale.

`metrics.vote_intervals` has their intervals.

Source: Bradley and Terry, "Rank Analysis of Incomplete Block Designs", 1952.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ltx_jax.errors import check_number
from ltx_jax.metrics.tails import chi_square_above

_PRIOR = 0.25  # Of a vote for either side of a pair: half a vote a pair.
_LONGEST = 0.5  # Of a step of one score, in logits: differences move by twice as much.


class Votes(NamedTuple):
  """Votes, each about the clips of two models for one prompt.

  Attributes:
    prompt: Number of each vote's prompt, or any other label that sorts.
    rater: Number of each vote's rater, or any other label that sorts.
    a: Index of one model.
    b: Index of the other.
    outcome: 1 if a won, 0 if b won, 0.5 for a tie.
    models: Number of models, voted on or not.
  """

  prompt: np.ndarray
  rater: np.ndarray
  a: Int[np.ndarray, "v"]
  b: Int[np.ndarray, "v"]
  outcome: Float[np.ndarray, "v"]
  models: int


class Matrix(NamedTuple):
  """Votes by pair of models; leading dimensions are resamples.

  Attributes:
    wins: Votes in which the first model beat the second.
    ties: Votes that called both equal; symmetric.
  """

  wins: Float[np.ndarray, "*r k k"]
  ties: Float[np.ndarray, "*r k k"]

  @property
  def points(self) -> Float[np.ndarray, "*r k k"]:
    """Wins with ties as half."""
    return self.wins + self.ties / 2


class Scores(NamedTuple):
  """Strengths, in logits.

  Attributes:
    value: Strength; the mean of those that are comparable is 0.
    bound: 1 where the strength is at least the value, because the model, or a group
      that it is in, always wins; -1 where it is at most the value; otherwise 0.
    component: Number of the group of comparable models; see `components`.
  """

  value: Float[np.ndarray, "k"]
  bound: Int[np.ndarray, "k"]
  component: Int[np.ndarray, "k"]


class Misfit(NamedTuple):
  """How far the rates of pairs are from what strengths alone predict.

  Attributes:
    statistic: Twice the log likelihood that free rates gain.
    freedom: Number of pairs that were compared less that of the strengths.
    p: Probability of as large a gain if strengths were all; NaN without freedom.
  """

  statistic: float
  freedom: int
  p: float


def check_votes(votes: Votes) -> None:
  """Refuses votes that do not count.

  Raises:
    ValueError: If columns differ in length, there is no vote, a model's index is out of
      range or a model meets itself, or an outcome is none of the three.
  """
  lengths = {name: len(getattr(votes, name)) for name in Votes._fields[:-1]}
  if len(set(lengths.values())) > 1:
    given = ", ".join(f"{count} of {name}" for name, count in lengths.items())
    raise ValueError(f"The columns of the votes have {given}; give as many of each.")
  check_number("models", votes.models, at_least=2, whole=True)
  if not len(votes.a):
    raise ValueError("There is no vote; at least one is needed.")
  models = np.stack([votes.a, votes.b])
  out = (models < 0) | (models >= votes.models)
  rules = {
    f"each model is one of 0 to {votes.models - 1}": out.any(0),
    "two different models meet": votes.a == votes.b,
    "outcomes are 1, 0.5 and 0": ~np.isin(votes.outcome, (0.0, 0.5, 1.0)),
  }
  for rule, broken in rules.items():
    for i in np.flatnonzero(broken)[:1]:
      raise ValueError(
        f"Vote {i} has models {votes.a[i]} and {votes.b[i]} and outcome "
        f"{votes.outcome[i]}; {rule}."
      )


def matrix(votes: Votes) -> Matrix:
  """Counts votes by pair."""
  check_votes(votes)
  wins, ties = by_cluster(votes, np.zeros(len(votes.a), int), 1)
  return Matrix(wins[0], ties[0])


def by_cluster(votes: Votes, numbers: Int[np.ndarray, "v"], count: int) -> Matrix:
  """Counts the votes of each cluster by pair.

  Args:
    votes: The votes.
    numbers: Number of each vote's cluster, from 0.
    count: Number of clusters.
  """
  k = votes.models
  won = votes.outcome != 0
  winner, loser = np.where(won, votes.a, votes.b), np.where(won, votes.b, votes.a)
  cell = (numbers * k + winner) * k + loser
  tied = votes.outcome == 0.5
  wins, ties = (
    np.bincount(cell, weights, count * k * k).reshape(count, k, k)
    for weights in (1.0 - tied, 1.0 * tied)
  )
  return Matrix(wins, ties + np.swapaxes(ties, 1, 2))


def _share(won: np.ndarray, lost: np.ndarray) -> np.ndarray:
  with np.errstate(invalid="ignore"):
    return won / (won + lost)


def win_rates(counts: Matrix) -> Float[np.ndarray, "*r k"]:
  """Returns wins / (wins + losses) of each model; NaN without a decisive vote."""
  return _share(counts.wins.sum(-1), counts.wins.sum(-2))


def half_rates(counts: Matrix) -> Float[np.ndarray, "*r k"]:
  """Returns win rates with ties as half a win; NaN for a model without a vote."""
  return _share(counts.points.sum(-1), counts.points.sum(-2))


def pair_rates(counts: Matrix) -> Float[np.ndarray, "*r k k"]:
  """Returns the rate of the row's model against the column's, ties as half."""
  return _share(counts.points, np.swapaxes(counts.points, -1, -2))


def reaches(points: Float[np.ndarray, "*r k k"]) -> Bool[np.ndarray, "*r k k"]:
  """Says whether a chain of points leads from the row's model to the column's."""
  k = points.shape[-1]
  reach = (points > 0) | np.eye(k, dtype=bool)
  for _ in range(max(1, math.ceil(math.log2(k)))):
    reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
  return reach


def components(counts: Matrix) -> Int[np.ndarray, "k"]:
  """Returns the number of each model's group; comparisons join only those of a group.

  Two groups become one as soon as a model of one meets one of the other.
  """
  joined = reaches(counts.points + counts.points.T)
  return np.unique(joined.argmax(-1), return_inverse=True)[1]


def strengths(
  points: Float[np.ndarray, "r k k"], counts: Matrix
) -> Float[np.ndarray, "r k"]:
  """Solves equation (1) for resamples.

  Args:
    points: Wins with ties as half, of each resample.
    counts: Votes that they were drawn from, which say what is comparable.
  """
  component = components(counts)
  same = component[:, None] == component
  met = (counts.points + counts.points.T) > 0
  finite = (reaches(points) | ~same).all((-1, -2))
  points = points + _PRIOR * met * ~finite[:, None, None]
  games = points + np.swapaxes(points, -1, -2)
  score = np.zeros(points.shape[:2])
  for _ in range(200):
    chance = 1 / (1 + np.exp(score[:, None] - score[:, :, None]))
    slope = points.sum(-1) - (games * chance).sum(-1)
    # All of a component can be shifted alike; ones hold their mean at 0.
    step = np.linalg.solve(information(games, chance) + same, slope[..., None])[..., 0]
    longest = abs(step).max(-1, keepdims=True)
    score += step * np.minimum(1, _LONGEST / np.maximum(longest, _LONGEST))
    if longest.max() < 1e-11:
      break
  return score


def information(
  games: Float[np.ndarray, "*r k k"], chance: Float[np.ndarray, "*r k k"]
) -> Float[np.ndarray, "*r k k"]:
  """Returns what votes tell about strengths, the inverse of their covariance.

  Args:
    games: Number of votes on each pair; symmetric.
    chance: Probability that the row's model wins.
  """
  weight = games * chance * (1 - chance)
  return weight.sum(-1)[..., None] * np.eye(weight.shape[-1]) - weight


def bradley_terry(counts: Matrix) -> Scores:
  """Returns the strengths of equation (1).

  Args:
    counts: Votes by pair, of one sample.
  """
  component = components(counts)
  same = component[:, None] == component
  reach = reaches(counts.points)
  above = (reach & ~reach.T & same).any(1)
  below = (reach.T & ~reach & same).any(1)
  bound = above.astype(int) * ~below - below.astype(int) * ~above
  return Scores(strengths(counts.points[None], counts)[0], bound, component)


def misfit(counts: Matrix) -> Misfit:
  """Compares strengths with free rates of all pairs by the ratio of likelihoods.

  Votes count as independent and ties as half a win each, so p is a hint, no proof.
  """
  scores = bradley_terry(counts)
  value, points = scores.value, counts.points
  chance = 1 / (1 + np.exp(value - value[:, None]))
  seen = points > 0
  gains = points[seen] * np.log(pair_rates(counts)[seen] / chance[seen])
  pairs = np.count_nonzero(np.triu(points + points.T))
  freedom = int(pairs - (len(value) - 1 - scores.component.max()))
  statistic = max(0.0, 2 * float(gains.sum()))
  p = chi_square_above(statistic, freedom) if freedom else math.nan
  return Misfit(statistic, freedom, p)
