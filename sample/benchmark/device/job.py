"""A job of the device benchmark, and how it is timed."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from ltx_jax.cli.console import Clock
from sample.benchmark import worker

_LEAST = 0.02  # Shortest timing in seconds, so that dispatch does not count.
_ENOUGH = 3.0  # Seconds after which no timing is repeated.
_RUNS = (3, 10)


@dataclasses.dataclass(frozen=True)
class Job:
  """A computation to time, with its inputs on the device.

  Attributes:
    run: Function that dispatches it once and returns what to wait for.
    flops: Operations of one run, by formula (`ltx_jax.planning.flops`).
    planned: Bytes by the memory plan, weights included; None if there is no plan.
    compile: Function that compiles its programs ahead, several at a time; None leaves
      that to the first run.
    stages: Seconds of the parts of the last run.
    figures: Other results, by name.
  """

  run: Callable[[], Any]
  flops: int
  planned: int | None = None
  compile: Callable[[], object] = lambda: None
  stages: worker.Stages = dataclasses.field(default_factory=worker.Stages)
  figures: dict[str, float] = dataclasses.field(default_factory=dict)


def measure(job: Job, *, compiling: bool) -> dict[str, Any]:
  """Returns the time and memory of a job.

  Args:
    job: The job.
    compiling: Whether to measure the seconds of compilation: `cold`, and `warm` with
      JAX's cache on disk.
  """
  figures = dict(job.figures)
  cold = _compile(job)
  if compiling:
    jax.clear_caches()
    figures |= {"compile, cold": cold, "compile, warm": _compile(job)}
  seconds, stages = _timings(job)
  names = stages[0] if stages else ()
  figures |= {name: statistics.median(each[name] for each in stages) for name in names}
  return {
    "seconds": seconds,
    "median": statistics.median(seconds),
    "fastest": min(seconds),
    "slowest": max(seconds),
    "flops": job.flops,
    "planned_bytes": job.planned,
    "figures": figures,
  }


def _compile(job: Job) -> float:
  with Clock() as clock, clock.stage("first run"):
    job.compile()
    jax.block_until_ready(job.run())
  return clock.seconds["compile"]


def _timings(job: Job) -> tuple[list[float], list[dict[str, float]]]:
  """Times a job often enough; returns the seconds of a run, and of its stages."""
  calls = math.ceil(_LEAST / max(_seconds(job, 1), 1e-4))
  seconds, stages = [], []
  least, most = _RUNS
  begin = time.perf_counter()
  while len(seconds) < most:
    seconds.append(_seconds(job, calls))
    stages.append(dict(job.stages.seconds))
    if len(seconds) >= least and time.perf_counter() - begin > _ENOUGH:
      break
  return seconds, stages


def _seconds(job: Job, calls: int) -> float:
  """Dispatches `calls` runs and waits for the last; returns the seconds of one."""
  start = time.perf_counter()
  for _ in range(calls):
    out = job.run()
  jax.block_until_ready(out)
  return (time.perf_counter() - start) / calls
