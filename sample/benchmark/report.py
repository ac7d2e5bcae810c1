"""The results of `sample.benchmark`, as a table and as rows for a README."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

Result = dict[str, Any]

_HEAD = (
  "| task | where | ours | theirs | ours over theirs | memory |",
  "|---|---|---|---|---|---|",
)


def machine() -> str:
  """Returns the processor's name, if the system tells it."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
  return names[0] if names else platform.processor() or platform.machine()


def markdown(results: Sequence[Result], against: str, threads: int) -> list[str]:
  """Returns lines to paste: seconds by stage, device, dtype, versions."""
  rows = []
  for result in results:
    ours, theirs = result["ours"], result["theirs"]
    where = f"{machine()}, {threads} CPUs, float32"
    sides = (f"{_seconds(side)}; {_versions(side)}" for side in (ours, theirs))
    memory = result["memory_ratio"]
    cells = (
      f"{result['task']}, against {against}",
      where,
      *sides,
      f"{result['ratio']:.2f}",
      "?" if memory is None else f"{memory:.2f}",
    )
    rows.append(f"| {' | '.join(cells)} |")
  return [*_HEAD, *rows]


def _seconds(side: Result) -> str:
  whole = f"{side['median']:.2f} s"
  stages = [f"{name} {value:.2f}" for name, value in side.get("stages", {}).items()]
  return f"{whole} ({', '.join(stages)})" if stages else whole


def _versions(side: Result) -> str:
  return ", ".join(f"{name} {of}" for name, of in side.get("versions", {}).items())


def table(results: Sequence[Result], against: str, threads: int) -> Table:
  """Returns a table of the results, one row per task."""
  rates = {
    side: statistics.median(result[side]["rate"] for result in results) / 1e9
    for side in ("ours", "theirs")
  }
  caption = (
    f"{threads} CPUs a side. Seconds: median (fastest). Share: of the rate at which "
    f"that side multiplies large matrices here ({rates['ours']:.0f} and "
    f"{rates['theirs']:.0f} GFLOP/s)."
  )
  title = f"ltx-jax against {against}, float32, on {machine()}"
  out = Table(title=title, caption=caption)
  headers = ("task", "TFLOP", "ours s", "theirs s", "ratio", "target", "share ours")
  headers += ("theirs", "GB ours", "theirs", "ratio", "target")
  for name in (*headers, "compile s"):
    out.add_column(name, justify="left" if name == "task" else "right")
  for result in results:
    ours, theirs = result["ours"], result["theirs"]
    seconds = (f"{s['median']:.2f} ({s['fastest']:.2f})" for s in (ours, theirs))
    out.add_row(
      result["task"],
      f"{result['flops'] / 1e12:.3g}",
      *seconds,
      *_against(result["ratio"], result["target"]),
      *(f"{100 * side['share']:.0f} %" for side in (ours, theirs)),
      *(f"{side['peak'] / 1e9:.2f}" for side in (ours, theirs)),
      *_against(result["memory_ratio"], result["memory_target"]),
      f"{ours.get('compile', 0):.1f}",
    )
  return out


def _against(ratio: float | None, target: float | None) -> tuple[str, str]:
  """Returns a ratio, green if it meets its target and red if not, and the target."""
  if ratio is None:
    return "?", ""
  if target is None:
    return f"{ratio:.2f}", ""
  colour = "green" if ratio <= target else "red"
  return f"[{colour}]{ratio:.2f}[/{colour}]", f"<= {target:g}"
