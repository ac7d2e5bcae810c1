"""Noise levels for training: a shifted log-normal law with its tails filled in.

The tokens of a larger clip share more of the image, so the same sigma destroys less of
it. Therefore the law moves towards noise as a clip grows:

  mu(n) = 0.95 + (n - 1024) (2.05 - 0.95) / (4096 - 1024)                        (1)
  sigma = sigmoid(s z + mu),  z ~ N(0, 1),  with density p, and s = 1            (2)

p vanishes at both ends, but a sampler does visit them. So the density in use is

  f(t) = p(clip(t, q_lo, q_hi)) / Z                                              (3)

where q_lo, q_hi are the percentiles `quantiles` of (2), and z_lo, z_hi those of N(0,
1). It has three pieces, whose masses times Z are

  A_lo = q_lo p(q_lo) = phi(z_lo) / (s (1 - q_lo))  flat on [0, q_lo]
  A    = hi - lo                                  (2) itself
  A_hi = (1 - q_hi) p(q_hi) = phi(z_hi) / (s q_hi)  flat on [q_hi, 1]

because p(t) = phi((logit t - mu) / s) / (s t (1 - t)). Each piece has a closed-form
inverse, so one uniform number gives one noise level. A share of the levels may be
uniform instead; in the control of the paper's comparison all of them are.

Source: the LTX-Video paper's section on timestep scheduling; (1) as in the original.
"""

from __future__ import annotations

import math
import statistics

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from ltx_jax.typing import AnyArray, Key, Scalar

QUANTILES = (0.005, 0.999)
"""The percentiles beyond which the density is constant."""

_NORMAL = statistics.NormalDist()
_SLOPE = (2.05 - 0.95) / (4096 - 1024)


def token_shift(
  tokens: int | Int[AnyArray, "b"], at_most: float | None = None
) -> float | Float[jax.Array, "b"]:
  """Returns mu of equation (1), a straight line.

  Args:
    tokens: Number of tokens of a clip, or of each clip, before any are dropped.
    at_most: Upper bound of the result; None has no bound. At 27,588 tokens the line
      gives 10.5, where (2) is pure noise and (3) little more than its flat tail.
  """
  shift = _SLOPE * tokens + (0.95 - _SLOPE * 1024)
  if at_most is None:
    return shift
  return (
    min(shift, at_most) if isinstance(shift, float) else jnp.minimum(shift, at_most)
  )


def median(mu: float) -> float:
  """Returns the median of the law (2), before its tails are filled in."""
  return 1 / (1 + math.exp(-mu))


def check_quantiles(quantiles: tuple[float, float]) -> None:
  """Checks quantiles.

  Raises:
    ValueError: If they do not lie in (0, 1) in ascending order.
  """
  low, high = quantiles
  if not 0 < low < high < 1:
    raise ValueError(
      f"The quantiles of the noise levels are {quantiles}; they must satisfy "
      "0 < low < high < 1."
    )


def _pieces(
  mu: jax.Array, quantiles: tuple[float, float], spread: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns (q_lo, 1 - q_hi, A_lo, A_hi); the complement keeps its digits near 1."""
  z_low, z_high = (_NORMAL.inv_cdf(q) for q in quantiles)
  low = jax.nn.sigmoid(mu + spread * z_low)
  above = jax.nn.sigmoid(-(mu + spread * z_high))
  # 1 - low and q_hi, arranged so that nothing cancels.
  mass_low = _NORMAL.pdf(z_low) / spread / jax.nn.sigmoid(-(mu + spread * z_low))
  mass_high = _NORMAL.pdf(z_high) / spread / jax.nn.sigmoid(mu + spread * z_high)
  return low, above, mass_low, mass_high


def inverse_cdf(
  uniform: Float[AnyArray, "*shape"],
  mu: Scalar | Float[AnyArray, "..."],
  quantiles: tuple[float, float] = QUANTILES,
  spread: float = 1.0,
) -> Float[jax.Array, "*shape"]:
  """Turns uniform numbers in [0, 1] into noise levels with the density (3).

  Args:
    uniform: Uniform numbers in [0, 1].
    mu: The shift, `token_shift` of the clip's tokens; broadcasts against `uniform`.
    quantiles: The percentiles of (2) beyond which the density is constant.
    spread: s of equation (2).

  Returns:
    Noise levels in [0, 1], increasing in `uniform`.

  Raises:
    ValueError: If not 0 < low < high < 1.
  """
  check_quantiles(quantiles)
  mu = jnp.asarray(mu, jnp.float32)
  low, above, mass_low, mass_high = _pieces(mu, quantiles, spread)
  middle = quantiles[1] - quantiles[0]
  mass = jnp.asarray(uniform, jnp.float32) * (mass_low + middle + mass_high)
  left = low * mass / mass_low
  # Each branch is evaluated everywhere, so clip the rank to the range of its piece.
  rank = jnp.clip(quantiles[0] + mass - mass_low, *quantiles)
  center = jax.nn.sigmoid(mu + spread * jax.scipy.special.ndtri(rank))
  right = 1 - above * (mass_low + middle + mass_high - mass) / mass_high
  levels = jnp.where(mass < mass_low + middle, center, right)
  return jnp.clip(jnp.where(mass < mass_low, left, levels), 0, 1)


def density(
  sigma: Float[AnyArray, "*shape"],
  mu: Scalar,
  quantiles: tuple[float, float] = QUANTILES,
  spread: float = 1.0,
) -> Float[jax.Array, "*shape"]:
  """Returns f of equation (3) at noise levels in [0, 1].

  Raises:
    ValueError: If not 0 < low < high < 1.
  """
  check_quantiles(quantiles)
  mu = jnp.asarray(mu, jnp.float32)
  low, above, mass_low, mass_high = _pieces(mu, quantiles, spread)
  t = jnp.clip(jnp.asarray(sigma, jnp.float32), low, 1 - above)
  z = (jnp.log(t) - jnp.log1p(-t) - mu) / spread
  p = jnp.exp(-0.5 * z**2) / (math.sqrt(2 * math.pi) * spread * t * (1 - t))
  return p / (mass_low + quantiles[1] - quantiles[0] + mass_high)


def draw(
  key: Key,
  shape: tuple[int, ...],
  mu: Scalar | Float[AnyArray, "..."],
  quantiles: tuple[float, float] = QUANTILES,
  uniform_share: float = 0.0,
  spread: float = 1.0,
) -> Float[jax.Array, "..."]:
  """Draws noise levels for training.

  Args:
    key: A random key.
    shape: Shape of the result, usually (b,): one level per clip.
    mu: The shift, `token_shift` of the clip's tokens; broadcasts against `shape`.
    quantiles: The percentiles beyond which the density is constant.
    uniform_share: Share of the levels that are uniform in [0, 1], in [0, 1].
    spread: s of equation (2).

  Raises:
    ValueError: If not 0 < low < high < 1.
  """
  uniform = jax.random.uniform(key, shape)
  if not uniform_share:
    return inverse_cdf(uniform, mu, quantiles, spread)
  # One uniform number decides both the law of a level and the level itself.
  rest = (uniform - uniform_share) / max(1 - uniform_share, 1e-6)
  levels = inverse_cdf(jnp.clip(rest, 0, 1), mu, quantiles, spread)
  return jnp.where(uniform < uniform_share, uniform / uniform_share, levels)
