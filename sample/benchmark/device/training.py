"""A training step of the transformer, on one device that holds its whole state."""

from __future__ import annotations

import functools

import jax
from jax.sharding import Mesh

from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.models import transformer
from ltx_jax.planning import flops
from ltx_jax.planning.training import (
  StepPlan,
  StepSize,
  choose_remat,
  plan_transformer,
  transformer_remats,
)
from ltx_jax.platforms import Policy
from ltx_jax.training.state import Batch, TrainState, first_state
from sample.benchmark.device import networks, weights
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes
from sample.benchmark.training_step import OPTIMIZER, STEPS, make_update


def step(sizes: Sizes, policy: Policy) -> Job:
  """Loss, gradients and AdamW of one clip, with the memory plan's remat."""
  config = sizes.model.transformer
  device = jax.devices()[0]
  policy = policy.for_training(Mesh([device], ("data",)))
  params = weights.make(functools.partial(transformer.init, config), "float32")
  state = first_state(OPTIMIZER, STEPS, {"transformer": params}, {})
  batch = _batch(sizes, policy)

  plan = functools.partial(_plan, sizes, policy, state, batch)
  memory = (device.memory_stats() or {}).get("bytes_limit")
  remat = choose_remat(plan, transformer_remats(policy), memory)
  planned = plan(remat).peak
  coords = networks.coordinates_of(config, sizes)
  update = make_update(config, policy, coords, remat)
  update = jax.jit(update, donate_argnums=0)
  held = [state]

  def run() -> jax.Array:
    held[0], metrics = update(held[0], {}, batch)
    return metrics["loss"]

  work = 3 * flops.velocity(config, sizes.tokens, sizes.text_tokens)
  return Job(run, work, planned)


def _plan(
  sizes: Sizes, policy: Policy, state: TrainState, batch: Batch, remat: str
) -> StepPlan:
  size = StepSize(1, sizes.tokens, sizes.text_tokens)
  config = sizes.model.transformer
  return plan_transformer(config, policy, size, state, batch, remat=remat)


def _batch(sizes: Sizes, policy: Policy) -> Batch:
  """A clip and its text, as the transformer reads them."""
  channels = sizes.model.transformer.in_channels
  text, mask = networks.embeddings(sizes, policy)
  latents = weights.normal(1, *sizes.grid, channels)
  return as_tokens({"latents": latents, "text": text, "mask": mask})
