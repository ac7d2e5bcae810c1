"""Figures with intervals whose observations share a clip's source, a prompt or a rater.

Observations that share something are no independent witnesses. With e_v the distance of
observation v from the mean of all n, and with groups g that share a cluster, the mean
has the variance, for one kind of cluster and for two,

    V_a = G / (G - 1) sum_g (sum of e_v in g)^2 / n^2                               (1)
    V   = V_a + V_b - V_votes, and not below the larger of V_a and V_b              (2)

where V_votes takes every observation as its own cluster. The interval is that of
Student's t with the fewer clusters less one degrees of freedom.

Source: Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering", 2011;
Holm, "A simple sequentially rejective multiple test procedure", 1979.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ltx_jax.metrics.tails import student_outside, student_quantile


class Estimate(NamedTuple):
  """Numbers with their intervals; NaN where a number or a bound does not exist.

  Attributes:
    value: The numbers.
    low: Lower ends of the intervals.
    high: Upper ends.
    error: Standard errors.
    freedom: Degrees of freedom; 0 if nothing was repeated, and no interval exists.
  """

  value: Float[np.ndarray, "..."]
  low: Float[np.ndarray, "..."]
  high: Float[np.ndarray, "..."]
  error: Float[np.ndarray, "..."]
  freedom: int


def estimate(
  value: Float[np.ndarray, "*shape"],
  error: Float[np.ndarray, "*shape"],
  freedom: int,
  level: float = 0.95,
) -> Estimate:
  """Returns numbers with the intervals of Student's t.

  Args:
    value: The numbers.
    error: Their standard errors.
    freedom: Degrees of freedom; without any, both ends are NaN.
    level: Share of such intervals that hold the true number.
  """
  value, error = np.asarray(value, np.float64), np.asarray(error, np.float64)
  half = error * (student_quantile(level, freedom) if freedom else math.nan)
  return Estimate(value, value - half, value + half, error, freedom)


def combined_variance(
  first: Float[np.ndarray, "*shape"],
  second: Float[np.ndarray, "*shape"],
  single: Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
  """Returns equation (2) of two variances by clusters and of that by observations."""
  larger = np.maximum(first, second)
  return np.asarray(np.maximum(first + second - single, larger))


def cluster_numbers(labels: Shaped[np.ndarray, "n"]) -> tuple[np.ndarray, int]:
  """Returns each label's number, from 0, and how many different ones there are."""
  names, numbers = np.unique(labels, return_inverse=True)
  return numbers, len(names)


def _variance(residuals: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
  numbers, count = cluster_numbers(labels)
  sums = np.bincount(numbers, residuals)
  small = count / (count - 1) if count > 1 else 0.0
  return np.asarray(small * (sums @ sums) / len(residuals) ** 2), count


def clustered_mean(
  values: Float[np.ndarray, "n"],
  clusters: Shaped[np.ndarray, "n"] | None = None,
  others: Shaped[np.ndarray, "n"] | None = None,
  level: float = 0.95,
) -> Estimate:
  """Returns the mean of observations with the interval of equation (1) or (2).

  Args:
    values: One number an observation.
    clusters: What each shares with others, such as the source video of a clip; None
      takes observations as independent.
    others: A second kind of cluster, such as the rater beside the prompt.
    level: Share of such intervals that hold the true mean.

  Raises:
    ValueError: If there is no observation, or one is not finite.
  """
  values = np.asarray(values, np.float64)
  if not len(values):
    raise ValueError("There is no observation; a mean needs at least one.")
  bad = np.flatnonzero(~np.isfinite(values))
  if len(bad):
    raise ValueError(
      f"Observation {bad[0]} is {values[bad[0]]}; a mean is of finite numbers: leave "
      "it out, and say so."
    )
  mean = np.asarray(values.mean())
  each = np.arange(len(values))
  kinds = [labels for labels in (clusters, others) if labels is not None] or [each]
  found = [_variance(values - mean, labels) for labels in kinds]
  # One cluster says nothing about others: one rater leaves the prompts alone.
  several = [pair for pair in found if pair[1] > 1]
  if not several:
    return estimate(mean, np.asarray(np.nan), 0, level)
  freedom = min(count for _, count in several) - 1
  variance = several[0][0]
  if len(several) == 2:
    single = _variance(values - mean, each)[0]
    variance = combined_variance(variance, several[1][0], single)
  return estimate(mean, np.asarray(np.sqrt(variance)), freedom, level)


def p_values(found: Estimate, at: float = 0.0) -> Float[np.ndarray, "..."]:
  """Returns two-sided p-values of each number being `at`; NaN without an interval.

  Args:
    found: Numbers with intervals.
    at: The number that is tested, such as 0.5 for a rate.
  """
  if not found.freedom:
    return np.full(np.shape(found.value), np.nan)
  with np.errstate(invalid="ignore", divide="ignore"):
    t = (np.asarray(found.value) - at) / found.error
  outside = [student_outside(float(each), found.freedom) for each in np.ravel(t)]
  return np.reshape(outside, np.shape(t))


def holm(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
  """Returns p-values that hold for all tests at once; NaN stays NaN and counts not.

  The smallest of n is multiplied by n, the next by n - 1, and so on; none is below the
  one before it or above 1.
  """
  p = np.asarray(p, np.float64)
  tested = np.flatnonzero(~np.isnan(p))
  order = tested[np.argsort(p[tested], kind="stable")]
  adjusted = p.copy()
  factors = len(order) - np.arange(len(order))
  adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
  return adjusted
