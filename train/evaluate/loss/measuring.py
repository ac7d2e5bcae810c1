"""The loss of a clip at noise levels of each part of [0, 1].

With u ~ U[0, 1] and noise drawn from (seed, name of the clip),

    sigma_k = (k + u_k) / 10,   loss_k = |v(x_sigma_k, text) - (noise - x0)|^2

The draws depend on nothing else, so two models see the same ones, and the difference of
their losses varies far less than either.

Source: the LTX-Video paper (arXiv:2501.00103), section on training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from ltx_jax.diffusion import objective
from ltx_jax.diffusion.latents import token_coordinates
from ltx_jax.metrics.figure import Figure, figure
from ltx_jax.pipeline.networks import Networks
from ltx_jax.typing import EncodedText, NoiseLevels, Tokens
from train.evaluate.loss.material import Sample

BINS = 10


class Row(NamedTuple):
  """Losses of a clip.

  Attributes:
    bucket: Size of the clip.
    name: Name of the clip.
    video: Video that it was cut from.
    sigma: Noise level in each bin.
    losses: Loss at each, by model.
  """

  bucket: str
  name: str
  video: str
  sigma: Float64[np.ndarray, "10"]
  losses: dict[str, Float64[np.ndarray, "10"]]


def levels(seed: int, sample: Sample) -> tuple[Array, Float[Array, "10"]]:
  """Returns the key of the clip's noise, and its noise levels."""
  key = jax.random.fold_in(jax.random.key(seed), sample.number)
  key_noise, key_sigma = jax.random.split(key)
  return key_noise, (jnp.arange(BINS) + jax.random.uniform(key_sigma, (BINS,))) / BINS


def losses(
  model: Networks, sample: Sample, text: EncodedText, seed: int
) -> Float64[np.ndarray, "10"]:
  """Returns a clip's loss in each bin, under a text."""
  key, sigma = levels(seed, sample)
  vae, batch = model.config.vae, sample.batch
  coords = token_coordinates(
    batch["places"],
    batch["fps"],
    temporal_factor=vae.temporal_factor,
    spatial_factor=vae.spatial_factor,
    causal=model.config.transformer.causal_temporal_positioning,
  )
  tokens = jnp.asarray(batch["latents"], jnp.float32)
  one = objective.Clips(tokens, coords, batch["places"], batch["grid"])

  def velocity(xt: Tokens, at: Float[Array, "#b n 3"], of: NoiseLevels) -> Tokens:
    return model.velocity(xt, at, *text, of.sigma[:, 0])

  found = [
    objective.loss_at(velocity, one, sigma[k : k + 1], jax.random.fold_in(key, k)).loss
    for k in range(BINS)
  ]
  return np.asarray(jnp.concatenate(found), np.float64)


def bin_name(k: int) -> str:
  """Names a bin by its ends."""
  return f"sigma {k / BINS:.1f} to {(k + 1) / BINS:.1f}"


def summary(rows: Sequence[Row], model: str, recipe: str) -> list[Figure]:
  """Returns the mean loss of a model: in each bin, and over all.

  Args:
    rows: Losses of clips of one size.
    model: Name of the model.
    recipe: What they are of.
  """
  each = np.stack([row.losses[model] for row in rows])
  return _figures("loss", each, rows, f"{recipe}, {model}")


def difference(rows: Sequence[Row], recipe: str) -> list[Figure]:
  """Returns the second model's loss less the first one's, in shares of the first one's.

  Args:
    rows: Losses of clips of one size, of two models.
    recipe: What they are of.
  """
  first, second = rows[0].losses
  one, other = (np.stack([row.losses[m] for row in rows]) for m in (first, second))
  share = (other - one) / one.mean(0)
  words = f"{recipe}, loss of {second} less that of {first}, in shares of the latter's"
  return _figures("difference", share, rows, f"{words} mean, same noise")


def _figures(
  name: str, each: Float64[np.ndarray, "n 10"], rows: Sequence[Row], recipe: str
) -> list[Figure]:
  videos = np.array([row.video for row in rows])
  columns = {bin_name(k): each[:, k] for k in range(BINS)}
  columns["all sigmas"] = each.mean(1)
  return [
    figure(f"{name} ({bin})", values, recipe, "", videos)
    for bin, values in columns.items()
  ]
