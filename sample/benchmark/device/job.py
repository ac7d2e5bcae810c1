"""What a row of the device benchmark runs, and how it is timed."""

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

_LEAST = 0.02  # Seconds that one timing spans, so that a dispatch does not count.
_ENOUGH = 3.0  # Seconds after which nothing is timed again.
_RUNS = (3, 10)


@dataclasses.dataclass(frozen=True)
class Job:
  """Something to time, with its inputs on the device.

  Attributes:
    run: Dispatches it once and returns what to wait for.
    flops: Operations of one run, by formula (`ltx_jax.planning.flops`).
    planned: Bytes that the memory plan expects of it, weights included; None: it says
      nothing of it.
    compile: Compiles its programs ahead, several at a time; None: the first run does.
    stages: Seconds of its parts, of the last run.
    figures: What else was found, by name.
  """

  run: Callable[[], Any]
  flops: int
  planned: int | None = None
  compile: Callable[[], object] = lambda: None
  stages: worker.Stages = dataclasses.field(default_factory=worker.Stages)
  figures: dict[str, float] = dataclasses.field(default_factory=dict)


def measure(job: Job, *, compiling: bool) -> dict[str, Any]:
  """Returns what a job takes.

  Args:
    job: What is run.
    compiling: Whether to tell the seconds of compiling it, `cold` and, with what JAX
      keeps on disk, `warm`.
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
  """Times a job often enough; returns seconds of a run, and of its stages."""
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
  """Dispatches so many runs and waits for the last; returns the seconds of one."""
  start = time.perf_counter()
  for _ in range(calls):
    out = job.run()
  jax.block_until_ready(out)
  return (time.perf_counter() - start) / calls
