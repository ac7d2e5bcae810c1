"""What a data set's latents look like: channels in use, deviations, correlation, rank.

The sums over all positions n of latents z (the encoder's means)

    n,   sum z,   sum z z^T                                                         (1)

say all of it, take any number of batches, and are kept in float64. From the covariance
C and the deviations s that follow:

    channels in use   those with s^2 above a threshold: the others carry nothing, as a
                      KL divergence makes them do (posterior collapse)
    correlation       mean of |C_ij| / (s_i s_j) over pairs i != j of channels in use; a
                      prior of independent channels wants 0
    spectrum          eigenvalues l_i of C, descending: the variances of the principal
                      components
    effective rank    exp(- sum p_i log p_i) with p_i = l_i / sum l: k if k of them are
                      equal and the others 0

Sources: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders" (2016):
active units, with a threshold of 0.01 for latents whose prior has variance 1. Roy and
Vetterli, "The effective rank" (2007), here of the covariance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Float64

from ltx_jax.typing import AnyArray

IN_USE = 0.01
"""Variance above which a channel is in use, if the prior's is 1."""


@dataclasses.dataclass(frozen=True)
class LatentSums:
  """The sums of equation (1), and what follows from them.

  Attributes:
    count: n, number of positions.
    total: Sum of the latents.
    products: Sum of their outer products.
  """

  count: int
  total: Float64[np.ndarray, "c"]
  products: Float64[np.ndarray, "c c"]

  @classmethod
  def of(cls, batches: Iterable[Float[AnyArray, "_ _ _ _ c"]]) -> LatentSums:
    """Adds up batches of latents [b f h w c], which may differ in size.

    Raises:
      ValueError: If there is no batch.
    """
    sums = None
    for latents in batches:
      rows = np.asarray(latents, np.float64).reshape(-1, latents.shape[-1])
      batch = cls(len(rows), rows.sum(0), rows.T @ rows)
      sums = batch if sums is None else sums + batch
    if sums is None:
      raise ValueError("There are no latents to describe; give at least one batch.")
    return sums

  def __add__(self, other: LatentSums) -> LatentSums:
    """Returns the sums over both sets of latents."""
    return LatentSums(
      self.count + other.count,
      self.total + other.total,
      self.products + other.products,
    )

  @property
  def mean(self) -> Float64[np.ndarray, "c"]:
    """Mean of every channel over all positions."""
    return self.total / self.count

  @property
  def covariance(self) -> Float64[np.ndarray, "c c"]:
    """C, the covariance of the channels over all positions."""
    return self.products / self.count - np.outer(self.mean, self.mean)

  @property
  def std(self) -> Float64[np.ndarray, "c"]:
    """s, the standard deviation of every channel."""
    return np.sqrt(np.maximum(np.diagonal(self.covariance), 0))

  def in_use(self, threshold: float = IN_USE) -> Bool[np.ndarray, "c"]:
    """Says for every channel whether its variance is above a threshold."""
    return self.std**2 > threshold

  def correlation(self, threshold: float = IN_USE) -> float:
    """Returns the mean absolute correlation of two channels in use; 0 without two."""
    used = self.in_use(threshold)
    std = self.std[used]
    if len(std) < 2:
      return 0.0
    matrix = np.abs(self.covariance[np.ix_(used, used)]) / np.outer(std, std)
    pairs = len(std) * (len(std) - 1)
    return float((matrix.sum() - np.trace(matrix)) / pairs)

  def spectrum(self) -> Float64[np.ndarray, "c"]:
    """Returns the variances of the principal components, descending."""
    return np.maximum(np.linalg.eigvalsh(self.covariance)[::-1], 0)

  def effective_rank(self) -> float:
    """Returns the effective rank of the covariance; 0 if nothing varies."""
    spectrum = self.spectrum()
    if not spectrum.any():
      return 0.0
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))
