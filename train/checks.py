"""What is refused before a training run begins: cheap checks, all of them in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ltx_jax.data.buckets import sized_buckets
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.run_config import Bucket, OutputConfig, TransformerRun, VAERun


def check_run(run: VAERun | TransformerRun, tokens: Callable[[Bucket], int]) -> None:
  """Refuses what the config alone shows to be impossible.

  Args:
    tokens: Latent positions of one clip of a bucket.

  Raises:
    ValueError: where an interval is not positive, the mesh does not fit the devices, or
      a batch cannot be divided into micro-batches.
  """
  check_intervals(run.output)
  make_mesh(run.mesh)
  count = run.optimizer.accumulate
  for sized in (
    sized for stage in run.stages for sized in sized_buckets(stage, tokens)
  ):
    if count < 1 or sized.batch_size % count:
      bucket = sized.bucket
      raise ValueError(
        f"optimizer.accumulate is {count}, and a batch of "
        f"{bucket.frames}x{bucket.height}x{bucket.width} has {sized.batch_size} clips; "
        "choose a number that divides the batches of all buckets."
      )


def check_intervals(output: OutputConfig) -> None:
  """Refuses to do something every 0 steps.

  Raises:
    ValueError: naming the interval.
  """
  for name in ("log_every", "sample_every", "save_every"):
    if getattr(output, name) < 1:
      raise ValueError(
        f"output.{name} is {getattr(output, name)}; it counts steps, at least 1. For "
        "never, take a number beyond the run's steps."
      )


def check_same_network(part: str, found: Any, asked: Any, source: str) -> None:
  """Refuses to start a run from a checkpoint of another network, naming what differs.

  Configs are compared without the keys that this code does not use.

  Raises:
    ValueError: with the first fields that differ.
  """
  a, b = dataclasses.asdict(found), dataclasses.asdict(asked)
  differing = [k for k in a if k != "extra" and a[k] != b[k]]
  if differing:
    words = "; ".join(f"{k} is {a[k]} there and {b[k]} here" for k in differing[:3])
    raise ValueError(
      f"The {part} in {source} is another network than this run's: {words}. Name a "
      "checkpoint of the same config, or leave --init-from empty."
    )
