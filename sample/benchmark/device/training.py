"""A step of training the transformer, on one device that holds its whole state."""

from __future__ import annotations

import functools
from typing import Any

import jax
import optax

from ltx_jax.config.runs import OptimizerConfig
from ltx_jax.diffusion import flow
from ltx_jax.models import transformer
from ltx_jax.planning import flops
from ltx_jax.platforms import Policy
from ltx_jax.training import optim
from ltx_jax.typing import Params
from sample.benchmark.device import networks, weights
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes

_REMAT = "dots"
_STEPS = 1000  # Of the run whose learning rate it has.


def step(sizes: Sizes, policy: Policy) -> Job:
  """Loss, gradients and AdamW of one clip; products are kept for the backward pass."""
  config = sizes.model.transformer
  optimizer = optim.make_optimizer(OptimizerConfig(), _STEPS)
  params = weights.make(functools.partial(transformer.init, config), "float32")
  state = [(params, jax.jit(optimizer.init)(params))]
  module = transformer.Transformer(config, policy, _REMAT)
  coords = networks.coordinates_of(config, sizes)
  text = networks.embeddings(sizes, policy)
  x0 = weights.normal(1, sizes.tokens, config.in_channels)

  def loss(params: Params, key: jax.Array) -> jax.Array:
    noise, sigma = jax.random.normal(key, x0.shape), jax.random.uniform(key, (1,))
    xt = flow.interpolate(x0, noise, sigma)
    v = module.apply({"params": params}, xt, coords, *text, sigma)
    return flow.loss(v, flow.velocity(x0, noise))

  @functools.partial(jax.jit, donate_argnums=0)
  def update(state: tuple[Params, Any], key: jax.Array) -> tuple[Any, jax.Array]:
    params, opt_state = state
    value, grads = jax.value_and_grad(loss)(params, key)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), value

  key = jax.random.key(0)

  def run() -> jax.Array:
    state[0], value = update(state[0], key)
    return value

  work = 3 * flops.velocity(config, sizes.tokens, sizes.text_tokens)
  return Job(run, work)
