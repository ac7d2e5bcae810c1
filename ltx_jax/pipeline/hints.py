"""Hints about prompts and media that a model is likely to handle badly.

Released models were trained on captions of a paragraph that say what happens. A few
words, or a description of a scene in which nothing moves, often give a still. The small
model's captions are one short sentence each; the hint names words that it never saw.
Nor did it see other images than its own: it redraws a photo as coloured shapes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Literal

from ltx_jax.moving_shapes import world
from ltx_jax.pipeline.request import Request

_LOG = logging.getLogger("ltx_jax")

Captions = Literal["paragraphs", "moving shapes"]
"""What a model's captions were: the released ones', or those of the small model."""

ANOTHER = "load a released model (docs/weights-and-formats.md)"
"""How a program in Python gets a model that knows other words."""

FEW_WORDS = 40
"""Number of words below which a hint is given; the training captions are far longer."""

_MOVES = frozenset(
  """
  accelerate appear approach arrive bend blow bounce bow break breathe burn burst
  carry chase chew circle clap climb close collapse come crash crawl cross cry dance
  dart descend disappear dive dolly drag drift drip drive drop duck eat emerge enter
  erupt expand explode fade fall flap flash flicker flip float flow flutter fly fold
  follow frown gallop gather gesture glance glide go grab grow hop hover hug hurry
  jog jump kick kiss knock laugh lean leap leave lift lower march melt move nod open
  orbit pan pass pedal perform play plunge point pour pull pulse punch push race
  reach recede retreat return reveal ride ripple rise roll rotate run rush sail sing
  shake shift shoot shrink sink sip skate ski skip slam slide slip slow smile speak
  spill spin spiral splash spread sprint stagger step stir stream stride stroll
  stumble surge sway sweep swim swing swirl swoop talk throw tilt touch track
  transform travel tremble trot tumble turn twirl twist type unfold vibrate walk
  wander wave whirl wink wobble zoom
  """.split()
)
_IRREGULAR = frozenset(
  "ate blew broke came dove drove fell flew grew left ran rode rose sang sank shook "
  "shot spoke spun stood swam swept swung threw went".split()
)

_LONGER = (
  "Say who does what, how it moves and changes, then the look of things, the "
  "background, the camera and the light."
)


def log(request: Request, captions: Captions | None) -> None:
  """Logs the hints about a request's prompts and media; encoded prompts have none."""
  prompts = request.prompts
  each = [[prompt] if isinstance(prompt, str) else prompt for prompt in prompts]
  texts = [p for some in each for p in some if isinstance(p, str)]
  for note in hints(texts, request.has_media, captions):
    _LOG.warning(note)


def hints(
  prompts: Sequence[str], media: bool, captions: Captions | None, another: str = ANOTHER
) -> list[str]:
  """Returns the hints about prompts, and about images and clips if there are any.

  Args:
    prompts: All prompts.
    media: Whether images or clips are given.
    captions: What the model was trained on; None if that is not known.
    another: How the reader gets another model, as a command to them.
  """
  notes = [hint(prompts, captions, another)]
  if media and captions == "moving shapes":
    notes.append(
      "the small model knows only coloured shapes, and redraws other images and clips "
      f"as shapes; for photos {another}."
    )
  return [note for note in notes if note]


def hint(
  prompts: Sequence[str], captions: Captions | None, another: str = ANOTHER
) -> str | None:
  """Returns one line about prompts that a model is likely to handle badly, or None.

  Args:
    prompts: Prompts of the videos.
    captions: What the model was trained on; there is no hint if it is not known.
    another: How the reader gets another model, as a command to them.
  """
  if captions == "moving shapes":
    return _of_the_small_model(prompts, another)
  if captions is None:
    return None
  for prompt in prompts:
    words = len(prompt.split())
    if words < FEW_WORDS:
      return (
        f"{prompt!r} has {words} words; the released models were trained on captions "
        f"of a paragraph, and short ones often give stills. {_LONGER}"
      )
  still = [prompt for prompt in prompts if not moves(prompt)]
  if not still:
    return None
  return (
    f"nothing seems to move in '{_beginning(still[0])}', and the video may be a still. "
    f"{_LONGER}"
  )


def moves(prompt: str) -> bool:
  """Whether a prompt has an English word of motion, of things or of the camera."""
  words = re.findall(r"[a-z]+", prompt.lower())
  return any(
    word in _IRREGULAR or not _MOVES.isdisjoint(_stems(word)) for word in words
  )


def _stems(word: str) -> set[str]:
  """Returns the verbs that a word may be a form of: running -> runn, run, runne."""
  stems = {word}
  for suffix in ("s", "es", "ed", "ing"):
    if word.endswith(suffix):
      stem = word.removesuffix(suffix)
      stems |= {stem, f"{stem}e"}
      if stem[-2:-1] == stem[-1:]:
        stems.add(stem[:-1])
      if suffix in ("es", "ed") and stem.endswith("i"):
        stems.add(f"{stem[:-1]}y")
  return stems


def _beginning(prompt: str, words: int = 8) -> str:
  several = prompt.split()
  return " ".join(several[:words]) + (" ..." if len(several) > words else "")


def _of_the_small_model(prompts: Sequence[str], another: str) -> str | None:
  strange = list(map(repr, world.unknown_words(" ".join(prompts))))
  strange += [f"{word!r} as a {slot}" for word, slot in world.misplaced_words(prompts)]
  if not strange:
    return _of_other_captions(prompts)
  return (
    f"the small model never saw {', '.join(strange)}; what it draws for "
    f"that means little. {world.grammar_help()} For other things {another}."
  )


def _of_other_captions(prompts: Sequence[str]) -> str | None:
  for prompt in prompts:
    try:
      world.parse(prompt)
    except ValueError:
      return (
        f"the small model knows the words of {prompt!r}, but no caption has them in "
        f"this order; it may draw something else. {world.grammar_help()}"
      )
  return None
