"""Measures as much as possible of an accelerator in a few minutes.

    python -m sample.benchmark device --output device

Weights have the released configurations, and are random and made on the device. So it
needs no files and no network, and only the packages jax, flax, optax, numpy, jaxtyping,
safetensors, rich and tyro. `device.json` and `device.md` in the output folder are
written again after every row, so a run that is cut short keeps its results. A row that
fails, or for which no time is left, becomes a sentence.

Rows run in a process of their own, one after another, because a device never resets its
peak of memory. If the PyTorch original can be imported, its velocity and its decode run
on the same device in bfloat16, and are compared with ours.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import cli, errors_in_words, nearest
from ltx_jax.planning.peaks import peak_of
from sample.benchmark.device import report
from sample.benchmark.device.original import measure_original
from sample.benchmark.device.rows import BY_NAME, ROWS, Row
from sample.benchmark.device.sizes import SIZES
from sample.benchmark.processes import Side, Worker

Result = dict[str, Any]

_COMMAND = (sys.executable, "-m", "sample.benchmark.device.worker")

_PATIENCE = 4.0  # A row that takes this many times its expected time is stopped.


@dataclasses.dataclass(frozen=True)
class Options:
  """What is measured."""

  output: Path = Path("device")
  """Folder for device.json and device.md."""

  seconds: float = 480.0
  """Time limit for all rows together, in seconds."""

  rows: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: all)")] = None
  """Rows to measure, separated by commas; they run in the table's order."""

  size: Literal["full", "tiny"] = "full"
  """Released networks, or tiny ones that only show whether all rows run."""

  against_python: Path = Path(sys.executable)
  """Python interpreter that may have the PyTorch original."""


class Device:
  """The measuring process, which is started when it is needed.

  A process on a device that counts its peak of memory measures only one row.
  """

  def __init__(self, size: str, cache: str):
    self.size, self._environment = size, _environment(cache)
    self._worker: Worker | None = None
    self.about: dict[str, Any] = {}

  def start(self) -> None:
    """Starts the process unless it runs, and asks for the device."""
    if self._worker is None:
      self._worker = Worker(Side("ltx-jax", _COMMAND), "start", self._environment)
      self.about = self._worker.ask("")

  def measure(self, row: Row, *, compiling: bool, timeout: float) -> Result:
    """Returns the worker's answer; if the worker ends, that counts as a failure."""
    self.start()
    self._worker.task = row.name
    request = {"row": row.name, "size": self.size, "compiling": compiling}
    try:
      found = self._worker.ask(json.dumps(request), max(timeout, 1.0))
    except ValueError as error:
      self.stop()
      return {"failed": str(error)}
    if self.about["counts_peak"]:
      self.stop()
    return found

  def stop(self) -> None:
    """Ends the process, which frees the device."""
    if self._worker is not None:
      self._worker.__exit__(None, None, None)
      self._worker = None


def _environment(cache: str) -> dict[str, str]:
  """Returns the process's variables: a compile cache of this run, and memory."""
  given = {
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92",  # It is alone there.
    "HF_HUB_OFFLINE": "1",
  }
  ours = {
    "JAX_COMPILATION_CACHE_DIR": cache,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return given | os.environ | ours


def chosen(names: str | None) -> list[Row]:
  """Returns the named rows, in the table's order; None returns all.

  Raises:
    ValueError: If one is unknown; the message suggests the nearest.
  """
  if names is None:
    return list(ROWS)
  asked = {name.strip() for name in names.split(",") if name.strip()}
  for name in sorted(asked):
    if name not in BY_NAME:
      known = ", ".join(BY_NAME)
      raise ValueError(
        f"No row is called {name!r}; {nearest(name, list(BY_NAME))} There are {known}."
      )
  if not asked:
    raise ValueError(f"--rows names none; there are {', '.join(BY_NAME)}.")
  return [row for row in ROWS if row.name in asked]


def run(options: Options, rows: Sequence[Row], console: Console) -> Result:
  """Measures row by row, and returns what is written.

  Raises:
    ValueError: If the device cannot be started.
  """
  end = time.monotonic() + options.seconds
  words = SIZES[options.size].words
  with tempfile.TemporaryDirectory() as cache:
    device = Device(options.size, cache)
    try:
      device.start()
      found = _head(options, device)
      report.write(options.output, found)
      for row in rows:
        entry = {"row": row.name, "what": row.what.format(**words)}
        entry |= _measured(options, device, row, found["rows"], end)
        found["rows"].append(_finished(entry, device.about))
        report.write(options.output, found)
        console.print(report.line(entry), markup=False, highlight=False)
    finally:
      device.stop()
  return found


def _head(options: Options, device: Device) -> Result:
  now = datetime.datetime.now(datetime.UTC)
  about = {name: device.about[name] for name in report.ABOUT}
  date = now.strftime("%Y-%m-%d %H:%M UTC")
  return {"date": date, "size": options.size, **about, "rows": []}


def _measured(
  options: Options, device: Device, row: Row, before: list[Result], end: float
) -> Result:
  """Measures a row, or says why it is not measured."""
  left = max(0.0, end - time.monotonic())
  expected = row.expected * SIZES[options.size].pace
  if row.missing:
    return {"not_run": row.missing}
  if left < expected:
    return {"not_run": f"{left:.0f} s were left, and it takes about {expected:.0f} s"}
  timeout = min(left, _PATIENCE * row.expected)
  if row.make is not None:
    first = not any("median" in entry or "failed" in entry for entry in before)
    return device.measure(row, compiling=first, timeout=timeout)
  device.stop()  # The original needs the memory.
  found = measure_original(
    options.against_python,
    row.original_of,
    SIZES[options.size],
    device.about["platform"],
    timeout,
  )
  ours = [each for each in before if each["row"] == row.original_of]
  if "median" in found and ours and "median" in ours[0]:
    found["ratio"] = ours[0]["median"] / found["median"]
  return found


def _finished(entry: Result, about: dict[str, Any]) -> Result:
  """Adds values that follow from the figures."""
  peak = peak_of(about["device"])
  if "median" in entry:
    rate = entry["flops"] / entry["median"]
    entry |= {"rate": rate, "share": rate / peak if peak else None}
  return entry


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, measures, and says where the table is.

  Args:
    argv: Arguments that replace the process's own.
  """
  program = "python -m sample.benchmark device"
  options = cli(Options, argv, program=program, about=__doc__)
  with errors_in_words():
    if not options.seconds > 0:
      raise ValueError(f"--seconds is {options.seconds}; it must be above 0.")
    rows = chosen(options.rows)
    options.output.mkdir(parents=True, exist_ok=True)
    run(options, rows, Console(soft_wrap=True))
    print(f"wrote {options.output / report.MARKDOWN}")
