"""The results of the device benchmark, as JSON and as Markdown for the docs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Result = dict[str, Any]

JSON = "device.json"
MARKDOWN = "device.md"
ABOUT = ("device", "platform", "memory_bytes", "runtime", "jax")

_HEAD = (
  "| row | median | fastest to slowest | TFLOP | TFLOP/s | of peak | memory, GB "
  "| planned | also |",
  "|---|---|---|---|---|---|---|---|---|",
)


def write(folder: Path, found: Result) -> None:
  """Writes both files; each is complete at any time."""
  _replace(folder / JSON, json.dumps(found, indent=2) + "\n")
  _replace(folder / MARKDOWN, "\n".join(markdown(found)) + "\n")


def _replace(path: Path, text: str) -> None:
  temporary = path.with_name(path.name + ".part")
  temporary.write_text(text)
  os.replace(temporary, path)


def markdown(found: Result) -> list[str]:
  """Returns the lines of a table, after a sentence that says where and when."""
  memory = found["memory_bytes"]
  of = f" ({memory / 1e9:.0f} GB)" if memory else ""
  about = (
    f"Measured on {found['device']}{of}, {found['date']}, jax {found['jax']}, "
    f"{found['size']} sizes; {found['runtime']}."
  )
  return [about, "", *_HEAD, *(_row(entry) for entry in found["rows"])]


def line(entry: Result) -> str:
  """Returns one line with a row's result."""
  if "median" not in entry:
    return f"{entry['row']}: {_why(entry)}"
  said = f"{entry['row']}: {_time(entry['median'])}"
  if entry["share"] is not None:
    said += f", {100 * entry['share']:.0f} % of the peak"
  also = _also(entry)
  return f"{said}, {also}" if also else said


def _row(entry: Result) -> str:
  if "median" not in entry:
    cells = [entry["what"], _why(entry), *[""] * 7]
  else:
    share = entry["share"]
    cells = [
      entry["what"],
      _time(entry["median"]),
      f"{_time(entry['fastest'])} to {_time(entry['slowest'])}",
      f"{entry['flops'] / 1e12:.3g}",
      f"{entry['rate'] / 1e12:.3g}",
      "?" if share is None else f"{100 * share:.0f} %",
      _gigabytes(entry["peak_bytes"]),
      _gigabytes(entry["planned_bytes"]),
      _also(entry),
    ]
  return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _why(entry: Result) -> str:
  if "failed" in entry:
    return f"failed: {entry['failed']}"
  return f"not run: {entry['not_run']}"


def _time(seconds: float) -> str:
  return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _gigabytes(size: int | None) -> str:
  return "?" if size is None else f"{size / 1e9:.2f}"


def _also(entry: Result) -> str:
  parts = [f"{name} {_figure(name, value)}" for name, value in entry["figures"].items()]
  if "ratio" in entry:
    parts.append(f"ours over theirs {entry['ratio']:.2g}")
  parts += [f"{name} {of}" for name, of in entry.get("versions", {}).items()]
  return ", ".join(parts)


def _figure(name: str, value: float) -> str:
  return f"{value:.1e}" if name.startswith("error") else _time(value)
