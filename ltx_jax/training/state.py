"""The training state, and how a step advances it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltx_jax.config.optimizer import OptimizerConfig
from ltx_jax.training import optim
from ltx_jax.training.optim import NO_RIVALS, Metrics, Rivals
from ltx_jax.typing import Params

Batch = dict[str, jax.Array]
"""Arrays of a step; their first axis is the rows."""


class TrainState(NamedTuple):
  """The training state that passes from step to step.

  Attributes:
    step: int32 scalar, number of updates done.
    params: Trained parameters, float32.
    opt_state: State of the optimiser.
    ema: The averaged parameters; {} if `ema_decay` is 0.
    extra: Other state of a step, e.g. the VAE's running latent statistics.
  """

  step: jax.Array
  params: Params
  opt_state: Any
  ema: Params
  extra: Params


Update = Callable[[TrainState, Params, Batch], tuple[TrainState, Metrics]]
"""(state, frozen, batch) -> (state, metrics), a pure function. Frozen parameters are
read, but neither trained nor saved."""


def first_state(
  config: OptimizerConfig,
  steps: int,
  params: Params,
  extra: Params,
  rivals: Rivals = NO_RIVALS,
) -> TrainState:
  """Returns the state before the first of `steps` updates; rivals have no average."""
  averaged = without(params, rivals) if config.ema_decay else {}
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=optim.make_optimizer(config, steps, rivals).init(params),
    ema=jax.tree.map(jnp.copy, averaged),
    extra=extra,
  )


def without(params: Params, parts: Iterable[str]) -> Params:
  """Returns the parameters without some parts, by their first names."""
  return {name: part for name, part in params.items() if name not in parts}


def advance(
  config: OptimizerConfig,
  steps: int,
  state: TrainState,
  grads: Params,
  metrics: Metrics,
  *,
  extra: Params | None = None,
  held: Sequence[str] = (),
  rivals: Rivals = NO_RIVALS,
) -> tuple[TrainState, Metrics]:
  """Returns the state after a step with these gradients, and the step's metrics.

  If the gradients or the loss are not finite and `not_finite="skip"`, only the count of
  steps advances. The optimiser counts the updates that it made, so its learning rate
  lags behind the step by the number of skipped updates.

  Args:
    config: The optimiser, the average, and the handling of NaNs.
    steps: Number of updates of the whole run.
    state: State before the step.
    grads: Gradients of the parameters.
    metrics: Metrics of the step, with its `loss`.
    extra: New `extra` of the state; None keeps the old one.
    held: Parts of the parameters, by their first names, that stay unchanged. Zero
      gradients would not be enough, because weight decay would change them.
    rivals: Networks that are trained against the others, with optimisers of their own.

  Returns:
    The state, and the metrics with `grad_norm`, the `learning_rate` of this update,
    with "skip" also `skipped`, 1 or 0, and the norm of each rival's gradients.
  """
  optimizer = optim.make_optimizer(config, steps, rivals)
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = jax.tree.map(jnp.add, state.params, updates)
  params |= {part: state.params[part] for part in held if part in params}
  if rivals:
    states = opt_state.inner_states, state.opt_state.inner_states
    waiting = optim.before_start(*states, rivals, state.step)
    opt_state = opt_state._replace(inner_states=waiting)
    params = optim.before_start(params, state.params, rivals, state.step)
  ema = state.ema
  if config.ema_decay:
    averaged = without(params, rivals)
    ema = optim.update_ema(ema, averaged, config.ema_decay, state.step)
  metrics |= {f"{name}_grad_norm": optim.global_norm(grads[name]) for name in rivals}
  metrics = metrics | {
    "grad_norm": optim.global_norm(without(grads, rivals)),
    "learning_rate": optim.rate_of_update(config, steps, state.opt_state),
  }
  old = state._replace(step=state.step + 1)
  new = TrainState(
    old.step, params, opt_state, ema, state.extra if extra is None else extra
  )
  if config.not_finite == "stop":
    return new, metrics
  names = ("loss", "grad_norm", *(f"{name}_grad_norm" for name in rivals))
  finite = jnp.all(jnp.isfinite(jnp.stack([metrics[name] for name in names])))
  chosen = jax.tree.map(lambda a, b: jnp.where(finite, b, a), old, new)
  return chosen, metrics | {"skipped": 1.0 - finite}
