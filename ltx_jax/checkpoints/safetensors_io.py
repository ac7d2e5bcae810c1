"""Reads and writes safetensors files, one tensor at a time.

A safetensors file is an 8-byte little-endian length n, n bytes of JSON with each
tensor's dtype, shape and byte range, and the bytes of the tensors, one after another
(https://github.com/huggingface/safetensors). The safetensors library reads such a file
through a memory map, or as a whole. Here every tensor is read with a plain seek and
read, straight into its slice of the stacked array, so that host memory holds neither a
mapped copy of the file nor a second copy of the model. The files written here equal
those of the library byte for byte; the tests check this.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from jaxtyping import Shaped

from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, atomic_file, json_bytes, parse_json

NpArray = Shaped[np.ndarray, "..."]

# In the library's order: files hold the tensors of the last dtypes first, so that every
# tensor starts at a multiple of its item size.
DTYPES: dict[str, np.dtype] = {
  "BOOL": np.dtype(np.bool_),
  "U8": np.dtype(np.uint8),
  "I8": np.dtype(np.int8),
  "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
  "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
  "I16": np.dtype(np.int16),
  "U16": np.dtype(np.uint16),
  "F16": np.dtype(np.float16),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I32": np.dtype(np.int32),
  "U32": np.dtype(np.uint32),
  "F32": np.dtype(np.float32),
  "C64": np.dtype(np.complex64),
  "F64": np.dtype(np.float64),
  "I64": np.dtype(np.int64),
  "U64": np.dtype(np.uint64),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_ORDER = {code: index for index, code in enumerate(DTYPES)}
_ROWS = 16
_BUFFER = 2**20  # Bytes; small enough that the next copy is still in the cache.
_ALIGNMENT, _MOST_AXES, _LONGEST_NAME = 64, 32, 250
_MAX_HEADER = 100_000_000  # The library's own limit: a longer one is not a header.


class Entry(NamedTuple):
  """The place of one tensor: byte range [start, end) counted from the file's start."""

  dtype: np.dtype
  shape: tuple[int, ...]
  start: int
  end: int


class Reader(contextlib.AbstractContextManager):
  """An open safetensors file; a context manager, made by `open_safetensors`.

  Attributes:
    path: The file.
    metadata: The strings under `__metadata__`, empty if there are none.
    names: Names of the tensors, in the order of their bytes.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    self._file = _open(path)
    try:
      header, data_start, size = _read_header(self._file, path)
      self.metadata = _check_metadata(header.pop("__metadata__", {}), path)
      self._entries = _check_entries(header, data_start, size, path)
    except BaseException:
      self._file.close()
      raise
    self.names: tuple[str, ...] = tuple(self._entries)

  def __exit__(self, *exc_info: object) -> None:
    self.close()

  def __contains__(self, name: str) -> bool:
    return name in self._entries

  def close(self) -> None:
    self._file.close()

  def shape(self, name: str) -> tuple[int, ...]:
    return self._entry(name).shape

  def dtype(self, name: str) -> np.dtype:
    return self._entry(name).dtype

  def read(self, name: str) -> NpArray:
    """Returns one tensor as a new array of the dtype in the file."""
    entry = self._entry(name)
    out = np.empty(entry.shape, entry.dtype)
    self._fill(name, out)
    return out

  def read_into(self, name: str, out: NpArray) -> None:
    """Reads one tensor into `out`, an array or a view of the same shape.

    A contiguous `out` of the file's dtype is filled directly; otherwise the tensor is
    copied and cast a few rows at a time.

    Raises:
      ValueError: If the shapes differ, or the file ends early.
    """
    entry = self._entry(name)
    if entry.shape != out.shape:
      raise ValueError(
        f"Tensor {name!r} of {self.path} has shape {entry.shape}; the array to read it "
        f"into has {out.shape}."
      )
    if out.flags.c_contiguous and out.dtype == entry.dtype:
      self._fill(name, out)
    elif out.ndim < 2:
      out[...] = self.read(name)
    else:
      self._read_rows(name, out)

  def _read_rows(self, name: str, out: np.ndarray) -> None:
    entry = self._entries[name]
    row_bytes = math.prod(entry.shape[1:]) * entry.dtype.itemsize
    count = max(_ROWS, _BUFFER // max(row_bytes, 1))
    buffer = np.empty((min(count, len(out)), *entry.shape[1:]), entry.dtype)
    for start in range(0, len(out), count):
      target = out[start : start + count]
      rows = buffer[: len(target)]
      self._fill(name, rows, start * row_bytes)
      copy_into(target, rows)

  def _entry(self, name: str) -> Entry:
    if name not in self._entries:
      raise ValueError(f"{self.path} has no tensor named {name!r}.")
    return self._entries[name]

  def _fill(self, name: str, out: np.ndarray, offset: int = 0) -> None:
    """Reads the bytes of a contiguous `out`, from `offset` bytes into the tensor on."""
    target = memoryview(out.reshape(-1).view(np.uint8))
    self._file.seek(self._entries[name].start + offset)
    done = 0
    while done < len(target):  # One read returns at most 2 GiB on Linux.
      count = self._file.readinto(target[done:])
      if not count:
        raise ValueError(
          f"{self.path} ended {len(target) - done} bytes early while tensor {name!r} "
          "was read; it changed since it was opened."
        )
      done += count


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> NpArray:
  """Returns an array that `jax.device_put` uses on a CPU without copying it."""
  dtype = np.dtype(dtype)
  size = math.prod(shape) * dtype.itemsize
  raw = np.empty(size + _ALIGNMENT, np.uint8)
  start = -raw.ctypes.data % _ALIGNMENT
  return raw[start : start + size].view(dtype).reshape(shape)


def copy_into(out: NpArray, array: NpArray) -> None:
  """Copies `array` into `out`, of the same shape, and casts it to the dtype of `out`.

  If one of them is a transposed view, a copy of the whole array jumps through memory at
  every element; a few rows at a time stay in the cache and take a fifth of the time.
  """
  if out.dtype == array.dtype:  # NumPy copies bfloat16 slowly, so copy bytes.
    bits = np.dtype(f"u{out.dtype.itemsize}")
    out, array = out.view(bits), array.view(bits)
  if out.ndim < 2:
    out[...] = array
    return
  for start in range(0, len(out), _ROWS):
    rows = slice(start, start + _ROWS)
    out[rows] = array[rows].astype(out.dtype, copy=False)


def open_safetensors(path: str | os.PathLike[str]) -> Reader:
  """Opens a safetensors file and checks all of its header.

  Raises:
    ValueError: If there is no such file, or it is truncated or malformed; the message
      names the file and what was found.
  """
  return Reader(pathlib.Path(path))


def _open(path: pathlib.Path) -> Any:
  if not path.is_file():
    found = "a folder" if path.is_dir() else "nothing"
    raise ValueError(
      f"Expected a safetensors file at {path}, but found {found}; give one."
    )
  return open(path, "rb", buffering=0)


def _read_header(file: Any, path: pathlib.Path) -> tuple[dict[str, Any], int, int]:
  """Returns the header's JSON object, the start of the tensors, and the file's size."""
  size = os.fstat(file.fileno()).st_size
  if size < 8:
    raise ValueError(
      f"{path} has {size} bytes, too few for a safetensors file, which starts with the "
      "8-byte length of its header; download or save it again."
    )
  length = int.from_bytes(file.read(8), "little")
  if length > _MAX_HEADER:
    raise _malformed(
      path,
      f"its first 8 bytes would make the header {length} bytes long, over the format's "
      f"limit of {_MAX_HEADER}",
    )
  if length > size - 8:
    raise ValueError(
      f"{path} is truncated: its header should have {length} bytes, but only "
      f"{size - 8} are there; download it again."
    )
  try:
    header = parse_json(file.read(length).decode("utf-8"), _unique)
  except (UnicodeDecodeError, NotJSON) as error:
    raise _malformed(path, f"its header is not a JSON object ({error})") from None
  if not isinstance(header, dict):
    raise _malformed(
      path, f"its header is a JSON {type(header).__name__}, not an object"
    )
  return header, 8 + length, size


def _malformed(path: pathlib.Path, found: str) -> ValueError:
  return ValueError(
    f"{path} is not a well-formed safetensors file: {found}; give one that is."
  )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  result = dict(pairs)
  if len(result) != len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f"{shown(twice)} occurs twice")
  return result


def _check_metadata(metadata: Any, path: pathlib.Path) -> dict[str, str]:
  if not isinstance(metadata, dict):
    raise _malformed(path, "its __metadata__ is not a JSON object")
  for key, value in metadata.items():
    if not isinstance(value, str):
      raise _malformed(path, f"its metadata {shown(key)} is not a string")
  return metadata


def _check_entries(
  header: dict[str, Any], data_start: int, size: int, path: pathlib.Path
) -> dict[str, Entry]:
  """Turns the header into entries sorted by position, without holes or overlaps."""
  entries = [(name, _entry(name, info, path)) for name, info in header.items()]
  entries.sort(key=lambda item: (item[1].start, item[1].end))
  end = 0
  for name, entry in entries:
    if entry.start != end:
      raise _malformed(
        path,
        f"tensor {name!r} starts at byte {entry.start} of the data instead of byte "
        f"{end}",
      )
    end = entry.end
  there = size - data_start
  if there != end:
    found = f"its tensors take {end} bytes, but {there} are there"
    if there < end:
      raise ValueError(f"{path} is truncated: {found}; download it again.")
    raise _malformed(path, found)
  return {
    name: entry._replace(start=data_start + entry.start, end=data_start + entry.end)
    for name, entry in entries
  }


def _entry(name: str, info: Any, path: pathlib.Path) -> Entry:
  keys = {"dtype", "shape", "data_offsets"}
  if not name.isprintable() or len(name) > _LONGEST_NAME:
    raise _malformed(path, f"a tensor's name is {shown(name)}")
  if not isinstance(info, dict) or set(info) != keys:
    raise _malformed(path, f"tensor {name!r} needs exactly {', '.join(sorted(keys))}")
  if not isinstance(info["dtype"], str) or info["dtype"] not in DTYPES:
    raise ValueError(
      f"{path} has tensor {name!r} of dtype {shown(info['dtype'])}; this code reads "
      f"{', '.join(DTYPES)}."
    )
  shape, offsets = info["shape"], info["data_offsets"]
  dtype = DTYPES[info["dtype"]]
  if (
    not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2)
    or len(shape) > _MOST_AXES
    or math.prod(n or 1 for n in shape) * dtype.itemsize >= 2**63  # NumPy's limit.
  ):
    found = f"shape {shown(shape)} and data_offsets {shown(offsets)}"
    raise _malformed(path, f"tensor {name!r} has {found}")
  needed = math.prod(shape) * dtype.itemsize
  if offsets[1] - offsets[0] != needed:
    raise _malformed(
      path,
      f"tensor {name!r} of shape {shape} and dtype {info['dtype']} needs {needed} "
      f"bytes, but has data_offsets {offsets}",
    )
  return Entry(dtype, tuple(shape), *offsets)


def _naturals(value: Any) -> bool:
  return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)


TensorToWrite = tuple[str, tuple[int, ...], np.dtype, Callable[[], NpArray]]


def write_safetensors(
  path: str | os.PathLike[str],
  tensors: Iterable[TensorToWrite],
  metadata: dict[str, str] | None = None,
) -> None:
  """Writes a safetensors file tensor by tensor, first under a temporary name.

  Args:
    path: The file; an existing one is replaced only once the new one is complete.
    tensors: (name, shape, dtype, producer). Each producer is called once, when its
      tensor is written, and its array is then dropped. The file holds large item sizes
      first and names sorted, like the library's, whatever the order given.
    metadata: Strings kept in the header, sorted by key.

  Raises:
    ValueError: If a name occurs twice, a dtype has no code in the format, a producer
      returns another shape or dtype than announced, or the folder does not exist.
  """
  path = pathlib.Path(path)
  if not path.parent.is_dir():
    raise ValueError(f"Cannot write {path}: {path.parent} is not a folder.")
  listed = list(tensors)
  for name, _, dtype, _ in listed:
    if np.dtype(dtype) not in CODES:
      raise ValueError(f"Tensor {name!r} has dtype {dtype}, unknown to safetensors.")
  listed.sort(key=lambda t: (-_ORDER[CODES[np.dtype(t[2])]], t[0].encode()))
  header = _header(listed, metadata)
  with atomic_file(path) as file:
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for tensor in listed:
      _write_tensor(file, tensor)


def _write_tensor(file: Any, tensor: TensorToWrite) -> None:
  """Writes one tensor's bytes; its array is freed when this call returns."""
  name, shape, dtype, producer = tensor
  array = producer()
  if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
    raise ValueError(
      f"Tensor {name!r} was announced as {np.dtype(dtype)} of shape {tuple(shape)}, "
      f"but came as {array.dtype} of shape {array.shape}."
    )
  file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _header(listed: list[TensorToWrite], metadata: dict[str, str] | None) -> bytes:
  header: dict[str, Any] = {}
  if metadata:
    header["__metadata__"] = dict(sorted(metadata.items()))
  end = 0
  for name, shape, dtype, _ in listed:
    if name in header:
      raise ValueError(f"Tensor {name!r} is to be written twice.")
    start, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
    header[name] = {
      "dtype": CODES[np.dtype(dtype)],
      "shape": [int(n) for n in shape],
      "data_offsets": [start, end],
    }
  raw = json_bytes(header, (",", ":"))
  return raw + b" " * (-len(raw) % 8)  # So that the tensors' bytes start aligned.
