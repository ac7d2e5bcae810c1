"""Optimisers, learning rates, averaged parameters and gradient accumulation.

AdamW (Loshchilov and Hutter 2019) everywhere, or Muon (Jordan 2024) on the kernels of
hidden layers and AdamW on the rest. Muon replaces the momentum M of a kernel by the
nearest semi-orthogonal matrix U V^T (M = U S V^T), so that every direction of a layer
learns at the same rate. Five Newton-Schulz steps approximate it. The matrix of a
convolution is (t h w i, o), which multiplies patches; in a stack of scanned layers each
layer has its own matrix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from ltx_jax.checkpoints.trees import path_name
from ltx_jax.config.optimizer import UpdateConfig
from ltx_jax.typing import Params

Metrics = dict[str, Float[Array, ""]]


class Rival(NamedTuple):
  """A network that is trained against the others, such as a discriminator.

  Attributes:
    config: Its optimiser.
    start: Step at which its training begins; its schedule is counted from there.
  """

  config: UpdateConfig
  start: int = 0


Rivals = Mapping[str, Rival]
"""Rivals by the first name of their parameters."""

NO_RIVALS: Rivals = MappingProxyType({})

MUON_MOMENTUM = 0.95

NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
"""Coefficients of the steps towards U V^T. With one row per step, Optax loops over the
steps, which compiles once; with one row for all, it unrolls the steps of every
kernel."""

# Kernels that read or write pixels, latents or channels of the data, or that read
# features made by a formula. The meaning of their rows is unequal, but an orthogonal
# update would treat them as equal; Muon is known to do worse there than AdamW.
ADAMW_KERNELS = (
  r"encoder/conv_in/",
  r"decoder/conv_out/",
  r"discriminator/conv_(in|out)/",
  r"patchify_proj/",
  r"(^|transformer/)proj_out/",
  r"timestep_embedder/linear_1/",
)


def is_kernel(path: str) -> bool:
  """Whether `path` is a weight matrix; only weight matrices decay."""
  return path.endswith("/kernel") or path == "kernel"


def uses_muon(path: str) -> bool:
  """Whether Muon, if chosen, updates the parameter at `path`."""
  return is_kernel(path) and not any(re.search(p, path) for p in ADAMW_KERNELS)


def muon_dimension_numbers(params: Params) -> Params:
  """Returns which axes of every kernel form its matrix; the layer axis of a stack is
  not.

  Args:
    params: kernels (in, out), (l, in, out), (t, h, w, in, out) or
      (l, t, h, w, in, out).
  """

  def axes(leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers:
    stacked = leaf.ndim in (3, 6)
    return optax.contrib.MuonDimensionNumbers(
      reduction_axis=tuple(range(int(stacked), leaf.ndim - 1)),
      output_axis=(leaf.ndim - 1,),
    )

  return jax.tree.map(axes, params)


# By name: the rate from the peak on, given its final fraction and number of steps.
SCHEDULES: dict[str, Callable[[float, float, int], optax.Schedule]] = {
  "cosine": lambda peak, end, steps: optax.cosine_decay_schedule(peak, steps, end),
  "linear": lambda peak, end, steps: optax.linear_schedule(peak, end * peak, steps),
  "constant": lambda peak, end, steps: optax.constant_schedule(peak),
}


def warmup_of(config: UpdateConfig, steps: int) -> int:
  """Returns the steps of the warm-up: at most half of a run's."""
  return min(config.warmup_steps, steps // 2)


def learning_rate(
  config: UpdateConfig, steps: int, peak: float | None = None
) -> optax.Schedule:
  """Returns a schedule: linear warm-up, then down to `final_fraction` of the peak.

  The first update has 1 / `warmup_of` of the peak, so it moves already.

  Args:
    config: The rates and the schedule.
    steps: Number of updates of the whole run; the schedule ends there.
    peak: Peak rate that replaces `config.learning_rate`.
  """
  peak = config.learning_rate if peak is None else peak
  warmup = warmup_of(config, steps)
  rise = optax.linear_schedule(peak / max(warmup, 1), peak, warmup)
  fall = SCHEDULES[config.schedule]
  rest = fall(peak, config.final_fraction, max(steps - warmup, 1))
  return optax.join_schedules([rise, rest], [warmup])


def rate_of_update(
  config: UpdateConfig, steps: int, opt_state: PyTree
) -> Float[Array, ""]:
  """Returns the learning rate of the optimiser's next update.

  Args:
    opt_state: State of `make_optimizer`'s optimiser, which counts the updates made.
  """
  counts = optax.tree.get_all_with_path(
    opt_state,
    "count",
    filtering=lambda path, _: path[-1].tuple_name == "ScaleByScheduleState",
  )
  (_, count), *_ = counts  # Muon and AdamW each have a count, and they are equal.
  return jnp.asarray(learning_rate(config, steps)(count), jnp.float32)


def make_optimizer(
  config: UpdateConfig, steps: int, rivals: Rivals = NO_RIVALS
) -> optax.GradientTransformation:
  """Makes the optimiser for a run of `steps` steps; its rivals have their own.

  Raises:
    ValueError: If a name is neither `adamw` nor `muon`.
  """
  if not rivals:
    return _clipped(config, steps)

  def labels(params: Params) -> Params:
    return {name: name if name in rivals else "others" for name in params}

  each = {name: _clipped(r.config, steps - r.start) for name, r in rivals.items()}
  return optax.partition({"others": _clipped(config, steps)} | each, labels)


def before_start(new: PyTree, old: PyTree, rivals: Rivals, step: Array) -> PyTree:
  """Returns parts of a tree that has one per network; rivals that wait keep the old."""

  def chosen(name: str) -> PyTree:
    if name not in rivals:
      return new[name]
    begun = step >= rivals[name].start
    return jax.tree.map(lambda a, b: jnp.where(begun, a, b), new[name], old[name])

  return {name: chosen(name) for name in new}


def _clipped(config: UpdateConfig, steps: int) -> optax.GradientTransformation:
  makers = {"adamw": _adamw, "muon": _muon_and_adamw}
  if config.name not in makers:
    raise ValueError(
      f"optimizer.name is {config.name!r}; known are {', '.join(makers)}."
    )
  return optax.chain(
    optax.clip_by_global_norm(config.clip_norm), makers[config.name](config, steps)
  )


def _adamw(config: UpdateConfig, steps: int) -> optax.GradientTransformation:
  return optax.adamw(
    learning_rate(config, steps),
    b1=config.b1,
    b2=config.b2,
    weight_decay=config.weight_decay,
    mask=lambda tree: jax.tree.map_with_path(
      lambda path, _: is_kernel(path_name(path)), tree
    ),
  )


def _muon_and_adamw(config: UpdateConfig, steps: int) -> optax.GradientTransformation:
  # Put together from its parts, because `optax.contrib.muon` would train the rest with
  # NAdam, with one weight decay for kernels, biases and norms alike.
  muon = optax.chain(
    optax.contrib.scale_by_muon(
      NEWTON_SCHULZ, beta=MUON_MOMENTUM, weight_dimension_numbers=muon_dimension_numbers
    ),
    optax.stateless(_scale_by_shape),
    optax.add_decayed_weights(config.weight_decay),
    optax.scale_by_learning_rate(
      learning_rate(config, steps, config.muon_learning_rate)
    ),
  )

  def labels(params: Params) -> Params:
    return jax.tree.map_with_path(
      lambda path, _: "muon" if uses_muon(path_name(path)) else "adamw", params
    )

  return optax.partition({"muon": muon, "adamw": _adamw(config, steps)}, labels)


def _scale_by_shape(updates: Params, params: Params | None) -> Params:
  """Scales by sqrt(max(1, out / in)), so that one rate serves layers of all shapes."""

  def scale(update: jax.Array, axes: optax.contrib.MuonDimensionNumbers) -> jax.Array:
    fan_in = math.prod(update.shape[axis] for axis in axes.reduction_axis)
    return update * math.sqrt(max(1.0, update.shape[-1] / fan_in))

  return jax.tree.map(scale, updates, muon_dimension_numbers(updates))


def update_ema(
  ema: Params, params: Params, decay: float, step: Int[Array, ""]
) -> Params:
  """Moves the averaged parameters towards `params` after update number `step`.

  The decay starts low, min(decay, (1 + step) / (10 + step)), so that the random initial
  parameters do not stay in the average.

  Args:
    ema: The average so far; start from a copy of the parameters.
    step: Number of updates before this one.
  """
  rate = 1 - jnp.minimum(decay, (1 + step) / (10 + step)).astype(jnp.float32)
  return jax.tree.map(lambda e, p: e + rate * (p - e), ema, params)


def accumulate(
  grad_fn: Callable[[Params, Any], tuple[Params, Any]],
  params: Params,
  batch: Any,
  count: int,
) -> tuple[Params, Any]:
  """Averages gradients over `count` micro-batches, one in memory at a time.

  Row r of the batch goes to micro-batch r % count. If `count` divides the rows of a
  device, each device works on its own rows in every micro-batch, and no row moves.

  Args:
    grad_fn: (params, micro-batch) -> (gradients, metrics), e.g. from
      `jax.grad(loss, has_aux=True)`. Both are averaged.
    batch: A pytree of arrays with one leading axis of rows. Random draws belong here
      too (a key per row, or the noise itself), or all micro-batches would share them.
    count: Number of micro-batches; 1 calls `grad_fn` on the whole batch.

  Raises:
    ValueError: If `count` does not divide the rows.
  """
  if count == 1:
    return grad_fn(params, batch)
  rows = jax.tree.leaves(batch)[0].shape[0]
  if count < 1 or rows % count:
    raise ValueError(
      f"optimizer.accumulate is {count}, but a batch has {rows} rows; choose a number "
      "that divides the rows of every bucket."
    )

  def split(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x.reshape(rows // count, count, *x.shape[1:]), 1, 0)

  def add(total, micro_batch):
    return jax.tree.map(jnp.add, total, grad_fn(params, micro_batch)), None

  micro_batches = jax.tree.map(split, batch)
  first = jax.tree.map(lambda x: x[0], micro_batches)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(grad_fn, params, first)
  )
  total, _ = jax.lax.scan(add, zeros, micro_batches)
  return jax.tree.map(lambda x: x / count, total)


def global_norm(tree: Params) -> Float[Array, ""]:
  """Returns the Euclidean norm of all numbers in the tree, for the metrics."""
  return optax.tree.norm(tree)
