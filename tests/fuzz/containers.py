"""Changes to media that keep their form: boxes of MP4 and AVIF, chunks of PNG and RIFF.

A checksum that no longer holds hides what lies behind it, so PNG's are made anew.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import NamedTuple

from tests.fuzz import raw

_PNG = b"\x89PNG\r\n\x1a\n"
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"iprp", b"ipco")
_PARENTS += (b"edts", b"dinf", b"meta")
_ODD = (0, 1, 7, 8, 255, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


class Span(NamedTuple):
  """A box or chunk: where it begins, where its content does, and where it ends."""

  start: int
  content: int
  end: int


def boxes(data: bytes) -> list[Span]:
  """All boxes of a file, those inside others too."""
  found, todo = [], [(0, len(data))]
  while todo:
    start, end = todo.pop()
    while start + 8 <= end:
      size, name = struct.unpack_from(">I4s", data, start)
      if size < 8 or start + size > end:
        break
      found.append(Span(start, start + 8, start + size))
      if name in _PARENTS:
        todo.append((start + (12 if name == b"meta" else 8), start + size))
      start += size
  return found


def chunks(data: bytes) -> list[Span]:
  """The chunks of a PNG, each with its length before and its checksum behind."""
  found, start = [], len(_PNG)
  while start + 12 <= len(data):
    size = int.from_bytes(data[start : start + 4], "big")
    found.append(Span(start, start + 8, start + 12 + size))
    start += 12 + size
  return found


def riff(data: bytes) -> list[Span]:
  """The chunks of a RIFF file (WebP, AVI), lists taken apart."""
  found, start = [], 12
  while start + 8 <= len(data):
    name, size = struct.unpack_from("<4sI", data, start)
    if start + 8 + size > len(data):
      break
    found.append(Span(start, start + 8, start + 8 + size + size % 2))
    start += 12 if name == b"LIST" else 8 + size + size % 2
  return found


def mutate(draw: random.Random, data: bytes, other: bytes) -> bytes:
  """Changes one box or chunk; of other files the bytes."""
  if data.startswith(_PNG):
    return _png(draw, data, other)
  spans = riff(data) if data.startswith(b"RIFF") else boxes(data)
  if not spans:
    return raw.odd_number(draw, data, other)
  little = data.startswith(b"RIFF")
  span = draw.choice(spans)
  piece = data[span.start : span.end]
  kind = draw.randrange(6)
  if kind == 0:
    return data[: span.start] + data[span.end :]
  if kind == 1:
    return data[: span.end] + piece * draw.choice((1, 1, 30)) + data[span.end :]
  if kind == 2:
    size = struct.pack("<I" if little else ">I", draw.choice((*_ODD, len(piece) + 1)))
    at = span.start + 4 if little else span.start
    return data[:at] + size + data[at + 4 :]
  if kind == 3:
    one, another = sorted((span, draw.choice(spans)))
    if one.end <= another.start:
      parts = (data[another.start : another.end], data[one.end : another.start])
      swapped = b"".join((*parts, data[one.start : one.end]))
      return data[: one.start] + swapped + data[another.end :]
  content = _content(draw, data[span.content : span.end])
  return data[: span.content] + content + data[span.end :]


def _content(draw: random.Random, content: bytes) -> bytes:
  """Content of the same length, in which a few fields are others."""
  changed = bytearray(content)
  for _ in range(draw.choice((1, 1, 2, 4))):
    form = draw.choice((">I", ">I", ">H", "<I", "<H", "B"))
    size = struct.calcsize(form)
    if len(changed) >= size:
      at = draw.randrange(len(changed) - size + 1)
      at -= at % size if draw.random() < 0.7 else 0
      struct.pack_into(form, changed, at, draw.choice(_ODD) % 256**size)
  return bytes(changed)


def _png(draw: random.Random, data: bytes, other: bytes) -> bytes:
  spans = chunks(data)
  parts = [data[span.start + 4 : span.end - 4] for span in spans]  # Name and content.
  row = draw.randrange(len(parts)) if draw.random() < 0.7 else 0
  kind = draw.randrange(5)
  if kind == 0:
    del parts[row]
  elif kind == 1:
    parts[row:row] = [parts[row]] * draw.choice((1, 30))
  elif kind == 2 and other.startswith(_PNG):
    found = draw.choice(chunks(other))
    parts.insert(draw.randrange(len(parts) + 1), other[found.start + 4 : found.end - 4])
  elif kind == 3:
    draw.shuffle(parts)
  else:
    parts[row] = parts[row][:4] + _content(draw, parts[row][4:])
  return _PNG + b"".join(
    len(part[4:]).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
    for part in parts
  )
