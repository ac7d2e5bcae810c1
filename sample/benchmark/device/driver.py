"""Measures all that an accelerator can tell in a few minutes.

    python -m sample.benchmark device --output device

Weights of the released configurations are random and made on the device; no file and
no network is needed, and of packages only jax, flax, optax, numpy, jaxtyping,
safetensors, rich and tyro. `device.json` and `device.md` in the output folder are
written again after every row, so that a run that is cut short keeps what it measured.
A row that fails is a sentence, and so is one for which no time is left.

Rows run in a process of their own, one after the other, since a device never forgets
the most memory that it held. Where the PyTorch original can be imported, its velocity
and its decode run on the same device in bfloat16, and are compared with ours.
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

_PATIENCE = 4.0  # A row that takes so many times what is expected leaves to the others.


@dataclasses.dataclass(frozen=True)
class Options:
  """What is measured."""

  output: Path = Path("device")
  """Folder for device.json and device.md."""

  seconds: float = 480.0
  """Time for all rows together."""

  rows: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: all)")] = None
  """Names of rows with commas between; they run in the table's order."""

  size: Literal["full", "tiny"] = "full"
  """Released networks, or ones of no size that show whether all rows run."""

  against_python: Path = Path(sys.executable)
  """Interpreter that may have the PyTorch original."""


class Device:
  """The process that measures, started when it is needed.

  One that measured on a device which counts its peak of memory is not asked again.
  """

  def __init__(self, size: str, cache: str):
    self.size, self._environment = size, _environment(cache)
    self._worker: Worker | None = None
    self.about: dict[str, Any] = {}

  def start(self) -> None:
    """Starts the process, unless it runs, and learns what the device is."""
    if self._worker is None:
      self._worker = Worker(Side("ltx-jax", _COMMAND), "start", self._environment)
      self.about = self._worker.ask("")

  def measure(self, row: Row, *, compiling: bool, timeout: float) -> Result:
    """Returns what the worker answers; that it ended is a failure like others."""
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
    """Ends the process, which gives the device back."""
    if self._worker is not None:
      self._worker.__exit__(None, None, None)
      self._worker = None


def _environment(cache: str) -> dict[str, str]:
  """Variables of the process: a compile cache of this run's, and most of the memory."""
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
  """Returns the rows that are named, in the table's order; None names all.

  Raises:
    ValueError: for an unknown one, suggesting the nearest.
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
  """Measures row by row; returns what is written.

  Raises:
    ValueError: where the device cannot be started.
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
  """Measures a row, or says why it is not."""
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
  """Adds what follows from the figures."""
  peak = peak_of(about["device"])
  if "median" in entry:
    rate = entry["flops"] / entry["median"]
    entry |= {"rate": rate, "share": rate / peak if peak else None}
  return entry


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, measures, and says where the table is.

  Args:
    argv: Arguments in place of the process's own.
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
