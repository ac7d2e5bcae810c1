"""Changes to bytes that know nothing of what they mean."""

from __future__ import annotations

import random
import struct

_ODD = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
_ODD += (2**63 - 1, 2**63, 2**64 - 1, 10**5, 10**8)
_FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")


def place(draw: random.Random, data: bytes) -> int:
  """A position, as often as not near the beginning, where headers are."""
  near = draw.choice((64, 1024, 16384, len(data), len(data)))
  return draw.randrange(max(1, min(len(data), near)))


def flip_bits(draw: random.Random, data: bytes, _: bytes) -> bytes:
  changed = bytearray(data)
  for _ in range(draw.choice((1, 1, 2, 4, 16, 64))):
    if changed:
      changed[place(draw, data)] ^= 1 << draw.randrange(8)
  return bytes(changed)


def replace_run(draw: random.Random, data: bytes, _: bytes) -> bytes:
  start, count = place(draw, data), draw.choice((1, 4, 16, 256))
  filling = draw.choice((b"\0", b"\xff", b" ", b"A", None))
  run = filling * count if filling else draw.randbytes(count)
  return data[:start] + run[: len(data) - start] + data[start + count :]


def truncate(draw: random.Random, data: bytes, _: bytes) -> bytes:
  return data[: draw.choice((0, 1, len(data) - 1, draw.randrange(len(data) + 1)))]


def cut_out(draw: random.Random, data: bytes, _: bytes) -> bytes:
  start = place(draw, data)
  return data[:start] + data[start + draw.choice((1, 3, 8, 100, 1000)) :]


def insert(draw: random.Random, data: bytes, _: bytes) -> bytes:
  start, count = place(draw, data), draw.choice((1, 3, 8, 100))
  return data[:start] + draw.randbytes(count) + data[start:]


def repeat(draw: random.Random, data: bytes, _: bytes) -> bytes:
  start = place(draw, data)
  end = start + draw.choice((1, 8, 100, 1000))
  return data[:end] + data[start:end] * draw.choice((1, 1, 2, 50)) + data[end:]


def splice(draw: random.Random, data: bytes, other: bytes) -> bytes:
  return data[: place(draw, data)] + other[place(draw, other) :]


def swap(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """Two fields of one length change places."""
  size = draw.choice((1, 2, 4, 8))
  one, other = sorted((place(draw, data), place(draw, data)))
  if other < one + size:
    return flip_bits(draw, data, b"")
  first, second = data[one : one + size], data[other : other + size]
  return data[:one] + second + data[one + size : other] + first + data[other + size :]


def odd_number(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """A field becomes a number that lies at an edge."""
  form = draw.choice(_FORMATS)
  size = struct.calcsize(form)
  field = struct.pack(form, draw.choice(_ODD) % 256**size)
  start = place(draw, data)
  return data[:start] + field + data[start + size :]


MUTATIONS = (
  *(flip_bits, flip_bits, replace_run, truncate, cut_out, insert, repeat, splice),
  *(swap, odd_number, odd_number),
)
