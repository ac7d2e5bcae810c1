"""Compiles a recipe's step for absent devices, and finds the batches that fit."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import Target
from ltx_jax.analysis.training import (
  Attention,
  DoesNotFit,
  Step,
  StepReport,
  compile_step,
)
from ltx_jax.config import VAE_C, VAEConfig
from ltx_jax.config.runs import Bucket, Stage, TransformerRun, VAERun
from ltx_jax.data.buckets import groups_of, tokens_of
from ltx_jax.models.sharded import devices_of, padded_tokens, parts_of_stream
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.planning.training import FILLED, StepPlan, choose_remat, most_rows
from ltx_jax.planning.vae_training import VAE_REMATS
from ltx_jax.platforms import Policy
from train.harness import fitting, loop, shapes


@dataclasses.dataclass(frozen=True)
class Job:
  """A recipe on a device.

  Attributes:
    run: The recipe, with its options.
    target: Device to compile for.
    mesh: Mesh over its devices.
    policy: How the platform runs the step.
    latents: The VAE that is trained, or whose latents are trained on.
  """

  run: TransformerRun | VAERun
  target: Target
  mesh: Mesh
  policy: Policy
  latents: VAEConfig

  def abstract(self, bucket: Bucket, rows: int, remat: str) -> shapes.Abstract:
    """Returns the step on a batch, from shapes."""
    where = self.policy, self.mesh, bucket, rows
    run = dataclasses.replace(self.run, remat=remat)
    if isinstance(run, VAERun):
      return shapes.of_vae(run, *where)
    return shapes.of_transformer(run, *where, self.latents)

  @property
  def sharers(self) -> int:
    """Number of devices that have rows of their own; a batch is a multiple of it."""
    return devices_of(self.mesh, self.policy.rows)

  @property
  def remats(self) -> tuple[str, ...]:
    """Remat policies to try; only the requested one if there is one."""
    of_kind = VAE_REMATS if isinstance(self.run, VAERun) else REMAT
    return (self.run.remat,) if self.run.remat else of_kind


REMAT = ("none", "dots+attention", "dots", "attention", "full")
"""Remat policies, from the one that keeps most to the one that keeps least."""


class Case(NamedTuple):
  """One compiled step.

  Attributes:
    bucket: Size of its clips.
    rows: Number of clips of all devices together.
    remat: What blocks keep.
    plan: Planned memory.
    report: The compiler's figures; None if it found no room for the step.
    wanted: Bytes that it needed in that case, if it says so.
  """

  bucket: Bucket
  rows: int
  remat: str
  plan: StepPlan
  report: StepReport | None
  wanted: int | None = None

  def fits(self, target: Target) -> bool:
    """Whether a device of the target has room for it."""
    return self.report is not None and self.report.fits(target)

  def most_rows(self, target: Target) -> int:
    """Returns how many rows should fit, if temporaries grow with them."""
    peak = self.wanted if self.report is None else self.report.peak_bytes
    if peak is None:
      return self.rows // 2
    free = FILLED * target.memory - self.plan.state
    return int(self.rows * free / max(peak - self.plan.state, 1))


def job_of(
  run: TransformerRun | VAERun, target: Target, latents: VAEConfig = VAE_C
) -> Job:
  """Lays a recipe over a device.

  Args:
    latents: The VAE whose latents a transformer trains on.

  Raises:
    ValueError: If the device's compiler is missing, or the mesh does not fit it.
  """
  mesh = make_mesh(**vars(run.mesh), devices=devices.devices_of(target))
  policy = target.policy.in_dtype(run.dtype).for_training(mesh)
  return Job(run, target, mesh, policy, run.vae if isinstance(run, VAERun) else latents)


def rows_of(job: Job, bucket: Bucket, clips: float | None) -> int:
  """Returns the number of clips in a batch, over all devices.

  Args:
    clips: Number of clips per device; None follows from the recipe's token budget.

  Raises:
    ValueError: If a device would have part of a clip.
  """
  if clips is None:
    stage = next(s for s in job.run.stages if _without_share(bucket) in _sizes(s))
    stage = dataclasses.replace(stage, buckets=(bucket,))
    return groups_of(stage, tokens_of(job.latents))[0].batch_size
  rows, devices_ = clips * job.mesh.size, job.mesh.size
  if rows <= 0 or rows % job.sharers:
    raise ValueError(
      f"--clips {clips:g} on {devices_} device(s) is {rows:g} clips a batch, which "
      f"{job.sharers} of them share; give a multiple of {job.sharers / devices_:g}."
    )
  return int(rows)


def buckets_of(job: Job) -> list[Bucket]:
  """Returns the sizes for which a recipe compiles programs, each once.

  With token dropping, buckets that share batches have one program, for the smallest.
  """
  tokens, dropping = tokens_of(job.latents), job.run.token_dropping
  groups = (g for s in job.run.stages for g in groups_of(s, tokens, dropping))
  return list(dict.fromkeys(_without_share(group.smallest) for group in groups))


def _sizes(stage: Stage) -> list[Bucket]:
  return [_without_share(bucket) for bucket in stage.buckets]


def _without_share(bucket: Bucket) -> Bucket:
  return dataclasses.replace(bucket, weight=1.0)


def remat_of(job: Job, bucket: Bucket, rows: int) -> str:
  """Returns what blocks keep: as requested, or else as the memory plan says."""
  if len(job.remats) == 1:
    return job.remats[0]
  plan = job.abstract(bucket, rows, "full").plan
  order = fitting.remats_of(job.run, job.policy)
  return choose_remat(plan, order, job.target.memory)


def compile_case(job: Job, bucket: Bucket, rows: int, remat: str) -> Case:
  """Compiles a recipe's step on a batch."""
  made = job.abstract(bucket, rows, remat)
  state, plan = made.arguments[0], made.plan(remat)
  options = job.policy.training_options
  with jax.set_mesh(job.mesh):
    program = loop.compile_update(made.update, state, job.mesh, options)
    minimum = made.minimum // job.mesh.size
    step = Step(program, made.arguments, minimum, _attention(job, rows, made.tokens))
    try:
      report = compile_step(step, job.target)
    except DoesNotFit as error:
      return Case(bucket, rows, remat, plan, None, error.wanted)
  return Case(bucket, rows, remat, plan, report)


def _attention(job: Job, rows: int, tokens: int | None) -> Attention | None:
  if tokens is None:
    return None
  config, policy = job.run.transformer, job.policy
  own = padded_tokens(rows, tokens, policy) // parts_of_stream(policy, rows)[1]
  tensor = devices_of(policy.mesh, ("tensor",))
  heads = config.num_attention_heads // tensor
  return Attention(tokens, own, heads, config.width)


def fit(
  job: Job,
  bucket: Bucket,
  remat: str,
  compiled: Callable[[Job, Bucket, int, str], Case] = compile_case,
) -> Case | None:
  """Finds the largest batch whose step fits, or None if not even the smallest does.

  The plan says where to begin. What the compiler then says of a batch leads to the
  next, until one fits, and does not with one clip more on each device that has its own.

  Args:
    compiled: Function that compiles a case; tests replace it.
  """
  step = job.sharers
  plan = functools.cache(lambda rows: job.abstract(bucket, rows, remat).plan(remat))
  rows = most_rows(plan, job.target.memory, step)
  found, low, high = None, 0, math.inf
  while high - low > step:
    rows = int(min(max(rows // step * step, low + step), high - step))
    case = compiled(job, bucket, rows, remat)
    if case.fits(job.target):
      found, low = case, rows
    else:
      high = rows
    rows = case.most_rows(job.target)
  return found


def as_json(job: Job, case: Case) -> dict[str, Any]:
  """Returns the plain numbers of one case, of one device and step."""
  report = case.report
  figures = {} if report is None else dataclasses.asdict(report)
  names = ("state_bytes", "temporaries_bytes", "peak_bytes", "flops", "sent_bytes")
  names += ("recomputed_flops", "minimum_flops", "collectives")
  bucket = case.bucket
  return {
    "device": job.target.name,
    "mesh": dict(job.mesh.shape),
    "clips": case.rows / job.mesh.size,
    "remat": case.remat,
    **{name: figures.pop(name, None) for name in names},
    "bucket": f"{bucket.width}x{bucket.height}x{bucket.frames}",
    "fits": case.fits(job.target),
    "memory_bytes": job.target.memory,
    "planned_bytes": case.plan.peak,
    "wanted_bytes": case.wanted,
    **figures,
  }
