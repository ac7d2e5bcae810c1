"""Votes that are never lost, and never changed without a trace.

Each vote is a line of JSON with the hash of the line before it, the first one with that
of the study. So a line that is edited, moved or taken out breaks the chain, and results
say where; lines cut off the end are missed only by the owner who kept the last hash.

A vote is acknowledged after its line was written and synced to disk. One thread writes
what has arrived in the meantime as one batch with one sync. A batch that cannot be
written is taken back whole, so that the file always ends with a complete line.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from ltx_jax.data.partial import sync_folder
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json

_BATCH = 256
_STOP = None


class Chain(NamedTuple):
  """Votes as they were read.

  Attributes:
    rows: The votes in order, each without the hash of the line before it.
    head: Hash of the last line.
    fault: What is wrong with the first broken line; "" if nothing is.
  """

  rows: list[dict[str, Any]]
  head: str
  fault: str


def read(path: Path, start: str) -> Chain:
  """Reads votes; a last line without its end is ignored.

  Args:
    path: File of votes; it may be missing.
    start: Hash of the study.

  Returns:
    All votes that can be read, also those after a broken line.
  """
  content = path.read_bytes() if path.is_file() else b""
  rows, head, fault = [], start, ""
  for number, line in enumerate(content.split(b"\n")[:-1], start=1):
    try:
      row = parse_json(line)
      if not isinstance(row, dict) or "prev" not in row:
        raise NotJSON("it is no vote")
      if row.pop("prev") != head and not fault:
        fault = f"line {number} does not follow from the line before it"
      if row.get("study") != start and not fault:
        fault = f"line {number} is of the study {shown(row.get('study'))}"
      rows.append(row)
    except NotJSON as error:
      fault = fault or f"line {number} cannot be read ({error})"
    head = hashlib.sha256(line).hexdigest()
  return Chain(rows, head, fault)


def set_torn_aside(path: Path, torn: Path) -> int:
  """Moves a last line without its end to another file; returns its bytes.

  A kill or a power cut while a line was being written leaves one. Nobody was told that
  its vote is saved, so the page sends it again.
  """
  content = path.read_bytes() if path.is_file() else b""
  whole = content.rfind(b"\n") + 1
  if whole == len(content):
    return 0
  with torn.open("ab") as file:
    file.write(content[whole:] + b"\n")
    file.flush()
    os.fsync(file.fileno())
  os.truncate(path, whole)
  return len(content) - whole


class Ledger:
  """Appends votes to a file, as its only writer."""

  def __init__(self, path: Path, head: str):
    """Opens a file whose last line has its end.

    Args:
      path: File of votes; it is created if it does not exist.
      head: Hash of its last line, or of the study.

    Raises:
      ValueError: If another program writes to it.
    """
    self.head, self._path = head, path
    self._file = open(path, "ab", buffering=0)
    try:
      fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      self._file.close()
      raise ValueError(
        f"Another program writes to {path}; end it first, a study has one server."
      ) from None
    sync_folder(path.parent)
    self._length = self._file.seek(0, 2)
    self._broken: OSError | None = None
    self._queue: queue.SimpleQueue = queue.SimpleQueue()
    self._closed = False
    self._lock = threading.Lock()
    self._thread = threading.Thread(target=self._work, name="votes", daemon=True)
    self._thread.start()

  def append(self, row: Mapping[str, Any]) -> Future:
    """Returns what ends when the line is on disk, or with an OSError if it is not."""
    future: Future = Future()
    with self._lock:
      if self._closed:
        future.set_exception(OSError("the file of votes is closed"))
      else:
        self._queue.put((row, future))
    return future

  def close(self) -> None:
    """Writes what has arrived, and closes the file."""
    with self._lock:
      if self._closed:
        return
      self._closed = True
      self._queue.put(_STOP)
    self._thread.join()
    self._file.close()

  def _work(self) -> None:
    going = True
    while going:
      batch = [self._queue.get()]
      with contextlib.suppress(queue.Empty):
        while len(batch) < _BATCH:
          batch.append(self._queue.get_nowait())
      going = _STOP not in batch
      self._write([entry for entry in batch if entry is not _STOP])

  def _write(self, batch: list[tuple[Mapping[str, Any], Future]]) -> None:
    head, lines = self.head, []
    for row, _ in batch:
      line = json.dumps({**row, "prev": head}).encode()
      head = hashlib.sha256(line).hexdigest()
      lines.append(line + b"\n")
    try:
      self._append(b"".join(lines))
    except OSError as error:
      for _, future in batch:
        future.set_exception(error)
      return
    self.head = head
    for _, future in batch:
      future.set_result(None)

  def _append(self, content: bytes) -> None:
    """Writes and syncs bytes, or leaves the file as it was.

    Raises:
      OSError: If they are not on disk.
    """
    if self._broken:
      raise self._broken
    try:
      left = memoryview(content)
      while left:
        left = left[self._file.write(left) :]
      os.fsync(self._file.fileno())
    except OSError:
      try:
        os.ftruncate(self._file.fileno(), self._length)
      except OSError as error:  # What the file ends with is not known any more.
        self._broken = error
      raise
    self._length += len(content)
