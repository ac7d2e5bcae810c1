"""A step of training the transformer, on one device that holds its whole state."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ltx_jax.config.runs import FlowConfig, OptimizerConfig
from ltx_jax.diffusion import objective
from ltx_jax.models import transformer
from ltx_jax.planning import flops
from ltx_jax.planning.training import StepPlan, StepSize, choose_remat, plan_transformer
from ltx_jax.platforms import Policy
from ltx_jax.training.state import Batch, TrainState, Update, advance, first_state
from ltx_jax.typing import Params
from sample.benchmark.device import networks, weights
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes

_OPTIMIZER = OptimizerConfig()
_STEPS = 1000  # Of the run whose learning rate it has.


def step(sizes: Sizes, policy: Policy) -> Job:
  """Loss, gradients and AdamW of one clip, what is kept chosen by the memory plan."""
  config = sizes.model.transformer
  device = jax.devices()[0]
  policy = policy.for_training(Mesh([device], ("data",)))
  params = weights.make(functools.partial(transformer.init, config), "float32")
  state = first_state(_OPTIMIZER, _STEPS, {"transformer": params}, {})
  batch = _batch(sizes, policy)

  plan = functools.partial(_plan, sizes, policy, state, batch)
  memory = (device.memory_stats() or {}).get("bytes_limit")
  remat = choose_remat(plan, policy, memory)
  planned = plan(remat).peak
  update = jax.jit(_update(sizes, policy, remat), donate_argnums=0)
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
  """A clip and its text, as records hold them."""
  channels = sizes.model.transformer.in_channels
  text, mask = networks.embeddings(sizes, policy)
  latents = weights.normal(1, *sizes.grid, channels)
  return {"latents": latents, "text": text, "mask": mask}


def _update(sizes: Sizes, policy: Policy, remat: str) -> Update:
  config = sizes.model.transformer
  module = transformer.Transformer(config, policy, remat)
  coords = networks.coordinates_of(config, sizes)

  def update(
    state: TrainState, frozen: Params, batch: Batch
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    key = jax.random.fold_in(jax.random.key(0), state.step)
    text = batch["text"], batch["mask"]

    def loss(params: Params) -> tuple[jax.Array, dict[str, jax.Array]]:
      def network(xt, coords, levels):
        variables = {"params": params["transformer"]}
        return module.apply(variables, xt, coords, *text, levels)

      layout = objective.first_frame(batch["latents"], coords)
      mean = jnp.mean(objective.loss(network, layout, key, FlowConfig()).loss)
      return mean, {"loss": mean}

    grads, metrics = jax.grad(loss, has_aux=True)(state.params)
    return advance(_OPTIMIZER, _STEPS, state, grads, metrics)

  return update
