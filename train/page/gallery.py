"""Stills of clips on a page: which are shown, and what they weigh together."""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.curation.clip import Clip
from train.page.markup import NO_ATTRIBUTES, Element, element, section

MOST = 20
"""Largest number of stills in a gallery."""

MOST_BYTES = 8_000_000
"""Largest size of all stills of a page."""

_LONGEST = 160

Still = Callable[[str], bytes | None]
"""Returns the JPEG of a name; None if it is lost."""


class Shown(NamedTuple):
  """A clip in a gallery.

  Attributes:
    clip: The clip.
    words: What is said of it.
    next_to: The clip that is shown next to it, with what is said of that; None if it
      stands alone.
  """

  clip: Clip
  words: str
  next_to: tuple[Clip, str] | None = None


class Gallery(NamedTuple):
  """Clips of one kind.

  Attributes:
    place: Heading that it stands under.
    title: What its clips have in common.
    clips: Those that are shown, in order, unless they weigh too much.
    of: How many there are.
  """

  place: str
  title: str
  clips: Sequence[Shown]
  of: int


def some(
  places: Int[np.ndarray, "n"], values: Float[np.ndarray, "clips"] | None = None
) -> list[int]:
  """Returns at most `MOST` places of clips, evenly over a measure or over their order.

  Args:
    places: Those to choose from.
    values: The measure of all clips; those that have none, nan, are not chosen.
  """
  if values is not None:
    places = places[~np.isnan(values[places])]
    places = places[np.argsort(values[places], kind="stable")]
  return _evenly(places.tolist(), MOST)


def _evenly(clips: Sequence, most: int) -> list:
  if len(clips) <= most:
    return list(clips)
  if most < 2:
    return list(clips[:most])
  return [clips[round(k * (len(clips) - 1) / (most - 1))] for k in range(most)]


def sections(
  galleries: Sequence[Gallery], still: Still, most_bytes: int
) -> Iterator[Element]:
  """Yields the sections of galleries, each with fewer stills if all are too large.

  Args:
    galleries: What to show; those of one place follow each other.
    still: Reads a JPEG.
    most_bytes: Largest size of all stills.
  """
  uri = functools.cache(
    lambda name: _uri(still(name))
  )  # A smaller choice reuses these.
  count = MOST
  while True:
    chosen = [_evenly(gallery.clips, count) for gallery in galleries]
    size = sum(len(uri(name)) for shown in chosen for name in _names(shown))
    if size <= most_bytes or count == 0:
      break
    count = min(count - 1, count * most_bytes // size)
  pairs = zip(galleries, chosen, strict=True)
  for place, each in itertools.groupby(pairs, lambda pair: pair[0].place):
    yield section(place, *[_gallery(gallery, shown, uri) for gallery, shown in each])


def _names(shown: Sequence[Shown]) -> list[str]:
  clips = [c for s in shown for c in (s.clip, *(s.next_to or ())[:1])]
  return [_still_of(clip) for clip in clips if clip.stills]


def _still_of(clip: Clip) -> str:
  return clip.stills[len(clip.stills) // 2]


def _uri(jpeg: bytes | None) -> str:
  return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def _gallery(
  gallery: Gallery, shown: Sequence[Shown], uri: Callable[[str], str]
) -> Element:
  part = f"{len(shown)} of " if len(shown) < gallery.of else ""
  title = element("h3", NO_ATTRIBUTES, f"{gallery.title} ({part}{gallery.of:,})")
  pairs = any(each.next_to for each in gallery.clips)
  content = [_figure(each, uri) for each in shown]
  style = {"class": "pairs" if pairs else "stills"}
  return element("div", NO_ATTRIBUTES, title, element("div", style, *content))


def _figure(shown: Shown, uri: Callable[[str], str]) -> Element:
  if shown.next_to is None:
    return _picture(shown.clip, shown.words, uri)
  other, words = shown.next_to
  return element(
    "div",
    {"class": "pair"},
    _picture(shown.clip, shown.words, uri),
    _picture(other, words, uri),
  )


def _picture(clip: Clip, words: str, uri: Callable[[str], str]) -> Element:
  found = uri(_still_of(clip)) if clip.stills else ""
  if found:
    image = element("img", {"src": found, "alt": f"Still of {clip.id}"})
  else:
    image = element("p", {"class": "none"}, "No still")
  name = element("b", NO_ATTRIBUTES, brief(clip.id))
  caption = element("figcaption", NO_ATTRIBUTES, name, f" {brief(words)}")
  return element("figure", NO_ATTRIBUTES, image, caption)


def brief(text: str) -> str:
  """Returns the beginning of a text that may be long."""
  return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
