"""Time and memory next to the PyTorch original, each side in its own process.

The original runs in this interpreter, or in ORACLE_PYTHON. The machine must do nothing
else. The rate is that at which a side multiplies large matrices there. If all of the
work is matrix products, as in a velocity, no ratio can be below the last one;
convolutions may need fewer products than are counted (`models.winograd`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

NAME = "Seconds and memory against the PyTorch original, two CPU cores, float32"
COMMAND = "ORACLE_PYTHON=/path/to/python python -m tests.verify benchmark"

ROOT = Path(__file__).resolve().parent.parent.parent


def run() -> list[dict]:
  python = os.environ.get("ORACLE_PYTHON", sys.executable)
  command = [sys.executable, "-m", "sample.benchmark", "--against", "ltx-video"]
  command += ["--against-python", python, "--json"]
  done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
  if done.returncode:
    raise RuntimeError(f"the benchmark ended with {done.returncode}")
  rows = []
  for result in json.loads(done.stdout)["results"]:
    rows += rows_of(result)
  return rows


def rows_of(result: dict) -> list[dict]:
  """Rows for one task: both ratios, with their figures."""
  name, ours, theirs = result["task"], result["ours"], result["theirs"]
  tflop, gb = result["flops"] / 1e12, 1e9

  def row(figure: str, value: float, unit: str, limit: float | None) -> dict:
    ok = limit is None or bool(value <= limit)
    target = "" if limit is None else f"at most {limit:g}"
    return {
      "figure": f"{name}: {figure}",
      "value": value,
      "unit": unit,
      "target": target,
      "ok": ok,
    }

  least = result["flops"] / ours["rate"] / theirs["median"]
  medians = f"{ours['median']:.2f} s over {theirs['median']:.2f} s"
  peaks = f"{ours['peak'] / gb:.2f} GB over {theirs['peak'] / gb:.2f} GB"
  return [
    row(
      f"seconds, ours over theirs ({medians})", result["ratio"], "", result["target"]
    ),
    row(
      f"peak memory, ours over theirs ({peaks})",
      result["memory_ratio"],
      "",
      result["memory_target"],
    ),
    row(f"share of the matmul rate, {tflop:.2f} TFLOP", 100 * ours["share"], "%", None),
    row("theirs of their own", 100 * theirs["share"], "%", None),
    row("ratio if we only multiplied, at our full rate", least, "", None),
  ]
