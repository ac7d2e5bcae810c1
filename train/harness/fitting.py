"""Checks before compiling whether a run's steps fit its devices; picks the remat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from jax.sharding import Mesh

from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import Bucket, TransformerRun, VAERun
from ltx_jax.data.buckets import groups_of, tokens_of
from ltx_jax.models.sharded import devices_of
from ltx_jax.planning.memory import free_memory
from ltx_jax.planning.training import (
  StepPlan,
  choose_remat,
  most_rows,
  transformer_remats,
)
from ltx_jax.planning.vae_training import VAE_REMATS
from ltx_jax.platforms import Policy
from train.harness import shapes

RunT = TypeVar("RunT", TransformerRun, VAERun)

_GB = 1e9


class Batch(NamedTuple):
  """A size of clips, and how many of them a step takes."""

  bucket: Bucket
  rows: int

  def describe(self) -> str:
    """Describes it in a few words."""
    b = self.bucket
    return f"{self.rows} clip(s) of {b.frames} frames of {b.width}x{b.height}"


Plans = Callable[[Batch, str], StepPlan]
"""Returns the memory plan of a step, given a batch and a remat policy."""


def settle(
  run: RunT,
  policy: Policy,
  mesh: Mesh,
  latents: VAEConfig,
  *,
  memory: int | None,
  say: Callable[[str], None],
) -> RunT:
  """Returns the run with its remat policy chosen, after printing its plan.

  Args:
    run: Recipe; if its `remat` is None, the plan chooses it.
    policy: How the platform runs the steps.
    mesh: Mesh that the steps run on.
    latents: The VAE that is trained, or whose latents are.
    memory: Bytes of each device (`device_memory`); None means unknown, and refuses
      nothing.
    say: Function that prints a line for the user.

  Raises:
    ValueError: If a step does not fit; the message says what would.
  """
  found = batches(run, latents)
  plans = _plans(run, policy, mesh, latents)

  def largest(remat: str) -> StepPlan:
    return max((plans(batch, remat) for batch in found), key=lambda plan: plan.peak)

  remat = run.remat or choose_remat(largest, remats_of(run, policy), memory)
  run = dataclasses.replace(run, remat=remat)
  batch = max(found, key=lambda batch: plans(batch, remat).peak)
  plan = plans(batch, remat)
  say(f"A step of {batch.describe()} is planned with {plan.describe()}; remat {remat}.")
  if memory is not None and not plan.fits(memory):
    step = devices_of(mesh, policy.rows)
    most = batch._replace(rows=_most(plans, batch, memory, step))
    raise ValueError(
      f"A step of {batch.describe()} needs about {plan.describe()}, but a device has "
      f"{memory / _GB:.1f}; {_instead(most)}"
    )
  return run


def remats_of(run: TransformerRun | VAERun, policy: Policy) -> tuple[str, ...]:
  """Returns the remat policies to try, the fastest first."""
  return VAE_REMATS if isinstance(run, VAERun) else transformer_remats(policy)


def batches(run: TransformerRun | VAERun, latents: VAEConfig) -> list[Batch]:
  """Returns the batches of a run's stages, each once."""
  tokens = tokens_of(latents)
  found = [
    Batch(dataclasses.replace(group.smallest, weight=1.0), group.batch_size)
    for stage in run.stages
    for group in groups_of(stage, tokens, run.token_dropping)
  ]
  return list(dict.fromkeys(found))


def device_memory(mesh: Mesh) -> int | None:
  """Returns the bytes that are free on each device of a mesh, or None if unknown.

  CPU devices share the machine's memory equally.
  """
  devices = list(mesh.devices.flat)
  free = free_memory(devices[0])
  on_host = devices[0].platform == "cpu"
  return free // len(devices) if free is not None and on_host else free


def _plans(
  run: TransformerRun | VAERun, policy: Policy, mesh: Mesh, latents: VAEConfig
) -> Plans:
  made: dict[Batch, shapes.Abstract] = {}

  def plan(batch: Batch, remat: str) -> StepPlan:
    if batch not in made:
      where = policy, mesh, *batch
      if isinstance(run, VAERun):
        made[batch] = shapes.of_vae(run, *where)
      else:
        made[batch] = shapes.of_transformer(run, *where, latents)
    return made[batch].plan(remat)

  return plan


def _most(plans: Plans, batch: Batch, memory: int, step: int) -> int:
  """Returns the most clips that fit, evenly shared by all devices, with full remat."""

  def plan(rows: int) -> StepPlan:
    return plans(batch._replace(rows=rows), "full")

  return most_rows(plan, memory, step)


def _instead(most: Batch) -> str:
  """Says what fits, and how to get there."""
  if most.rows:
    return (
      f"with --remat full {most.describe()} fit: lower the stage's tokens, or raise "
      "--mesh.fsdp or --optimizer.accumulate."
    )
  return (
    "not one clip a device fits: raise --mesh.fsdp, which shards the state, or use "
    "--mesh.context or --mesh.tensor, a smaller clip, or more devices."
  )
