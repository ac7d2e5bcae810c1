"""Workers: each keeps a child process that opens files, and outlives it.

A child that takes too long is ended, one that dies is replaced, and the file gets its
decision, `timeout` or `crashed`. So a worker never fails, which would end the whole
run or, where it is started again for ever, never end it.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ltx_jax.curation import frames
from ltx_jax.curation.clip import Clip, Decision, from_json, to_json
from ltx_jax.errors import said
from ltx_jax.files import parse_json
from train.curation.folder import Folder, Part, commit

ROOT = Path(__file__).parents[2]
"""The repository: the child imports its packages from here."""

OUT_OF_MEMORY = 77
"""Exit code of a child that was refused memory."""

_KILLED = "its decoder died of SIGKILL"
_START = 120  # Seconds, on a busy machine.
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # A worker has a core.


@dataclasses.dataclass(frozen=True)
class Limits:
  """What the process that opens a file may take."""

  seconds: float = 600.0
  """Seconds for one span of a file, at most 5 minutes of video."""

  memory: float = 2.0
  """Gigabytes of memory."""


class Child:
  """A process that answers pieces of work, replaced when it died.

  Args:
    limits: What it may take.
    module: What it runs.
  """

  def __init__(self, limits: Limits, module: str = "train.curation.child"):
    self._limits, self._module, self._process = limits, module, None

  def ask(self, work: bytes) -> dict[str, Any] | Decision:
    """Returns the answer to a piece of work, or why there is none.

    No file kills its decoder with SIGKILL, but people and full memories do. So work
    that ended this way is done once more.
    """
    answer = self._answer(work)
    killed = isinstance(answer, Decision) and answer.value == _KILLED
    return self._answer(work) if killed else answer

  def _answer(self, work: bytes) -> dict[str, Any] | Decision:
    process = self._process = self._process or self._started()
    try:
      process.stdin.write(work + b"\n")
      process.stdin.flush()
      line = _line(process, self._limits.seconds)
    except BrokenPipeError:
      line = b""
    if line is None:
      self.close()
      return frames.refused("timeout", self._limits.seconds, self._limits.seconds)
    if not line.endswith(b"\n"):
      return frames.refused("crashed", self._death())
    answer = parse_json(line)
    if "failed" in answer:
      return frames.refused("crashed", answer["failed"])
    return answer

  @property
  def pid(self) -> int | None:
    """Number of the process; None while there is none."""
    return self._process and self._process.pid

  def close(self) -> None:
    """Ends the process."""
    if self._process is not None:
      _end(self._process)
      self._process = None

  def _started(self) -> subprocess.Popen:
    memory = int(self._limits.memory * 1e9)
    command = ["-m", self._module, str(memory)]
    process = subprocess.Popen(
      [sys.executable, *command],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      cwd=ROOT,
      env=os.environ | _ALONE | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    if not _line(process, _START):
      _end(process)
      raise RuntimeError(f"{' '.join(process.args)} did not start within {_START} s")
    return process

  def _death(self) -> str:
    """Returns how the process ended, the same words for the same end."""
    process, self._process = self._process, None
    process.stdin.close()
    process.stdout.close()
    code = process.wait()
    if code < 0:
      return f"its decoder died of {signal.Signals(-code).name}"
    if code == OUT_OF_MEMORY:
      return f"its decoder took more than {self._limits.memory:g} GB of memory"
    return f"its decoder ended with code {code}"


def _end(process: subprocess.Popen) -> None:
  process.kill()
  process.communicate()


def _line(process: subprocess.Popen, seconds: float) -> bytes | None:
  """Returns a line, a part of one if the process died, or None if it takes too long."""
  end, parts = time.monotonic() + seconds, []
  descriptor = process.stdout.fileno()
  while not (parts and parts[-1].endswith(b"\n")):
    left = end - time.monotonic()
    if left <= 0 or not select.select([descriptor], [], [], left)[0]:
      return None
    parts.append(os.read(descriptor, 1 << 20))
    if not parts[-1]:
      break
  return b"".join(parts)


_children: dict[Limits, Child] = {}


def perform(work: bytes) -> bytes:
  """Does a piece of work in this worker's child, and commits what it measured.

  Args:
    work: JSON that `probing` or `measuring` made.

  Returns:
    JSON: the answer to a probe; of a measurement, its span and number of clips.

  Raises:
    OSError: If the result cannot be written.
  """
  given = parse_json(work)
  limits = Limits(**given["limits"])
  if limits not in _children:
    _children[limits] = Child(limits)
    atexit.register(_children[limits].close)
  answer = _children[limits].ask(work)
  if given["task"] == "probe":
    answer = {"decision": to_json(answer)} if isinstance(answer, Decision) else answer
    known = {"id": given["id"], "path": given["path"]}
    return json.dumps(known | {"bytes": size_of(given["path"])} | answer).encode()
  if isinstance(answer, Decision):
    part = Part(given["span"], answer)
  else:
    if "unwritten" in answer:
      raise OSError(answer["unwritten"])
    decision = answer.get("decision")
    clips = tuple(from_json(Clip, row) for row in answer.get("clips", ()))
    part = Part(given["span"], decision and from_json(Decision, decision), clips)
  try:
    commit(Folder(Path(given["folder"])), part)
  except OSError as error:
    raise OSError(unwritten(error)) from None
  return json.dumps({"span": part.span, "clips": len(part.clips)}).encode()


def unwritten(error: OSError) -> str:
  """Returns the sentence that a result could not be written."""
  return (
    f"{error.filename} cannot be written ({said(error)}); make room there, and start "
    "again: what was measured is not lost."
  )


def size_of(path: str) -> int:
  """Returns a file's bytes, by which a change is noticed; -1 if it is not there."""
  return os.path.getsize(path) if os.path.isfile(path) else -1


def probing(path: str, identity: str, limits: Limits) -> bytes:
  """Returns the work of looking at a file."""
  work = {"task": "probe", "path": path, "id": identity}
  return json.dumps(work | {"limits": dataclasses.asdict(limits)}).encode()


def measuring(folder: Folder, span: Any, limits: Limits) -> bytes:
  """Returns the work of measuring a span."""
  work = {"task": "measure", "span": span.id, "number": span.number}
  work |= {"source": to_json(span.source), "folder": str(folder.root)}
  return json.dumps(work | {"limits": dataclasses.asdict(limits)}).encode()
