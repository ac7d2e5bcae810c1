"""The PyTorch original on the same device: bfloat16, with PyTorch's fused attention.

It runs in a process that has torch but nothing of this package (`theirs`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from sample.benchmark import tasks
from sample.benchmark.device.sizes import Sizes
from sample.benchmark.processes import Side, Worker

_NEEDED = ("torch", "ltx_video", "diffusers")
_RUNS = 5
_PLATFORMS = {"gpu": "cuda", "cpu": "cpu"}


def measure_original(
  python: Path, task: str, sizes: Sizes, platform: str, timeout: float
) -> dict[str, Any]:
  """Times the original, or says why it cannot.

  Args:
    python: Python interpreter that may have it.
    task: "velocity" or "decode".
    sizes: Networks and clip.
    platform: Platform of the device, as JAX names it.
    timeout: Time limit in seconds.
  """
  if platform not in _PLATFORMS:
    return {"not_run": f"the original does not run on a {platform}"}
  if missing := _lacks(python):
    return {"not_run": f"the PyTorch original is not installed: {missing}"}
  made = {
    "velocity": lambda: tasks.velocity(
      sizes.model.transformer, sizes.tokens, sizes.text_tokens
    ),
    "decode": lambda: tasks.decode(sizes.model.vae, sizes.video),
  }[task]()
  threads = os.cpu_count() or 1
  spec = made.spec | {
    "threads": threads,
    "device": _PLATFORMS[platform],
    "dtype": "bfloat16",
  }
  command = str(python), "-m", "sample.benchmark.theirs", str(threads)
  end = time.monotonic() + timeout
  try:
    with Worker(Side("ltx-video", command), task) as worker:
      built = worker.ask(json.dumps(spec), end - time.monotonic())
      seconds = [
        worker.ask("run", end - time.monotonic())["seconds"] for _ in range(_RUNS)
      ]
      peak = worker.ask("peak", end - time.monotonic())["peak"]
  except ValueError as error:
    return {"failed": str(error)}
  return {
    "seconds": seconds,
    "median": statistics.median(seconds),
    "fastest": min(seconds),
    "slowest": max(seconds),
    "flops": made.flops,
    "planned_bytes": None,
    "peak_bytes": peak,
    "figures": {},
    "versions": built["versions"],
  }


def _lacks(python: Path) -> str:
  """Names the packages of the original that an interpreter lacks."""
  code = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:]"
  code += " if u.find_spec(n) is None))"
  command = [str(python), "-c", code, *_NEEDED]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return f"{python} is not a working Python"
  return done.stdout.strip() and f"{python} lacks {', '.join(done.stdout.split())}"
