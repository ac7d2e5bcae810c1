"""Named arrays and texts as bytes in the safetensors format, and back without a copy.

The safetensors library orders texts differently in every process and cannot return
bfloat16 to NumPy. Here the same content gives the same bytes, so that records can be
compared, and loaded arrays are views of the bytes. The layout is the library's: an
8-byte little-endian length, a JSON header, and the bytes of the arrays one after
another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Shaped

from ltx_jax.errors import said, shown
from ltx_jax.files import json_bytes, parse_json

Arrays = dict[str, Shaped[np.ndarray, "..."]]

_DTYPES = {
  "U8": np.uint8,
  "I32": np.int32,
  "I64": np.int64,
  "BF16": ml_dtypes.bfloat16,
  "F16": np.float16,
  "F32": np.float32,
  "F64": np.float64,
  "BOOL": np.bool_,
}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_METADATA = "__metadata__"


def dump(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
  """Returns arrays and texts as bytes that depend only on their content.

  Raises:
    ValueError: If an array has a dtype that cannot be stored.
  """
  header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))}
  parts, end = [], 0
  # Widest items first, so that each array starts at a multiple of its item size.
  for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
    array = np.ascontiguousarray(arrays[name])
    if array.dtype not in _CODES:
      raise ValueError(
        f"{name} is {array.dtype}; what can be stored is {', '.join(map(str, _CODES))}."
      )
    start, end = end, end + array.nbytes
    header[name] = {
      "dtype": _CODES[array.dtype],
      "shape": list(arrays[name].shape),
      "data_offsets": [start, end],
    }
    parts.append(array.reshape(-1).view(np.uint8).data)
  text = json_bytes(header, (",", ":"))
  text += b" " * (-len(text) % 8)
  return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def load(blob: bytes | memoryview) -> tuple[Arrays, dict[str, str]]:
  """Returns the arrays, as read-only views of `blob`, and the texts.

  Raises:
    ValueError: If `blob` is not in this format; the message says why.
  """
  size = int.from_bytes(blob[:8], "little")
  if len(blob) < 8 or size > len(blob) - 8:
    raise ValueError(f"its {len(blob)} bytes are not safetensors, or cut off")
  try:
    header = parse_json(bytes(blob[8 : 8 + size]))
    metadata = header.pop(_METADATA, {})
    if not all(isinstance(text, str) for text in metadata.values()):
      raise ValueError("its metadata are not all texts")
    arrays = {name: _array(blob, 8 + size, entry) for name, entry in header.items()}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f"its header is not that of safetensors ({said(error)})") from None
  return arrays, metadata


def _array(blob: bytes | memoryview, data: int, entry: Mapping[str, Any]) -> np.ndarray:
  dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
  if not all(type(n) is int and 0 <= n < 2**48 for n in shape):
    raise ValueError(f"a shape of {shown(shape)}")
  start, end = entry["data_offsets"]
  count = math.prod(shape)
  if end - start != count * dtype.itemsize:
    raise ValueError(f"{shown(shape)} of {dtype} in {shown(end - start)} bytes")
  return np.frombuffer(blob, dtype, count, data + start).reshape(shape)
