"""Whether raters agree, and whether they favour a side: what votes are worth.

Krippendorff's alpha compares how often two votes on the same clips differ with how
often any two votes do. For values c and d (which model won, or a tie), and with n_uc
votes for c of the m_u >= 2 on unit u,

    o_cd  = sum_u n_uc (n_ud - [c = d]) / (m_u - 1),    n_c = sum_d o_cd
    alpha = 1 - (n - 1) sum_(c != d) o_cd / sum_(c != d) n_c n_d

It is 1 where all agree and 0 where they do as by chance. Unlike kappa it allows raters
to miss units. Where only one value occurs it is undefined.

Source: Krippendorff, "Content Analysis", 2004, chapter 11; nominal data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.errors import check_number, check_seed
from ltx_jax.metrics.estimates import Estimate, cluster_numbers, clustered_mean
from ltx_jax.metrics.win_rates import Votes, check_votes, matrix, win_rates


class Agreement(NamedTuple):
  """How far raters agree.

  Attributes:
    alpha: Krippendorff's alpha; NaN if it is undefined.
    units: Number of units with two votes or more.
    votes: Number of votes on them.
  """

  alpha: float
  units: int
  votes: int


class Halves(NamedTuple):
  """How far the win rates by one half of the raters are from those by the other.

  Attributes:
    found: Largest difference of a model's rate between halves, over random halves the
      mean.
    by_chance: The same between halves of the votes, dealt without regard to raters.
  """

  found: float
  by_chance: float


def krippendorff_alpha(unit: np.ndarray, value: np.ndarray) -> Agreement:
  """Returns alpha of nominal values.

  Args:
    unit: What each value was given to, as labels that sort.
    value: The values, as labels that sort.
  """
  units, count = cluster_numbers(unit)
  values, kinds = cluster_numbers(value)
  table = np.bincount(units * kinds + values, minlength=count * kinds)
  table = table.reshape(count, kinds).astype(np.float64)
  of_unit = table.sum(1)
  table = table[of_unit > 1]
  weighted = table / (table.sum(1, keepdims=True) - 1)
  together = weighted.T @ table - np.diag(weighted.sum(0))
  total = together.sum(0)
  expected = total.sum() ** 2 - total @ total
  differ = together.sum() - np.trace(together)
  alpha = 1 - (total.sum() - 1) * differ / expected if expected > 0 else math.nan
  return Agreement(float(alpha), len(table), int(table.sum()))


def agreement(votes: Votes) -> Agreement:
  """Returns alpha of votes: a unit is a prompt with a pair of models."""
  check_votes(votes)
  prompts, _ = cluster_numbers(votes.prompt)
  low, high = np.minimum(votes.a, votes.b), np.maximum(votes.a, votes.b)
  unit = (prompts * votes.models + low) * votes.models + high
  winner = np.where(votes.outcome == 1, votes.a, votes.b)
  return krippendorff_alpha(unit, np.where(votes.outcome == 0.5, -1, winner))


def side_bias(
  left: Float[np.ndarray, "v"],
  prompt: np.ndarray,
  rater: np.ndarray,
  level: float = 0.95,
) -> Estimate:
  """Returns the share of decisive votes for the left clip; 0.5 favours no side.

  The sides must be balanced within each pair of models. `estimates.p_values` with 0.5
  tests it.

  Args:
    left: 1 where the left clip won, 0 where the right one did, 0.5 for ties.
    prompt: Label of each vote's prompt.
    rater: Label of each vote's rater.
    level: Share of such intervals that hold the true share.

  Raises:
    ValueError: If every vote is a tie.
  """
  decisive = left != 0.5
  if not decisive.any():
    raise ValueError(f"All {len(left)} votes are ties; they show no side.")
  return clustered_mean(left[decisive], prompt[decisive], rater[decisive], level)


def halves(votes: Votes, seed: int = 0, splits: int = 200) -> Halves:
  """Compares win rates between random halves of the raters.

  Args:
    votes: The votes, of at least two raters.
    seed: Seed of the halves.
    splits: Number of random halves.

  Raises:
    ValueError: If there is one rater only.
  """
  check_seed(seed)
  check_number("splits", splits, at_least=1, whole=True)
  raters, count = cluster_numbers(votes.rater)
  if count < 2:
    raise ValueError("The votes are of one rater; halves need at least two.")
  rng = np.random.default_rng(seed)
  found, by_chance = [], []
  for _ in range(splits):
    inside = np.isin(raters, rng.permutation(count)[: count // 2])
    found.append(_apart(votes, inside))
    by_chance.append(_apart(votes, rng.permutation(inside)))
  return Halves(float(np.mean(found)), float(np.mean(by_chance)))


def _apart(votes: Votes, inside: np.ndarray) -> float:
  """Returns the largest difference of a rate; 0 if no model has one in both halves."""
  rates = [
    win_rates(matrix(_some(votes, np.flatnonzero(x)))) for x in (inside, ~inside)
  ]
  apart = abs(rates[0] - rates[1])
  return float(np.max(apart, where=~np.isnan(apart), initial=0))


def _some(votes: Votes, index: Int[np.ndarray, "_"]) -> Votes:
  columns = (column[index] for column in votes[:-1])
  return Votes(*columns, votes.models)
