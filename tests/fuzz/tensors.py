"""Changes to safetensors files: headers that lie, and others that are true and odd."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import Any, NamedTuple

from tests.fuzz import trees

_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2}
_SIZES |= {"F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "C64": 8, "F64": 8}
_SIZES |= {"I64": 8, "U64": 8}
_CODES = (*_SIZES, "F4", "f32", "", "F128", None, 3, ["F32"])
_NUMBERS = (0, 1, -1, 2, 3, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 0.5, True)
_NUMBERS += (None, "1", [1], 1e308)
_LENGTHS = (0, 1, 7, 8, 2**31, 2**32, 2**63, 2**64 - 1, 100_000_000, 100_000_001)


class Tensor(NamedTuple):
  name: str
  code: Any
  shape: list[int]
  data: bytes


def parsed(data: bytes) -> tuple[dict[str, Any], bytes]:
  """The header of a valid file, and the bytes after it."""
  size = int.from_bytes(data[:8], "little")
  return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(text: str, body: bytes) -> bytes:
  header = text.encode("utf-8", "replace")
  header += b" " * (-len(header) % 8)
  return len(header).to_bytes(8, "little") + header + body


def lie(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """One entry of the header says what is not so."""
  header, body = parsed(data)
  names = [name for name in header if name != "__metadata__"]
  for _ in range(draw.choice((1, 1, 2))):
    entry = header[draw.choice(names)]
    kind = draw.randrange(6)
    if kind == 0:
      entry["dtype"] = draw.choice(_CODES)
    elif kind == 1:
      offsets = (
        entry["data_offsets"] if isinstance(entry.get("data_offsets"), list) else []
      )
      entry["data_offsets"] = [*offsets[:1], draw.choice(_NUMBERS)][
        :: draw.choice((1, -1))
      ]
    elif kind == 2 and entry["shape"]:
      entry["shape"][draw.randrange(len(entry["shape"]))] = draw.choice(_NUMBERS)
    elif kind == 3:
      entry["shape"] = draw.choice(([], [0], [1] * 100, [2**32] * 3, None, {}, "2"))
    else:
      trees.change(draw, entry)
      break
  return joined(trees.dumped(draw, header), body)


def odd_header(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """The header as a whole is another JSON value, or has another length."""
  header, body = parsed(data)
  kind = draw.randrange(4)
  if kind == 0:
    return draw.choice(_LENGTHS).to_bytes(8, "little") + data[8:]
  if kind == 1:
    size = int.from_bytes(data[:8], "little") + draw.choice((-8, -1, 1, 8))
    return size.to_bytes(8, "little") + data[8:]
  if kind == 2:
    return joined(draw.choice(("", " ")) + draw.choice(trees.TEXTS), body)
  return joined(trees.dumped(draw, trees.change(draw, header)), body)


def odd_metadata(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """The metadata, or the JSON inside one of its texts, is odd."""
  header, body = parsed(data)
  metadata = header.get("__metadata__", {})
  inner = [name for name, text in metadata.items() if text[:1] in ("{", "[")]
  kind = draw.randrange(12)
  if kind == 0:
    header.pop("__metadata__", None)
  elif kind == 1 or not metadata:
    header["__metadata__"] = trees.change(draw, metadata)
  elif not inner or kind == 2:
    metadata[draw.choice(list(metadata))] = trees.dumped(
      draw, trees.odd_value(draw, "a")
    )
  else:
    name = draw.choice(inner)
    tree = json.loads(metadata[name])
    for _ in range(draw.choice((1, 1, 1, 2))):
      tree = trees.change(draw, tree)
    metadata[name] = trees.dumped(draw, tree)
  return joined(json.dumps(header), body)


def rebuild(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """A true header over other tensors."""
  header, body = parsed(data)
  metadata = header.pop("__metadata__", {})
  tensors = [
    Tensor(name, e["dtype"], e["shape"], body[slice(*e["data_offsets"])])
    for name, e in header.items()
  ]
  for _ in range(draw.choice((1, 1, 2, 3))):
    if tensors:
      _change(draw, tensors)
  offset, header = 0, {"__metadata__": metadata}
  for name, code, shape, content in tensors:
    offsets = [offset, offset + len(content)]
    header[name] = {"dtype": code, "shape": shape, "data_offsets": offsets}
    offset += len(content)
  return joined(json.dumps(header), b"".join(tensor.data for tensor in tensors))


def _change(draw: random.Random, tensors: list[Tensor]) -> None:
  row = draw.randrange(len(tensors))
  tensor = tensors[row]
  kind = draw.randrange(7)
  if kind == 0:
    del tensors[row]
  elif kind == 1:
    tensors[row] = tensor._replace(name=_renamed(draw, tensor.name))
  elif kind == 2:
    tensors.append(tensor._replace(name=_renamed(draw, tensor.name)))
  elif kind == 3:
    tensors[row] = tensor._replace(shape=_reshaped(draw, tensor.shape))
  elif kind == 4:
    tensors[row] = _recoded(draw, tensor)
  elif kind == 5:
    shape = [draw.choice((0, 1, n, n + 1)) for n in tensor.shape]
    size = math.prod(shape) * _SIZES[tensor.code]
    tensors[row] = tensor._replace(
      shape=shape, data=(tensor.data * 64)[:size].ljust(size)
    )
  else:
    numbers = {2: "<e", 4: "<f", 8: "<d"}
    odd = draw.choice((math.nan, math.inf, -math.inf, 0.0, -1.0, 1e30))
    if form := numbers.get(_SIZES[tensor.code]):
      odd = min(odd, 6e4) if form == "<e" and odd < math.inf else odd
      size = struct.calcsize(form)
      content = struct.pack(form, odd) * (len(tensor.data) // size)
      tensors[row] = tensor._replace(data=content)


def _renamed(draw: random.Random, name: str) -> str:
  parts = name.split(".")
  number = draw.choice(("0", "-1", "99999999999", "x", "00", "1.5"))
  parts = [number if part.isdigit() else part for part in parts]
  return draw.choice(
    (
      *(
        ".".join(parts),
        name.replace(".", "/"),
        f"{name}.",
        f".{name}",
        "",
        name.upper(),
      ),
      *(name.partition(".")[2], f"model.{name}", f"vae.{name}", f"{name}\n", "ü" * 50),
      *(
        f"transformer.{name}",
        f"model.diffusion_model.{name}",
        f"{name}_scale",
        "a" * 9999,
      ),
    )
  )


def _reshaped(draw: random.Random, shape: list[int]) -> list[int]:
  """Another shape of as many numbers."""
  ways = ([math.prod(shape)], shape[::-1], [1, *shape], [*shape, 1], [1] * 40 + shape)
  return draw.choice(ways)


def _recoded(draw: random.Random, tensor: Tensor) -> Tensor:
  """Another dtype of as many bytes."""
  code = draw.choice(list(_SIZES))
  count, left = divmod(len(tensor.data), _SIZES[code])
  if left:
    return tensor
  same = math.prod(tensor.shape) == count
  return tensor._replace(code=code, shape=tensor.shape if same else [count])


MUTATIONS = (lie, lie, odd_header, odd_metadata, odd_metadata, odd_metadata, rebuild)
MUTATIONS += (rebuild, rebuild)
