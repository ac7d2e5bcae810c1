"""Details of stills, which tell pictures apart that have the same outline.

The hash of a still (`duplicates`) says little of what lies within a bright thing on a
dark ground: two sides of a globe at night have nearly the same. So a still is shrunk to
17 x 9 pixels of gray as well, and each of 16 x 8 is compared with its right and its
lower neighbour. Of these 256 differences the sign is noted, and whether it is clear:
larger than what compression does to the mean of so many pixels.

Two stills contradict each other where a difference that is clear in one of them has the
other sign in the other. In a copy hardly any do. Where no difference is clear in
either, nothing is said, and a still with few clear ones, such as a plain disc, a title
or a dark picture, is nobody's copy: it is hardly more than an outline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64
from PIL import Image

WORDS = 8
"""Numbers of 64 bits of a still: four of signs, and four of what is clear."""

_WIDE, _HIGH = 16, 8
_CLEAR = 3.0  # Levels of 255.

Details = UInt64[np.ndarray, "... words"]


def details(stills: UInt8[np.ndarray, "n H W 3"]) -> UInt64[np.ndarray, "n words"]:
  """Returns signs and clearness of the differences within each still."""
  found = np.zeros((len(stills), WORDS), np.uint64)
  for words, still in zip(found, stills, strict=True):
    # As floating point numbers, since dark pictures differ by fractions of a level.
    gray = Image.fromarray(still).convert("L").convert("F")
    small = np.asarray(gray.resize((_WIDE + 1, _HIGH + 1), Image.Resampling.BOX))
    here = small[:-1, :-1]
    differences = np.stack([here - small[:-1, 1:], here - small[1:, :-1]])
    bits = np.stack([differences > 0, np.abs(differences) > _CLEAR])
    words[:] = np.packbits(bits).view(">u8")
  return found


def agree(
  one: Details, other: Details, told: int, contradict: float
) -> Bool[np.ndarray, "..."]:
  """Says which stills show the same.

  Args:
    one: Details of stills.
    other: Details of the stills that these are compared with.
    told: Least number of differences that are clear in both and have the same sign.
    contradict: Largest share of other signs, of what is clear in one of them.
  """
  half = WORDS // 2
  turned = one[..., :half] ^ other[..., :half]
  clear, sure = one[..., half:], other[..., half:]
  either, both = _count(clear | sure), _count(clear & sure & ~turned)
  against = _count((clear | sure) & turned)
  return np.asarray((both >= told) & (against <= contradict * either))


def _count(words: UInt64[np.ndarray, "... words"]) -> Int[np.ndarray, "..."]:
  """Returns the number of ones of each still."""
  return np.asarray(np.bitwise_count(words).sum(-1, dtype=np.int64))


def to_text(details: UInt64[np.ndarray, "n words"]) -> tuple[str, ...]:
  """Returns the details of each still as a clip stores them."""
  return tuple(still.astype("<u8").tobytes().hex() for still in details)


def from_text(details: Sequence[str]) -> bytes:
  """Returns the bytes of what `to_text` wrote.

  Raises:
    ValueError: If those of a still are no such number.
  """
  for still in details:
    try:
      right = len(bytes.fromhex(still)) == 8 * WORDS
    except ValueError:
      right = False
    if not right:
      raise ValueError(
        f"details {still[:40]!r} are not {WORDS} numbers of 64 bits in hexadecimal"
      )
  return bytes.fromhex("".join(details))
