"""What is wrong with a caption: a closed list of faults, found without a network.

Models that write captions fail in few ways: they talk about the video instead of what
it shows, refuse, write lists, stop in mid-sentence, repeat themselves, change to
another language, describe a moving clip as if it were a photograph, or invent a
movement of the camera. Each is a pattern of the text; the last two are compared with
what was measured (`motion`). The patterns are for English. They rather miss a fault
than find one that is not there.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Mapping
from typing import Literal, NamedTuple

from ltx_jax.curation.statistics import words
from ltx_jax.data.clips import CAPTION_LIMIT
from ltx_jax.errors import shown

Fault = Literal[
  "empty",
  "short",
  "long",
  "cut",
  "preamble",
  "refusal",
  "list",
  "loop",
  "script",
  "static",
  "camera",
]
"""What can be wrong with a caption; nothing else is."""

IN_WORDS: Mapping[Fault, str] = {
  "empty": "was empty",
  "short": "was too short",
  "long": "was too long",
  "cut": "ended in the middle of a sentence",
  "preamble": "talked about the video or the images instead of what they show",
  "refusal": "was a refusal",
  "list": "had lists, headings or line breaks",
  "loop": "repeated the same words again and again",
  "script": "had letters or characters that are not English",
  "static": "said nothing of the movements, although the clip moves",
  "camera": "said of the camera's movement what the clip does not show",
}
"""What a description with a fault did, for the question that asks again."""


class LintRule(NamedTuple):
  """Numbers of the faults.

  Attributes:
    least_words: Words below which a caption is short.
    most_words: Words above which it is long.
    most_tokens: Tokens of the text encoder above which it is long.
    loops: Number of times that the same four words make a loop.
    foreign: Largest share of letters that are not Latin.
    moving: Speed of a clip from which on something must move in its caption.
    still: Speed below which the camera stands still.
    pan: Speed from which on the camera certainly moves.
  """

  least_words: int = 20
  most_words: int = 200
  most_tokens: int = 256
  loops: int = 3
  foreign: float = 0.1
  moving: float = 0.01
  still: float = 0.002
  pan: float = 0.03


RULE = LintRule()
"""The numbers to start with."""

_SUBJECT = r"(?:video|clip|footage|image|picture|photo|frame|still|sequence|scene)s?"
_OPENING = re.compile(
  r"\W*(?:(?:sure|certainly|of course|okay|here (?:is|are)|here's)\b"
  r"|(?:caption|description):"
  rf"|(?:in|throughout) (?:the|this|these) (?:short )?{_SUBJECT}\b"
  rf"|(?:the|this|these|a) (?:[\w-]+ ){{0,2}}{_SUBJECT},? (?:\w+ly )?"
  r"(?:show|depict|captur|featur|begin|start|open|display|portray|present|illustrat"
  r"|(?:is|are) (?:of|about)\b)\w*)",
  re.I,
)
_REFUSAL = re.compile(
  r"\W*(?:unfortunately,? )?(?:i(?:['’]m| am) (?:sorry|unable|not able)"
  r"|i (?:cannot|can not|can['’]t|could not|couldn['’]t|won['’]t|apologi[sz]e)"
  r"|sorry, (?:but )?i\b)",
  re.I,
)
_MACHINE = re.compile(r"\bas an? (?:ai|artificial intelligence|language model)\b", re.I)
_MARKDOWN = re.compile(r"^\s*(?:#{1,6} |[-*•] |\d+[.)] )|\*\*\S|__\S|`")
_ENDED = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")

_STANDS = re.compile(
  r"\b(?:(?:static|stationary|fixed|motionless|unmoving|locked(?:[- ]off)?) (?:\w+ )?"
  r"(?:camera|shot|framing)\b"
  r"|the camera (?:is|remains|stays|stands|holds|keeps)(?: \w+)?"
  r" (?:static|stationary|fixed|motionless|unmoving|still|locked)\b"
  r"|the camera (?:does not|doesn['’]t|never) moves?|no camera (?:movement|motion))",
  re.I,
)
_MOVES = re.compile(
  r"\bthe camera (?:(?:is|\w+ly|then|now|also|begins to|starts to) )*"
  r"(?:pan|tilt|zoom|track|follow|mov|doll|push|pull|orbit|circl|rotat|truck"
  r"|crane|sweep|glid|fli|fly|drift|swing|arc)\w*"
  r"|\b(?:pan(?:ning)?|tilt(?:ing)?|zoom(?:ing)?|tracking|dolly|crane) shot\b",
  re.I,
)

_VERBS = """
  accelerate advance approach arrive ascend bend blink blow bob bounce bow brush burst
  bustle carry chase cheer chew circle clap climb collapse come crash crawl creep
  dance dart depart descend dig dip dive drag drift drive drop emerge enter erupt
  escape exit explode fall fidget flap flee flick flicker flip float flow flutter fly
  follow gallop gather gesture glance glide go grab hammer hop hover hurry jog juggle
  jump kick kiss knead kneel knock laugh launch leap leave lift lurch march melt mix
  move nod orbit pace paddle pan pass pedal peel perform pick plunge pour proceed pull
  pulse punch push raise reach recede retreat return revolve ride ripple rise roll
  rotate run rush sail scatter scroll scurry shake shuffle sing sink skate ski skid
  skip slide slip slither smile soar speak spill spin splash sprint squat squeeze
  stagger stir stretch stride stroll sway sweep swim swing swirl talk throw tilt toss
  tremble trot tumble turn twirl twist vanish veer vibrate walk wander wash wave whip
  whirl wink wipe wobble wriggle write yawn zoom
"""
_NOUNS_TOO = """
  break build burn close cook cross cut dolly drink eat extend fade fight flash grow
  hit land lean lower open part play point press row rub shift snap spread spring
  steer step stream stroke switch tap tear track trail type unfold work
"""
_IRREGULAR = """
  blew brought came crept dove drove fell fled flew gave gives giving goes going gone
  ran rang rode rose sang sank shook slid sped spoke sprang spun swam swept swung
  takes taking threw took went wrote
"""


def _participles(verb: str) -> set[str]:
  """Returns "running" for "run", and some forms that do not exist."""
  return {f"{stem}ing" for stem in (verb, verb[:-1], verb + verb[-1])}


def _forms(verb: str) -> set[str]:
  """Returns all forms of a regular verb, and some that do not exist."""
  stems = (verb, verb + verb[-1])
  past = {stem + end for stem in stems for end in ("d", "ed")}
  ends_in_y = {verb[:-1] + end for end in ("ies", "ied")}
  return {verb, verb + "s", verb + "es"} | past | ends_in_y | _participles(verb)


_MOTION = frozenset(_IRREGULAR.split()).union(
  *map(_forms, _VERBS.split()), *map(_participles, _NOUNS_TOO.split())
)
"""Words that say that something moves. Of verbs that are nouns too, as "step", only
those in -ing."""


def tidy(text: str) -> str:
  """Returns a caption on one line: composed letters, single spaces.

  Raises:
    ValueError: If it has characters that no file of captions holds: NUL, or halves of
      surrogate pairs; or if it is longer than captions may be.
  """
  odd = next((c for c in text if c == "\0" or unicodedata.category(c) == "Cs"), None)
  if odd is not None:
    raise ValueError(
      f"The caption {shown(text)} has the character U+{ord(odd):04X}, which no text "
      "file holds; remove it."
    )
  line = " ".join(unicodedata.normalize("NFC", text).split())
  if len(line) > CAPTION_LIMIT:
    raise ValueError(
      f"The caption {shown(text)} has {len(line):,} characters; at most "
      f"{CAPTION_LIMIT:,} are allowed."
    )
  return line


def lint(
  text: str,
  scores: Mapping[str, float],
  *,
  finish: str = "stop",
  tokens: int | None = None,
  rule: LintRule = RULE,
) -> tuple[Fault, ...]:
  """Returns the faults of a caption, in the order of `Fault`.

  Args:
    text: The caption as it was written.
    scores: Measures of the clip; `motion`, `camera` and `local` matter, if it has them.
    finish: Why the captioner stopped, in the words of chat completions.
    tokens: Number of the text encoder's tokens; None if it is not known.
    rule: Numbers of the faults.
  """
  said = words(text)
  if not said:
    return ("refusal",) if finish == "content_filter" else ("empty",)
  line = " ".join(text.split())
  long = len(said) > rule.most_words or (tokens or 0) > rule.most_tokens
  refuses = _REFUSAL.match(line) or _MACHINE.search(line) or finish == "content_filter"
  several_lines = len(text.strip().splitlines()) > 1
  found: dict[Fault, object] = {
    "short": len(said) < rule.least_words,
    "long": long,
    "cut": finish == "length" or not _ENDED.search(line),
    "preamble": _OPENING.match(line),
    "refusal": refuses,
    "list": several_lines or _MARKDOWN.search(line),
    "loop": _repeats(said) >= rule.loops,
    "script": _is_foreign(text, rule),
    "static": scores.get("motion", 0.0) >= rule.moving and _MOTION.isdisjoint(said),
    "camera": _contradicts(line, scores, rule),
  }
  return tuple(fault for fault, here in found.items() if here)


def _repeats(said: list[str]) -> int:
  """Returns how often the most frequent four words in a row are said."""
  fours = zip(said, said[1:], said[2:], said[3:], strict=False)
  return max(collections.Counter(fours).values(), default=0)


def _is_foreign(text: str, rule: LintRule) -> bool:
  """Whether too many letters are not Latin, or characters are none of a text."""
  letters = [c for c in text if c.isalpha()]
  latin = sum(c.isascii() or "LATIN" in unicodedata.name(c, "") for c in letters)
  odd = any(
    c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Cs") and not c.isspace())
    for c in text
  )
  return odd or len(letters) - latin > rule.foreign * len(letters)


def _contradicts(line: str, scores: Mapping[str, float], rule: LintRule) -> bool:
  """Whether only the opposite of what was measured is said of the camera."""
  if "camera" not in scores:
    return False
  stands, moves = bool(_STANDS.search(line)), bool(_MOVES.search(line))
  speed, local = scores["camera"], scores.get("local", 0.0)
  # Where large things move by themselves, part of that is taken for the camera.
  if speed >= max(rule.pan, local):
    return stands and not moves
  return speed < rule.still and moves and not stands
