"""Rectified flow: the straight path between data and noise, and its regression loss.

Data x0 and noise are joined by a line, and the network learns the line's direction:

  xt = (1 - sigma) x0 + sigma noise                                             (1)
  v  = d xt / d sigma = noise - x0                                              (2)
  L  = mean over clips of  sum_n w_n |v_theta(xt)_n - v_n|^2 / (c sum_n w_n)    (3)

sigma = 1 is pure noise. The weights w of (3) are 0 on tokens that do not count, such as
those of a given first frame, which the network does not have to denoise. The mean is
taken per clip first, so that a long clip counts as much as a short one.

Source: section 2 of the LTX-Video paper, after Liu et al. (2022), "Flow Straight and
Fast".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from ltx_jax.typing import AnyArray, Tokens


def expand(sigma: Float[AnyArray, "..."], ndim: int) -> Float[jax.Array, "..."]:
  """Appends axes of length 1 to `sigma` until it has `ndim` axes."""
  sigma = jnp.asarray(sigma)
  return sigma.reshape(sigma.shape + (1,) * (ndim - sigma.ndim))


def interpolate(
  x0: Float[AnyArray, "*shape"],
  noise: Float[AnyArray, "*shape"],
  sigma: Float[AnyArray, "..."],
) -> Float[jax.Array, "*shape"]:
  """Returns xt of equation (1).

  Args:
    x0: Data, any number of axes, clips first.
    noise: Standard normal noise of the same shape.
    sigma: Noise levels in [0, 1]: a scalar, one per clip [b], or one per token [b n].
  """
  sigma = expand(sigma, jnp.ndim(x0))
  return (1 - sigma) * x0 + sigma * noise


def velocity(
  x0: Float[AnyArray, "*shape"], noise: Float[AnyArray, "*shape"]
) -> Float[jax.Array, "*shape"]:
  """Returns the regression target v of equation (2)."""
  return jnp.subtract(noise, x0)


def clip_losses(
  prediction: Tokens,
  target: Tokens,
  weights: Float[AnyArray, "b n"] | Bool[AnyArray, "b n"] | None = None,
) -> Float[jax.Array, " b"]:
  """Returns the squared error of each clip, in float32.

  Args:
    prediction: The network's velocity.
    target: noise - x0.
    weights: Weight of each token, at least 0; None weights all tokens equally. A clip
      without any weight has loss 0.
  """
  error = jnp.asarray(prediction, jnp.float32) - jnp.asarray(target, jnp.float32)
  per_token = jnp.mean(jnp.square(error), axis=-1)  # [b n]
  if weights is None:
    return jnp.mean(per_token, axis=-1)
  weights = jnp.asarray(weights, jnp.float32)
  total = jnp.sum(weights, axis=-1)
  # The inner `where` keeps the gradient finite for a clip without any weight.
  mean = jnp.sum(weights * per_token, axis=-1) / jnp.where(total > 0, total, 1)
  return jnp.where(total > 0, mean, 0)


def loss(
  prediction: Tokens,
  target: Tokens,
  weights: Float[AnyArray, "b n"] | Bool[AnyArray, "b n"] | None = None,
) -> Float[jax.Array, ""]:
  """Returns L of equation (3): the mean of `clip_losses` over the batch."""
  return jnp.mean(clip_losses(prediction, target, weights))
