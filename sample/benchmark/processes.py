"""Processes of `sample.benchmark`, which it asks with a line of JSON at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass(frozen=True)
class Side:
  """One side of the comparison: its name in the table and its worker's command."""

  name: str
  command: tuple[str, ...]


class Worker(contextlib.AbstractContextManager):
  """A process that answers lines with JSON (`worker`).

  Args:
    side: Side that the process belongs to.
    task: Name of the task, for messages.
    environment: Environment variables; None uses those of this process.
  """

  def __init__(
    self, side: Side, task: str, environment: Mapping[str, str] | None = None
  ):
    self.side, self.task = side, task
    self._errors = tempfile.TemporaryFile("w+")
    self._process = subprocess.Popen(
      side.command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      text=True,
      cwd=ROOT,
      env=environment,
    )

  def ask(self, line: str, timeout: float | None = None) -> dict[str, Any]:
    """Sends a line and waits for its answer.

    Args:
      line: Line for the process.
      timeout: Seconds after which the process is ended; None waits forever.

    Raises:
      ValueError: If the process ended instead; the message has its last words. Also if
        it was ended after `timeout`.
    """
    answer, late = "", threading.Event()
    with _ended_after(self._process, timeout, late):
      with contextlib.suppress(BrokenPipeError):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
    if answer:
      return json.loads(answer)
    code = self._process.wait()
    if late.is_set():
      raise ValueError(
        f"The process of {self.side.name} was ended in '{self.task}' after "
        f"{timeout:.0f} s, when the time was up."
      )
    self._errors.seek(0)
    said = self._errors.read().strip().splitlines() or ["it said nothing"]
    raise ValueError(
      f"The process of {self.side.name} ended in '{self.task}' with code {code}: "
      f"{said[-1]}"
    )

  def __exit__(self, *_: object) -> None:
    self._process.kill()
    self._process.communicate()
    self._errors.close()


@contextlib.contextmanager
def _ended_after(
  process: subprocess.Popen, seconds: float | None, late: threading.Event
) -> Iterator[None]:
  """Ends a process that still runs after `timeout`, and sets `late`."""
  if seconds is None:
    yield
    return

  def end() -> None:
    late.set()
    process.kill()

  timer = threading.Timer(seconds, end)
  timer.start()
  try:
    yield
  finally:
    timer.cancel()
