"""The loss on held-out clips, always with the same noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax.config.runs import Stage
from ltx_jax.data.source import Batch as HostBatch
from ltx_jax.data.source import Source
from ltx_jax.parallel.mesh import own_rows, put_batch
from ltx_jax.platforms import unless_flagged
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState
from ltx_jax.typing import Params

Evaluate = Callable[[TrainState, Params], Metrics]
"""(state, frozen) -> scalars by name, on the device."""

Losses = Callable[[TrainState, Params, Batch], Metrics]
"""(state, frozen, batch) -> scalars by name, including `loss`. The noise depends only
on the batch. The state has averaged parameters if the run keeps them, and no optimiser
state."""

CLIPS = 16
"""Number of held-out clips to evaluate per bucket."""


def held_out_batches(source: Source, stages: Sequence[Stage]) -> dict[str, HostBatch]:
  """Returns a batch per bucket that has clips, by frames x height x width.

  The clips are spread evenly over the bucket's part of the source, and are always the
  same.

  Raises:
    ValueError: If no bucket takes any of them.
  """
  buckets = {(b.frames, b.height, b.width): b for s in stages for b in s.buckets}
  batches = {}
  for bucket, ids in zip(
    buckets.values(), source.assign(list(buckets.values())), strict=True
  ):
    if not len(ids):
      continue
    chosen = ids[np.linspace(0, len(ids) - 1, min(CLIPS, len(ids))).astype(int)]
    name = f"{bucket.frames}x{bucket.height}x{bucket.width}"
    seeds = np.arange(len(chosen), dtype=np.uint32)
    batches[name] = source.read(bucket, chosen, seeds)
  if not batches:
    raise ValueError(
      "None of the clips that are held out fits a bucket; hold out others, by their "
      "score held_out or by another --held-out."
    )
  return batches


def make_evaluate(
  losses: Losses,
  held_out: Mapping[str, HostBatch],
  mesh: Mesh,
  options: Mapping[str, str],
) -> Evaluate:
  """Returns a function that evaluates a state, bucket by bucket.

  It reads nothing back: the numbers arrive when the device has computed them.

  Args:
    losses: Function that returns the losses of a batch.
    held_out: A batch per bucket, by the bucket's name; kept on the devices.
    mesh: Mesh of the run.
    options: XLA options.

  Returns:
    A function that returns `BUCKET/NAME` for each, and `loss`, the mean over buckets.
  """
  scalar = NamedSharding(mesh, PartitionSpec())
  options = unless_flagged(options)
  program = jax.jit(losses, out_shardings=scalar, compiler_options=options)
  batches = {name: _own(mesh, batch) for name, batch in held_out.items()}

  def evaluate(state: TrainState, frozen: Params) -> Metrics:
    state = state._replace(params=state.params | state.ema, ema={}, opt_state=())
    found = {name: program(state, frozen, batch) for name, batch in batches.items()}
    each = {f"{b}/{n}": value for b, row in found.items() for n, value in row.items()}
    mean = sum(row["loss"] for row in found.values()) / len(found)
    return {"loss": mean} | each

  return evaluate


def _own(mesh: Mesh, batch: HostBatch) -> Batch:
  """Puts a batch that every process has whole on the devices."""
  count = len(batch["seed"])
  own = own_rows(mesh, count)
  return put_batch(mesh, {name: rows[own] for name, rows in batch.items()}, count)
