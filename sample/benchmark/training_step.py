"""A step of training the transformer alone, from latents and text embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ltx_jax.config import TransformerConfig
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import FlowConfig, OptimizerConfig
from ltx_jax.diffusion import objective
from ltx_jax.models import transformer
from ltx_jax.platforms import Policy
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState, Update, advance
from ltx_jax.typing import Coords, Params

OPTIMIZER = OptimizerConfig()
STEPS = 1000
"""Number of steps of the run whose learning rate is used."""


def make_update(
  config: TransformerConfig, policy: Policy, coords: Coords, remat: str = "none"
) -> Update:
  """Returns a step: the rectified-flow loss, its gradients and AdamW.

  Args:
    config: Config of the transformer.
    policy: How it runs.
    coords: Positions of the tokens, [1 n 3]: all clips have one size.
    remat: What a block keeps for the backward pass (`models.transformer`).
  """
  module = transformer.Transformer(config, policy, remat)

  def update(
    state: TrainState, frozen: Params, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(jax.random.key(0), state.step)
    text = batch["text"], batch["mask"]

    def loss(params: Params) -> tuple[jax.Array, Metrics]:
      def network(xt, coords, levels):
        variables = {"params": params["transformer"]}
        return module.apply(variables, xt, coords, *text, levels)

      clips = objective.Clips(batch["latents"], coords, batch["places"], batch["grid"])
      losses = objective.loss(network, clips, key, FlowConfig(), ConditionConfig())
      mean = jnp.mean(losses.loss)
      return mean, {"loss": mean}

    grads, metrics = jax.grad(loss, has_aux=True)(state.params)
    return advance(OPTIMIZER, STEPS, state, grads, metrics)

  return update
