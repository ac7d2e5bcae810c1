"""Effect of token dropping on the transformer: the bias of its loss and gradient.

A network that sees each token alone has the same average loss and gradient, whatever is
dropped (the tests show it). A transformer's attention also misses the dropped tokens.
Here the small model sees held-out clips at three noise levels, first whole, and then
with a uniformly random part of their tokens dropped, in many draws; each token keeps
its noise and noise level. The bias of the gradient is the distance between its mean and
that of whole clips, relative to the length of the latter. The part due to chance is
removed by multiplying the distances of two halves of the draws. The figures have no
target.

The shipped model was trained without token dropping. BUCKETS_MODEL names a model that
was trained with it, such as that of `python -m tests.verify buckets`, to measure as
well.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import ltx_jax
from configs import moving_shapes_buckets
from ltx_jax.config.runs import Bucket
from ltx_jax.data.records import Records
from ltx_jax.data.source import Batch
from ltx_jax.data.token_dropping import as_tokens, kept
from ltx_jax.diffusion import flow
from ltx_jax.platforms import CPU
from ltx_jax.typing import NoiseLevels, Params
from tests.program import program
from train.harness.data import HELD_OUT
from train.trainers.transformer import clips_of, make_network

NAME = "What token dropping changes: the bias of the transformer's loss and gradient"
COMMAND = "python -m tests.verify dropping_bias"

CLIPS, DRAWS = 32, 24
SIGMAS = (0.3, 0.6, 0.9)
SHARES = (0.05, 0.1, 0.2)
RUN = moving_shapes_buckets.transformer()


def batch_of(folder: Path) -> Batch:
  """Held-out clips of 64 tokens, with the transformer's other inputs.

  Raises:
    RuntimeError: If they cannot be encoded.
  """
  options = "--variants", 1, "--buckets", "25x128x128", "--output", folder
  program("train.precompute", "moving-shapes", *options)
  source = Records(folder, keep=lambda index: index.scores[HELD_OUT] > 0)
  (ids,) = source.assign([Bucket(25, 128, 128)])
  ids = ids[np.linspace(0, len(ids) - 1, CLIPS).astype(int)]
  return as_tokens(
    source.read(Bucket(25, 128, 128), ids, np.arange(CLIPS, dtype=np.uint32))
  )


def make_loss(model: ltx_jax.LTXVideo, batch: Batch, sigma: float) -> Callable:
  """Returns (parameters, kept places [b k]) -> the mean loss of the kept tokens."""
  clips, network = clips_of(RUN, model.config.vae, batch), make_network(RUN, CPU)
  noise = jax.random.normal(jax.random.key(0), clips.tokens.shape)

  def loss(params: Params, places: jax.Array) -> jax.Array:
    def take(x: jax.Array) -> jax.Array:
      return jnp.take_along_axis(x, places[..., None], axis=1)  # b k c

    x0, own = take(clips.tokens), take(noise)
    levels = NoiseLevels(jnp.full((CLIPS, 1), sigma), jnp.zeros_like(places))
    xt = flow.interpolate(x0, own, jnp.full((CLIPS,), sigma))
    v = network({"transformer": params}, batch)(xt, take(clips.coords), levels)
    return jnp.mean(flow.clip_losses(v, flow.velocity(x0, own)))

  return loss


def bias(
  model: ltx_jax.LTXVideo, batch: Batch, sigma: float, share: float
) -> tuple[float, float]:
  """Returns the relative bias of the loss, and that of the gradient, in per cent."""
  params, tokens = model.params["transformer"], batch["latents"].shape[1]
  value_and_grad = jax.jit(jax.value_and_grad(make_loss(model, batch, sigma)))
  whole = np.broadcast_to(np.arange(tokens), (CLIPS, tokens))
  true_loss, true = value_and_grad(params, whole)
  true, count = ravel_pytree(true)[0], round((1 - share) * tokens)
  losses, halves = [], [jnp.zeros_like(true), jnp.zeros_like(true)]
  for draw in range(DRAWS):
    places = np.stack([kept(tokens, count, draw * CLIPS + k) for k in range(CLIPS)])
    found, gradient = value_and_grad(params, places)
    losses.append(float(found))
    halves[draw % 2] += (ravel_pytree(gradient)[0] - true) / (DRAWS // 2)
  apart = float(jnp.vdot(*halves) / jnp.vdot(true, true))
  return 100 * (np.mean(losses) / float(true_loss) - 1), 100 * max(apart, 0.0) ** 0.5


def models() -> dict[str, str]:
  """Returns the models to measure, by their prefix in the rows."""
  found = {"": "moving-shapes"}
  if "BUCKETS_MODEL" in os.environ:
    found["trained with dropping, "] = os.environ["BUCKETS_MODEL"]
  return found


def run() -> list[dict]:
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    batch = batch_of(Path(folder))
    for name, source in models().items():
      model = ltx_jax.load(source, text_encoder=False)
      for sigma in SIGMAS:
        for share in SHARES:
          found = bias(model, batch, sigma, share)
          rows += rows_of(f"{name}sigma {sigma}, {share:.0%}", found)
  return rows


def rows_of(where: str, found: tuple[float, float]) -> list[dict]:
  rows = []
  for what, value in zip(("loss", "gradient"), found, strict=True):
    title = f"{where} of the tokens dropped: bias of the {what}"
    row = {"figure": title, "value": float(value), "unit": "%"}
    rows.append(row | {"target": "reported", "ok": bool(np.isfinite(value))})
    print(f"  {title}: {value:.2f} %", flush=True)
  return rows
