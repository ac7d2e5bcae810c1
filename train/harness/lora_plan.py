"""The table of `train.plan`: the memory of a LoRA's step, by size, rank and device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jax.sharding import Mesh

from ltx_jax.analysis.devices import TARGETS, Target
from ltx_jax.config import VAE_C
from ltx_jax.config.runs import Bucket, TransformerRun
from ltx_jax.errors import check_number
from ltx_jax.parallel.mesh import AXES
from ltx_jax.planning.training import choose_remat, transformer_remats
from train.compile import bucket_of
from train.harness import recipe
from train.harness.compiling import Job
from train.plan import Options

_GB = 10**9


@dataclasses.dataclass(frozen=True)
class _Chip:
  """A device of a mesh that holds only shapes."""

  id: int
  platform: str
  device_kind: str
  process_index: int = 0


def job_of(run: TransformerRun, target: Target) -> Job:
  """Returns a recipe on absent devices, all of which share the model."""
  kind = target.policy.name, target.name
  chips = [_Chip(number, *kind) for number in range(target.chips)]
  mesh = Mesh(np.array(chips).reshape(1, len(chips), 1, 1), AXES)
  policy = target.policy.in_dtype(run.dtype).for_training(mesh)
  return Job(run, target, mesh, policy, VAE_C)


def planned(job: Job, bucket: Bucket) -> str:
  """Returns a step's memory with one clip per device, and what its blocks keep."""
  plan = job.abstract(bucket, job.sharers, "full").plan
  remat = job.run.remat or choose_remat(
    plan, transformer_remats(job.policy), job.target.memory
  )
  step = plan(remat)
  peak = f"{step.peak / _GB:.1f}"
  return f"{peak}, {remat}" if step.fits(job.target.memory) else f"({peak})"


def lines(options: Options) -> Iterator[str]:
  """Yields the table in Markdown, one recipe after another.

  Raises:
    ValueError: If a recipe is unknown or trains no LoRA, or a size is invalid.
  """
  targets = [TARGETS[name] for name in options.devices]
  buckets = [(size, bucket_of(size)) for size in options.buckets]
  columns = [f"{target.name}, {target.memory / _GB:.0f} GB" for target in targets]
  yield _row(["recipe", "model in", "rank", "clip", *columns])
  yield _row(["---"] * (4 + len(columns)))
  for rank in options.ranks:
    check_number("--ranks", rank, at_least=1)
  for name in options.configs:
    run, _ = recipe.load_config(name, "transformer")
    if not run.lora.rank:
      raise ValueError(f"configs/{name}.py trains no LoRA; take lora or lora_13b.")
    for weights in options.base_weights:
      base = None if weights == "bfloat16" else weights
      for rank in options.ranks:
        lora = dataclasses.replace(run.lora, rank=rank, base_weights=base)
        jobs = [job_of(dataclasses.replace(run, lora=lora), t) for t in targets]
        for size, bucket in buckets:
          cells = [planned(job, bucket) for job in jobs]
          yield _row([name, weights, str(rank), size, *cells])


def _row(cells: list[str]) -> str:
  return f"| {' | '.join(cells)} |"
