"""The protocol of a process of `sample.benchmark`, whichever framework it runs.

It reads one line of JSON, the task, and then one word per line. It answers each line
with one line of JSON:

    {"kind": "velocity", ...}   builds the task, runs it once  -> {"build", "warm_up"}
    run                         runs it                        -> {"seconds", "stages"}
    peak                                                       -> {"peak"}
    end                         multiplies large matrices      -> {"peak", "rate"}

`peak` is the process's peak of memory in bytes, before the matrices, or the run's own
`peak` of its device. `rate` is the FLOP/s of their product. `warm_up` has the seconds
of the first run or, if a compiler can be timed separately, of compilation. `stages` has
the seconds of each stage of a run that has several. The answer to a build has the
`versions` of the packages, and the `figures` that the first run computed, if it names
any.

Nothing here imports JAX or PyTorch, because each side has only its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

Spec = dict[str, Any]
Run = Callable[[], Any]
Answer = dict[str, Any]

MATRIX = 3072
MATRIX_RUNS = 4


def limit_threads(threads: int) -> None:
  """Ties this process to `threads` CPUs if the system can; call before any import."""
  os.environ["OMP_NUM_THREADS"] = str(threads)
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def peak_bytes() -> int:
  """Returns the peak of memory of this process (VmHWM), or 0 if unknown."""
  try:
    with open("/proc/self/status") as status:
      lines = [line for line in status if line.startswith("VmHWM:")]
  except OSError:
    return 0
  return int(lines[0].split()[1]) * 1024 if lines else 0


def seconds_of(run: Run) -> float:
  """Runs once; the run itself waits until its result is there."""
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


class Stages:
  """Seconds of each stage of a run; functions return when their work is done."""

  def __init__(self):
    self.seconds: dict[str, float] = {}

  def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, with its time added to a stage."""

    def call(*inputs: Any, **options: Any) -> Any:
      start = time.perf_counter()
      out = function(*inputs, **options)
      spent = time.perf_counter() - start
      self.seconds[name] = self.seconds.get(name, 0.0) + spent
      return out

    return call

  def around(self, name: str, run: Run) -> Run:
    """Returns a run with these stages; the time outside of them counts as `name`."""

    def whole() -> Any:
      self.seconds.clear()
      start = time.perf_counter()
      out = run()
      rest = time.perf_counter() - start - sum(self.seconds.values())
      self.seconds[name] = rest
      return out

    whole.stages = self
    return whole


def serve(
  build: Callable[[Spec], tuple[Run, Answer]],
  make_product: Callable[[int], Run],
  lines: IO[str],
  answer: Callable[[Answer], None],
) -> None:
  """Answers the driver until it says "end".

  Args:
    build: Function that takes a task and returns a warm run and {"warm_up": seconds}.
    make_product: Returns a function that multiplies two square float32 matrices.
    lines: Stream with the driver's lines.
    answer: Function that sends one answer.
  """
  start = time.perf_counter()
  run, times = build(json.loads(lines.readline()))
  times |= {"build": time.perf_counter() - start - times["warm_up"]}
  answer(times | {"figures": getattr(run, "figures", {})})
  for line in lines:
    if line.strip() == "run":
      found: Answer = {"seconds": seconds_of(run)}
      if hasattr(run, "stages"):
        found["stages"] = dict(run.stages.seconds)
      answer(found)
      continue
    if line.strip() == "peak":
      answer({"peak": _peak(run)})
      continue
    peak, product = _peak(run), make_product(MATRIX)
    fastest = min(seconds_of(product) for _ in range(MATRIX_RUNS))
    answer({"peak": peak, "rate": 2 * MATRIX**3 / fastest})
    return


def _peak(run: Run) -> int:
  """Returns the peak of memory in bytes, of the device if the run says it, or else of
  this process."""
  return getattr(run, "peak", peak_bytes)()


def answer_on_stdout() -> Callable[[Answer], None]:
  """Returns a function that sends answers; everything else printed goes to stderr."""
  out = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  sys.stdout = sys.stderr
  return lambda values: print(json.dumps(values), file=out, flush=True)
