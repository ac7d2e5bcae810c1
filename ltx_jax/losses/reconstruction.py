"""Pixel error, and the latents' KL divergence.

    mse = mean (x_hat - x)^2
    kl  = mean over latent elements of 1/2 (mean^2 + exp(logvar) - 1 - logvar)

The KL is per latent element, not per pixel, so its weight does not depend on the
compression. Source: the paper's section on the Video-VAE; Kingma and Welling 2013.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.typing import AnyArray

_PEAK = 2.0  # Pixels span [-1, 1].


def mse(
  reconstruction: Float[AnyArray, "b F H W 3"], video: Float[AnyArray, "b F H W 3"]
) -> Float[Array, "b"]:
  """Returns the mean squared error of each clip; pixels in [-1, 1]."""
  return jnp.mean(jnp.square(reconstruction - video), axis=(1, 2, 3, 4))


def psnr(squared_error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Returns the peak signal-to-noise ratio in dB of a squared error over [-1, 1]."""
  return 10 * jnp.log10(_PEAK**2 / jnp.maximum(squared_error, 1e-12))


def kl_divergence(
  mean: Float[AnyArray, "b f h w c"], logvar: Float[AnyArray, "b f h w c"]
) -> Float[Array, "b"]:
  """Returns the KL of each clip's posterior to N(0, 1), per latent element."""
  kl = 0.5 * (jnp.square(mean) + jnp.exp(logvar) - 1.0 - logvar)
  return jnp.mean(kl, axis=(1, 2, 3, 4))
