"""Shared by the programs: errors in a sentence, a compile cache, a clock, a bar."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
  BarColumn,
  DownloadColumn,
  MofNCompleteColumn,
  Progress,
  TaskProgressColumn,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
  TransferSpeedColumn,
)

from ltx_jax.cli.program import run as run

_COMPILE_EVENTS = "/jax/core/compile/"


def use_compile_cache() -> None:
  """Keeps compiled programs between runs, unless JAX has a cache folder already."""
  if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(cache_folder("xla")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def text_cache(given: str | None) -> Path | None:
  """Returns the folder of encoded prompts: the given one, the user's cache, or None."""
  if given == "off":
    return None
  return cache_folder("text") if given is None else Path(given)


def cache_folder(name: str) -> Path:
  """Returns the folder for things kept between runs under a name."""
  base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(base) / "ltx-jax" / name


def counted(number: int, what: str) -> str:
  """Returns a number with its noun: 1 frame, 2 frames."""
  return f"{number} {what}" + ("" if number == 1 else "s")


def path_and_strength(text: str) -> tuple[str, float]:
  """Splits `PATH:STRENGTH`; without a number after the last colon, all is the path."""
  path, colon, strength = text.rpartition(":")
  try:
    return (path, float(strength)) if colon and path else (text, 1.0)
  except ValueError:
    return text, 1.0


def path_frame_strength(text: str) -> tuple[str, int, float]:
  """Splits `PATH[@FRAME][:STRENGTH]`; the defaults are frame 0 and strength 1."""
  rest, strength = path_and_strength(text)
  path, at, frame = rest.rpartition("@")
  try:
    return (path, int(frame), strength) if at and path else (rest, 0, strength)
  except ValueError:
    return rest, 0, strength


class NotesHandler(logging.Handler):
  """Prints the library's notes, such as about a size that it rounds."""

  def __init__(self, console: Console):
    super().__init__(logging.INFO)
    self.console = console
    self.said: set[str] = set()

  def emit(self, record: logging.LogRecord) -> None:
    """Prints one note, unless it was printed before."""
    note = record.getMessage()
    if note not in self.said:
      self.said.add(note)
      self.console.print(f"note: {note}", highlight=False, markup=False)


def show_notes(console: Console) -> None:
  """Shows the library's notes on `console`, once each."""
  logger = logging.getLogger("ltx_jax")
  logger.handlers = [NotesHandler(console)]
  logger.propagate = False


class Clock:
  """Seconds by stage, with the time of compilation taken out and counted separately.

  JAX reports traces, lowerings and compilations when they end, and they nest. So the
  clock counts the time that at least one of them covers.
  """

  def __init__(self) -> None:
    self.seconds: dict[str, float] = {"compile": 0.0}
    self._busy: list[tuple[float, float]] = []

  def __enter__(self) -> Clock:
    jax.monitoring.register_event_duration_secs_listener(self._record)
    return self

  def __exit__(self, *_: object) -> None:
    jax.monitoring.unregister_event_duration_listener(self._record)

  def _record(self, event: str, duration: float, **_: Any) -> None:
    if not event.startswith(_COMPILE_EVENTS):
      return
    end = time.perf_counter()
    start = end - duration
    while self._busy and self._busy[-1][1] > start:
      start = min(start, self._busy.pop()[0])
    self._busy.append((start, end))

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[Callable[[Any], Any]]:
    """Adds the time spent inside to `name`, except compilation, which has its own
    entry.

    It yields a function that waits for arrays, so that their time counts.
    """
    start, compiled = time.perf_counter(), self._compiled()
    yield jax.block_until_ready
    compiling = self._compiled() - compiled
    whole = time.perf_counter() - start
    self.seconds["compile"] += compiling
    self.seconds[name] = self.seconds.get(name, 0.0) + whole - compiling

  def _compiled(self) -> float:
    return sum((end - start for start, end in self._busy), 0.0)

  def summary(self) -> str:
    """Returns one line: seconds by stage, in the order of their first entry."""
    return ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items())


@contextlib.contextmanager
def step_bar(console: Console) -> Iterator[Callable[[int, int, Any], None]]:
  """Yields a progress bar with the remaining time, to be passed as `on_step`.

  A call waits for the previous step. So the bar is at most one step ahead of the
  device, and the device always has a step to compute.
  """
  columns = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("steps,"),
    TimeElapsedColumn(),
    TextColumn("so far,"),
    TimeRemainingColumn(),
    TextColumn("left"),
  )
  shown = {"transient": True, "disable": not console.is_terminal}
  with Progress(*columns, console=console, **shown) as progress:
    task = progress.add_task("compile", total=None)
    previous = []

    def on_step(i: int, steps: int, latents: Any) -> None:
      for earlier in previous:
        jax.block_until_ready(earlier)
      previous[:] = [latents]
      # After the last step the bar stands still while the video is decoded.
      doing = "denoise" if i + 1 < steps else "last step, decode"
      progress.update(task, total=steps, completed=i, description=doing)

    yield on_step


@contextlib.contextmanager
def byte_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
  """Yields a progress bar in bytes; it takes the bytes done and the total."""
  columns = (
    TextColumn(what),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
    TextColumn("left"),
  )
  shown = {"transient": True, "disable": not console.is_terminal}
  with Progress(*columns, console=console, **shown) as progress:
    task = progress.add_task(what, total=None)
    yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def work_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
  """Yields a progress bar with the remaining time, in shares of the work.

  It takes what is done now, the work done so far, and all the work, in any unit. If the
  latter changes, the bar and its estimate begin anew.
  """
  columns = (
    TextColumn("{task.description}"),
    BarColumn(),
    TaskProgressColumn(),
    TimeElapsedColumn(),
    TextColumn("so far,"),
    TimeRemainingColumn(),
    TextColumn("left"),
  )
  shown = {"transient": True, "disable": not console.is_terminal}
  with Progress(*columns, console=console, **shown) as progress:
    task = progress.add_task("", total=None)

    def on_work(doing: str, done: int, total: int) -> None:
      if progress.tasks[0].total not in (None, total):
        progress.reset(task)
      progress.update(task, description=doing, completed=done, total=total)

    yield on_work
