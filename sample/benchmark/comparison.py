"""Runs a task on both sides in turn: the timing, and the figures."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ltx_jax.planning import memory
from ltx_jax.releases import presets
from sample.benchmark import report, tasks
from sample.benchmark.__main__ import Options
from sample.benchmark.processes import Side, Worker
from sample.benchmark.tasks import Task

MEMORY_TARGET = 1.1
AGREEMENT = 1e-4
"""Largest relative difference of a figure that both sides compute first."""

THEIRS = {"ltx-video": "theirs", "diffusers": "theirs_diffusers"}

_ACTIVATIONS = 2**30  # Bytes that a side may use besides the weights.


def measure(
  task: Task, sides: Sequence[Side], repeats: int, threads: int
) -> dict[str, Any]:
  """Times a task on all sides in turn; returns figures by side, and of the task.

  Raises:
    ValueError: If memory is too small, or a side fails.
  """
  _check_memory(task, len(sides))
  spec = json.dumps(task.spec | {"threads": threads})
  with contextlib.ExitStack() as stack:
    workers = [stack.enter_context(Worker(side, task.name)) for side in sides]
    # One after the other, so that building one does not disturb the other.
    figures = [worker.ask(spec) | {"seconds": []} for worker in workers]
    difference = _difference(task, figures)
    for _ in range(repeats):
      for worker, found in zip(workers, figures, strict=True):
        answer = worker.ask("run")
        found["seconds"].append(answer["seconds"])
        found.setdefault("stages", []).append(answer.get("stages", {}))
    for worker, found in zip(workers, figures, strict=True):
      found |= worker.ask("end")
  for found in figures:
    found["stages"] = _medians(found.pop("stages", []))
    found["median"] = statistics.median(found["seconds"])
    found["fastest"] = min(found["seconds"])
    found["share"] = task.flops / found["median"] / found["rate"]
  ours, theirs = figures
  return {
    "task": task.name,
    "flops": task.flops,
    "ours": ours,
    "theirs": theirs,
    "ratio": ours["median"] / theirs["median"],
    "target": task.target,
    "memory_ratio": ours["peak"] / theirs["peak"] if theirs["peak"] else None,
    "memory_target": MEMORY_TARGET,
    "difference": difference,
  }


def _difference(task: Task, sides: Sequence[dict[str, Any]]) -> float | None:
  """Returns the largest relative difference of the sides' first figures, if any.

  Raises:
    ValueError: If it is above `AGREEMENT`; the message names the figure.
  """
  ours, theirs = (side["figures"] for side in sides)
  found = {name: abs(ours[name] - value) / abs(value) for name, value in theirs.items()}
  if not found:
    return None
  worst = max(found, key=found.get)
  if not found[worst] <= AGREEMENT:
    raise ValueError(
      f"The two sides do not compute the same in '{task.name}': {worst} is "
      f"{ours[worst]:.7g} and {theirs[worst]:.7g}; figures must agree to {AGREEMENT:g}."
    )
  return found[worst]


def _medians(stages: Sequence[dict[str, float]]) -> dict[str, float]:
  """Returns the median seconds of each stage over the runs."""
  names = stages[0] if stages else ()
  return {name: statistics.median(each[name] for each in stages) for name in names}


def _check_memory(task: Task, sides: int) -> None:
  needed = sides * (4 * task.parameters + _ACTIVATIONS)
  free = memory.free_memory()
  if free is not None and needed > free:
    raise ValueError(
      f"'{task.name}' needs about {needed / 1e9:.1f} GB for both sides, but "
      f"{free / 1e9:.1f} GB are free; end other programs, or leave it out with --tasks."
    )


def sides_of(options: Options) -> list[Side]:
  """Returns the two sides: ours and the original's."""
  modules = (
    (sys.executable, "ours"),
    (options.against_python, THEIRS[options.against]),
  )
  names = "ltx-jax", options.against
  return [
    Side(name, (str(python), "-m", f"sample.benchmark.{module}", str(options.threads)))
    for name, (python, module) in zip(names, modules, strict=True)
  ]


def compare(options: Options, names: Sequence[str], console: Console) -> None:
  """Measures task by task, and prints the results.

  Raises:
    ValueError: If memory is too small, or a side fails.
  """
  against = options.against
  results = []
  with tempfile.TemporaryDirectory() as folder:
    make = tasks.BY_NAME | {
      "generate": lambda: _generation(options, Path(folder), console),
      "vae-training": lambda: _vae_training(options, Path(folder), console),
    }
    for name in names:
      with console.status(f"{name}: building and timing both sides"):
        task = make[name]()
        result = measure(task, sides_of(options), options.repeats, options.threads)
      results.append(result)
      console.print(f"{name}: {result['ratio']:.2f} times theirs", highlight=False)
  if options.json:
    print(json.dumps({"threads": options.threads, "results": results}, indent=2))
  else:
    console.print(report.table(results, against, options.threads))
    for line in report.markdown(results, against, options.threads):
      print(line)


def _generation(options: Options, folder: Path, console: Console) -> Task:
  if options.against != "diffusers":
    return tasks.generate(_checkpoint(options, folder, console))
  path = options.model or tasks.random_checkpoint(
    folder / "model.safetensors", tasks.EXPRESSIBLE_TRANSFORMER, tasks.EXPRESSIBLE_VAE
  )
  return tasks.for_diffusers(path, folder / "diffusers")


def _vae_training(options: Options, folder: Path, console: Console) -> Task:
  return tasks.vae_training(_checkpoint(options, folder, console), folder)


def _checkpoint(options: Options, folder: Path, console: Console) -> Path:
  if options.model is not None:
    return options.model
  shipped = presets.ASSETS / "moving_shapes" / "model.safetensors"
  if shipped.exists():
    return shipped
  console.print("note: the small model is not there; its weights are random here.")
  return tasks.random_checkpoint(folder / "model.safetensors")
