"""Shards: files of records (ArrayRecord), each with a table of its records next to it.

A shard gets its name only when it is complete and on disk, after its table. An
interrupted shard keeps a hidden name that no reader looks at.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from array_record.python.array_record_module import (
  ArrayRecordReader,
  ArrayRecordWriter,
)

from ltx_jax.data.partial import hidden, publish
from ltx_jax.data.record import Record, encode
from ltx_jax.data.record_index import (
  Row,
  Shard,
  check_shard,
  index_of,
  row_of,
  write_table,
)

SUFFIX = ".arrayrecord"
# Latents do not compress, and uncompressed bytes are read at the speed of the disk.
_WRITER = "group_size:1,uncompressed"
_READER = "readahead_buffer_size:0,max_parallelism:0"
_BUFFER = 2**20
_OPEN = 64  # Readers kept open, each with a file and the positions of its records.


class Writer(contextlib.AbstractContextManager):
  """Writes a shard, which exists once the context ends without an error.

  A shard without records is not written.
  """

  def __init__(self, path: str | os.PathLike):
    """Begins a shard.

    Args:
      path: Path of the shard, `*.arrayrecord`; its folder is made.

    Raises:
      ValueError: If the suffix is another.
    """
    self.path = Path(path)
    if self.path.suffix != SUFFIX:
      raise ValueError(f"{path} cannot be a shard; its name must end in {SUFFIX}.")
    self.path.parent.mkdir(parents=True, exist_ok=True)
    self._rows: list[Row] = []
    self._temporary = hidden(self.path)
    self._writer = ArrayRecordWriter(str(self._temporary), _WRITER)

  def write(self, record: Record) -> None:
    """Adds a record."""
    blob = encode(record)
    with _disk_in_words(self.path):
      self._writer.write(blob)
    self._rows.append(row_of(record, len(blob)))

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    try:
      with _disk_in_words(self.path):
        self._writer.close()
      if kind is None and self._rows:
        self._publish()
    finally:
      self._temporary.unlink(missing_ok=True)

  def _publish(self) -> None:
    """Renames the shard once it can be read back, because a full disk loses the end."""
    reader = ArrayRecordReader(str(self._temporary), _READER)
    if reader.num_records() != len(self._rows):
      raise OSError(
        f"{self.path} was written with {len(self._rows)} records, but "
        f"{reader.num_records()} are on disk; is it full?"
      )
    reader.close()
    write_table(self.path, index_of(self._rows), self._temporary.stat().st_size)
    publish(self._temporary, self.path)


@contextlib.contextmanager
def _disk_in_words(path: Path) -> Iterator[None]:
  """Makes an error of the system of what ArrayRecord says of a disk.

  Raises:
    OSError: where the disk is full, or cannot be written to.
  """
  try:
    yield
  except RuntimeError as error:
    full = "No space left" in str(error)
    number = errno.ENOSPC if full else errno.EIO
    raise OSError(number, os.strerror(number), str(path)) from error


class Shards:
  """The records of a folder's shards, by position; safe to read from threads.

  Files are opened at the first read, and at most 64 stay open.
  """

  def __init__(self, folder: Path, shards: Sequence[Shard]):
    self._folder = folder
    self._shards = shards
    self._lock = threading.Lock()
    self._open: collections.OrderedDict[int, ArrayRecordReader] = (
      collections.OrderedDict()
    )

  def read(self, shard: int, row: int) -> bytes:
    """Returns one record.

    Raises:
      ValueError: If the shard is missing, cut off or damaged.
    """
    try:
      return self._reader(shard).read([row])[0]
    except (RuntimeError, IndexError) as error:
      path = self._folder / self._shards[shard].name
      raise ValueError(
        f"{path} is damaged at record {row} ({_reason(error)}); delete it, and run "
        "train.precompute again, which makes its records again."
      ) from None

  def _reader(self, shard: int) -> ArrayRecordReader:
    with self._lock:
      reader = self._open.get(shard)
      if reader is None:
        check_shard(self._folder, self._shards[shard])
        path = str(self._folder / self._shards[shard].name)
        reader = ArrayRecordReader(path, _READER, file_reader_buffer_size=_BUFFER)
        self._open[shard] = reader
      self._open.move_to_end(shard)
      # A reader that another thread is using stays alive until that thread is done.
      if len(self._open) > _OPEN:
        self._open.popitem(last=False)
      return reader


def _reason(error: Exception) -> str:
  """Returns the first part of ArrayRecord's message; the rest is positions in bytes."""
  return str(error).split(";")[0] or repr(error)
