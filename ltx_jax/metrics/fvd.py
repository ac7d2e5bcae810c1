"""Frechet video distance: how far two sets of clips are apart, in a network's features.

Features of n clips, [n d], have a mean m and a covariance S. Between Gaussians of these

    FVD = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2                 (1)

The square roots of the eigenvalues of S1^1/2 S2 S1^1/2 are the singular values of
S1^1/2 S2^1/2. Those are exact to rounding, also where clips are fewer than features and
most are 0, and no root of a matrix that is not symmetric is taken.

(1) is positive even for two samples of one distribution. With the eigenvalues l of its
covariance, and n1 and n2 clips, it is on average, to first order in 1 / n,

    floor = (1/n1 + 1/n2)/2 (sum_ij l_i l_j / (l_i + l_j) + 5/2 sum_i l_i)          (2)

So no FVD says anything without its number of clips. A straight line in 1 / n through
FVDs of fewer clips gives the value at infinitely many.

The kernel distance needs no Gaussians and fewer clips. That of JEDi is, over all pairs,

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),   k(x, y) = (x.y / d)^2
          = |mean x x^T - mean y y^T|^2 / d^2                                       (3)

times 100. Statistics are NumPy in float64; merging moments is exact.

Source: Unterthiner et al., arXiv:1812.01717; Chong and Forsyth, arXiv:1911.07023 (the
line); Luo et al., arXiv:2410.05203 (JEDi). (2) is the second-order term of (1) with the
variance of a Gaussian's sample covariance.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ltx_jax.errors import check_number, check_seed
from ltx_jax.metrics.estimates import Estimate, estimate

ENOUGH = 10
"""Clips for each feature below which a covariance is a poor estimate."""


class Moments(NamedTuple):
  """What is kept of features; those of parts merge exactly.

  Attributes:
    n: Number of clips.
    mean: Mean of the features.
    scatter: Sum over clips of the outer product of their distance from the mean.
  """

  n: int
  mean: Float[np.ndarray, "d"]
  scatter: Float[np.ndarray, "d d"]

  @property
  def covariance(self) -> Float[np.ndarray, "d d"]:
    """Covariance of the sample, with n - 1."""
    return self.scatter / (self.n - 1)


class Line(NamedTuple):
  """FVD = value + slope / n.

  Attributes:
    value: FVD of infinitely many clips.
    slope: What a smaller number of clips adds, times that number.
    sizes: Numbers of clips that it was fitted to.
    found: FVD of each.
  """

  value: float
  slope: float
  sizes: tuple[int, ...]
  found: tuple[float, ...]


def moments(features: Shaped[np.ndarray, "n d"]) -> Moments:
  """Returns the moments of the features of clips.

  Raises:
    ValueError: If there is no clip, or a feature is not finite.
  """
  features = np.asarray(features, np.float64)
  if not len(features):
    raise ValueError("There are no features; give those of at least one clip.")
  bad = np.argwhere(~np.isfinite(features))
  if len(bad):
    clip, feature = bad[0]
    raise ValueError(
      f"Feature {feature} of clip {clip} is {features[clip, feature]}; look for broken "
      "frames in that clip."
    )
  mean = features.mean(0)
  centered = features - mean
  return Moments(len(features), mean, centered.T @ centered)


def merge(one: Moments, other: Moments) -> Moments:
  """Returns the moments of both together.

  Raises:
    ValueError: If they are of other numbers of features.
  """
  _check_widths(one, other)
  n = one.n + other.n
  apart = other.mean - one.mean
  mean = one.mean + apart * (other.n / n)
  between = np.outer(apart, apart) * (one.n * other.n / n)
  return Moments(n, mean, one.scatter + other.scatter + between)


def _check_widths(one: Moments, other: Moments) -> None:
  if len(one.mean) != len(other.mean):
    raise ValueError(
      f"One side has {len(one.mean)} features, the other {len(other.mean)}; compute "
      "both with the same network."
    )


def check_clips(one: Moments, other: Moments) -> None:
  """Refuses what has no Frechet distance.

  Raises:
    ValueError: If a side has fewer than two clips, or numbers of features differ.
  """
  _check_widths(one, other)
  if min(one.n, other.n) < 2:
    raise ValueError(
      f"FVD was asked for {one.n} and {other.n} clips; it compares covariances, which "
      "need at least 2 on each side, and says little below 256."
    )


def _root(covariance: np.ndarray) -> np.ndarray:
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet(one: Moments, other: Moments) -> float:
  """Returns equation (1), never below 0.

  Raises:
    ValueError: If it does not exist (`check_clips`).
  """
  check_clips(one, other)
  first, second = one.covariance, other.covariance
  shared = np.linalg.svd(_root(first) @ _root(second), compute_uv=False).sum()
  apart = one.mean - other.mean
  found = apart @ apart + np.trace(first) + np.trace(second) - 2 * shared
  return max(0.0, float(found))


def noise_floor(moment: Moments, n: int, other_n: int | None = None) -> float:
  """Returns equation (2): the FVD of two samples of one distribution.

  The eigenvalues of a sample's covariance are farther apart than the true ones, which
  lowers the floor, by about d / 2n of itself where all are alike: by 9 % for 400
  features of 2048 clips.

  Args:
    moment: Moments of its clips, the more the better: of both samples together.
    n: Number of clips of one sample.
    other_n: Number of clips of the other; None is as many.
  """
  check_number("n", n, at_least=2, whole=True)
  values = np.maximum(np.linalg.eigvalsh(moment.covariance), 0)
  values = values[values > 0]
  pairs = values[:, None] * values / (values[:, None] + values)
  share = (1 / n + 1 / (other_n or n)) / 2
  return float(share * (pairs.sum() + 2.5 * values.sum()))


def rank(moment: Moments) -> int:
  """Returns how many directions the covariance has; at most n - 1."""
  return int(np.linalg.matrix_rank(moment.covariance, hermitian=True))


def remarks(one: Moments, other: Moments) -> list[str]:
  """Returns sentences on what makes an FVD of these clips doubtful."""
  width, said = len(one.mean), []
  fewest = min(one.n, other.n)
  if fewest < ENOUGH * width:
    ranks = rank(one), rank(other)
    said.append(
      f"{fewest} clips are fewer than {ENOUGH} for each of {width} features; the "
      f"covariances have ranks {ranks[0]} and {ranks[1]}."
    )
  if one.n != other.n:
    said.append(
      f"The sides have {one.n} and {other.n} clips; published figures take equal "
      "numbers."
    )
  return said


def mmd(
  x: Shaped[np.ndarray, "n d"], y: Shaped[np.ndarray, "m d"], scale: float = 100.0
) -> float:
  """Returns equation (3), each clip paired with itself as well, times `scale`.

  Args:
    x: Features of one set of clips.
    y: Features of the other.
    scale: Factor of the result; JEDi's is 100.
  """
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  # The mean of (x.y)^2 over pairs is the product of the mean outer products.
  apart = x.T @ x / len(x) - y.T @ y / len(y)
  return float(scale * np.sum(apart**2) / x.shape[1] ** 2)


def frechet_at_infinity(
  one: Shaped[np.ndarray, "n d"],
  other: Shaped[np.ndarray, "m d"],
  seed: int = 0,
  sizes: Sequence[int] | None = None,
) -> Line:
  """Fits the straight line in 1 / n.

  Args:
    one: Features of one set of clips.
    other: Features of the other.
    seed: Seed of the clips that are drawn for each size, without replacement.
    sizes: Numbers of clips; None takes eight, evenly spaced in 1 / n, from a quarter of
      the smaller set to all of it.

  Raises:
    ValueError: If a size is above the number of clips, or not above the number of
      features, where the line bends.
  """
  check_seed(seed)
  most, width = min(len(one), len(other)), one.shape[1]
  if sizes is None:
    shares = np.linspace(4, 1, 8)
    sizes = np.unique(np.maximum(most / shares, width + 1).astype(int)).tolist()
  if len(sizes) < 2 or min(sizes) <= width or max(sizes) > most:
    raise ValueError(
      f"FVD at infinity was asked for from {min(sizes)} to {max(sizes)} clips of "
      f"{most}, with {width} features; it needs two sizes or more, each above the "
      "number of features: give more clips."
    )
  rng = np.random.default_rng(seed)
  found = []
  for size in sizes:
    drawn = [rng.permutation(len(side))[:size] for side in (one, other)]
    found.append(frechet(moments(one[drawn[0]]), moments(other[drawn[1]])))
  slope, value = np.polyfit(1 / np.asarray(sizes), found, 1)
  return Line(float(value), float(slope), tuple(sizes), tuple(found))


def frechet_interval(
  one: Shaped[np.ndarray, "n d"],
  other: Shaped[np.ndarray, "m d"],
  clusters: tuple[Shaped[np.ndarray, "n"], Shaped[np.ndarray, "m"]] | None = None,
  groups: int = 10,
  seed: int = 0,
) -> Estimate:
  """Returns the FVD with an interval by the jackknife.

  Clips are dealt into groups, and each group is left out of both sides in turn. Drawing
  clips with replacement would count some twice, which raises an FVD by itself.

  Args:
    one: Features of one set of clips.
    other: Features of the other.
    clusters: What each clip shares with others, of either side, such as a source video:
      these stay together, so that a clip and its reconstruction are left out at once.
      None takes all clips as independent.
    groups: Number of groups.
    seed: Seed of the dealing.

  Raises:
    ValueError: If a side has fewer clusters than groups.
  """
  check_number("groups", groups, at_least=2, whole=True)
  check_seed(seed)
  labels = clusters or (np.arange(len(one)), len(one) + np.arange(len(other)))
  dealt = _dealt(labels, groups, np.random.default_rng(seed))
  parts = [
    [moments(features[group == g]) for g in range(groups)]
    for features, group in zip((one, other), dealt, strict=True)
  ]
  value = frechet(*(functools.reduce(merge, part) for part in parts))
  without = np.array(
    [
      frechet(*(functools.reduce(merge, part[:g] + part[g + 1 :]) for part in parts))
      for g in range(groups)
    ]
  )
  spread = np.sqrt((groups - 1) * np.mean((without - without.mean()) ** 2))
  return estimate(np.asarray(value), np.asarray(spread), groups - 1)


def _dealt(
  labels: Sequence[np.ndarray], groups: int, rng: np.random.Generator
) -> list[np.ndarray]:
  """Returns the group of each clip of both sides, the same for the same label.

  Labels of both sides are dealt first, then each side's own, one a group in turn.
  """
  shared = rng.permutation(np.intersect1d(*labels))
  found = []
  for side in labels:
    names, numbers = np.unique(side, return_inverse=True)
    if len(names) < groups:
      raise ValueError(
        f"{len(names)} independent clips cannot be dealt into {groups} groups; give "
        "more clips, or fewer groups."
      )
    order = np.concatenate([shared, rng.permutation(np.setdiff1d(names, shared))])
    found.append(np.argsort(order)[numbers] % groups)
  return found
