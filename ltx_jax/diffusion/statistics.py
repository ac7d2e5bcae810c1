"""Running statistics of the latents, and the noise for training a decoder.

m and s are the mean and standard deviation of every channel of the encoder's means.
They are kept as running moments E[z] and E[z^2],

  E   <- E + (1 - decay) (batch - E)                                            (1)
  s^2  = E[z^2] - E[z]^2                                                        (2)

At the noise level sigma of a clip, the decoder receives

  z_sigma = m + (1 - sigma)(z - m) + sigma s noise                              (3)

which is the straight path between data and noise on normalised latents (z - m) / s. The
checkpoint contains m and s, and they normalise the transformer's latents. So the
decoder is trained with the same noise that it receives in sampling.

Source: the LTX-Video paper (arXiv:2501.00103), section on the Video-VAE.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from ltx_jax.typing import AnyArray, Latents, Params, Scalar

STD_RANGE = (0.3, 3.0)
"""Range in which the latents' standard deviations should stay in training."""

_LEAST_VARIANCE = 1e-8


def initial(channels: int) -> Params:
  """Returns the initial moments of a run: mean 0, mean square 1."""
  return {"mean": jnp.zeros(channels), "mean_square": jnp.ones(channels)}


def moments(latents: Latents) -> Params:
  """Returns the first and second moment [c] of every channel, over a batch."""
  axes = (0, 1, 2, 3)
  return {
    "mean": jnp.mean(latents, axes),
    "mean_square": jnp.mean(jnp.square(latents), axes),
  }


def moments_of(statistics: Params) -> Params:
  """Returns the moments that have the given mean and std."""
  mean, std = statistics["mean"], statistics["std"]
  return {"mean": mean, "mean_square": mean**2 + std**2}


def statistics(moments: Params) -> Params:
  """Returns mean and std [c] of every channel, equation (2)."""
  variance = moments["mean_square"] - jnp.square(moments["mean"])
  return {
    "mean": moments["mean"],
    "std": jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE)),
  }


def early_decay(decay: float, step: Int[AnyArray, ""] | int) -> Float[AnyArray, ""]:
  """Returns a decay that starts small, for moments that start from nothing."""
  return jnp.minimum(decay, (1 + step) / (10 + step))


def update(moments: Params, batch: Params, decay: Scalar) -> Params:
  """Moves the running moments towards a batch's, equation (1)."""
  rate = 1 - decay
  return jax.tree.map(lambda old, new: old + rate * (new - old), moments, batch)


def noisy_latents(
  latents: Latents,
  statistics: Params,
  sigma: Float[AnyArray, "b"],
  noise: Float[AnyArray, "b f h w c"],
) -> Float[AnyArray, "b f h w c"]:
  """Returns z_sigma of equation (3), for latents that are not normalised."""
  sigma = sigma[:, None, None, None, None]
  mean, std = statistics["mean"], statistics["std"]
  return mean + (1 - sigma) * (latents - mean) + sigma * std * noise
