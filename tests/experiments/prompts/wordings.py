"""Captions of the moving shapes in other words: what people type instead.

The words of a caption that vary say what a clip shows, whatever the wording: the judge
compares a clip with the caption, except with a word that the wording leaves out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ltx_jax.moving_shapes import world

ATTRIBUTES = ("size", "color", "shape", "direction", "background")

_SYNONYMS = {
  **{"small": "little", "large": "big", "gray": "grey", "purple": "violet"},
  **{"circle": "disc", "square": "box", "moving": "going", "background": "backdrop"},
  **{"left": "leftwards", "right": "rightwards", "up": "upwards", "down": "downwards"},
}


def _drawn(caption: str, count: int) -> int:
  """Returns a number below `count` that depends on the caption alone."""
  return zlib.crc32(f"wording of {caption}".encode()) % count


def left_out(caption: str) -> str:
  """Returns the attribute that `without_one` leaves out."""
  return ATTRIBUTES[_drawn(caption, len(ATTRIBUTES))]


def plain(caption: str) -> str:
  """Returns the caption itself."""
  return caption


def reordered(caption: str) -> str:
  """Begins with the background."""
  shown, background = caption.split(" on ")
  return f"on {background} {shown}"


def synonyms(caption: str) -> str:
  """Has other words of the same meaning, where there are any."""
  return " ".join(_SYNONYMS.get(word, word) for word in caption.split())


def without_one(caption: str) -> str:
  """Leaves out one attribute, another one for other captions."""
  words = world.parse(caption)
  name = left_out(caption)
  if name == "direction":
    return caption.replace(f" moving {words.direction}", "")
  if name == "background":
    return caption.replace(f" on a {words.background} background", "")
  if name == "shape":
    return caption.replace(words.shape, "shape")
  return caption.replace(f" {getattr(words, name)}", "", 1)


def shouted(caption: str) -> str:
  """Is in upper case, with a full stop."""
  return f"{caption.upper()}."


def mistyped(caption: str) -> str:
  """Has two letters of one attribute in the wrong order."""
  words = world.parse(caption)
  word = getattr(words, ATTRIBUTES[_drawn(caption, len(ATTRIBUTES))])
  places = range(len(word) // 2, len(word))
  k = next(k for k in places if word[k - 1] != word[k])
  swapped = word[: k - 1] + word[k] + word[k - 1] + word[k + 1 :]
  return caption.replace(word, swapped, 1)


def two_sentences(caption: str) -> str:
  """Tells of the background in a sentence of its own."""
  shown, _ = caption.split(" on ")
  words = world.parse(caption)
  return f"{shown}. the background is {words.background}."


WORDINGS: Mapping[str, Callable[[str], str]] = MappingProxyType(
  {
    "as trained": plain,
    "reordered": reordered,
    "synonyms": synonyms,
    "one attribute left out": without_one,
    "upper case and full stop": shouted,
    "one typo": mistyped,
    "two sentences": two_sentences,
  }
)
"""Wordings by name; the first is that of training."""


def matched(held_out: list[str], trained: list[str]) -> list[str]:
  """Returns for each held-out caption a trained one that shares most of its words.

  No trained caption is taken twice.
  """
  left, found = dict.fromkeys(trained), []
  for caption in held_out:
    words = caption.split()

    def shared(other: str, words: list[str] = words) -> int:
      return sum(a == b for a, b in zip(words, other.split(), strict=True))

    best = max(left, key=shared)
    del left[best]
    found.append(best)
  return found
