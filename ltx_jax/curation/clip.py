"""What curation knows: files, the spans they are read in, clips, and decisions.

A `Source` is a file that can be read. It is decoded in `Span`s, which bound the memory
and the time of one piece of work. A `Clip` is what was found inside a span, with all
that was measured. Nothing vanishes: a file that is refused, and a clip that is dropped,
has a `Decision`, which says why.

All of them are written as JSON and read again. Fields that this version does not know
are kept, and written back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

from ltx_jax.data import clips
from ltx_jax.errors import shown

Crop = clips.Crop

Reason = Literal[
  "unreadable",
  "no video",
  "too large",
  "small",
  "shape",
  "corrupt",
  "interlaced",
  "size changes",
  "changed",
  "timeout",
  "crashed",
  "length",
  "transition",
  "black",
  "borders",
  "static",
  "slides",
  "strobe",
  "text",
  "duplicate",
  "aesthetic",
  "caption",
  "score",
]
"""Why a file is refused or a clip dropped; nothing else is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
  """Why a file is refused, or a clip dropped.

  Attributes:
    rule: Name of the rule that decided.
    reason: One of `Reason`.
    value: What the rule looked at: a number, or the words of an error.
    threshold: Number that the value was compared with; None if there is none.
  """

  rule: str
  reason: Reason
  value: float | str
  threshold: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
  """A file that can be read.

  Attributes:
    id: Name of the file, unique among all.
    path: Where it is.
    width: Width in square pixels, upright.
    height: Height in square pixels, upright.
    frames: Number of its frames, counted.
    fps: Frames per second; nominal for an image.
    seconds: Duration of its video track; 0 for an image.
    offset: Presentation time of its first frame in the file; all other times are
      counted from there.
    edges: Seconds at which its spans begin, ascending; the first is 0.
    bytes: Size of the file, by which a change is noticed.
    track: Number of its video track among all tracks of the file.
    pixels: What it stores, such as "10 bits, BT.2020, PQ"; "" for an image. All of it
      is read as 8 bits of ordinary screens (`data.dynamic_range`).
    extra: Fields that have no meaning here.
  """

  id: str
  path: str
  width: int
  height: int
  frames: int
  fps: float
  seconds: float
  offset: float = 0.0
  edges: tuple[float, ...] = (0.0,)
  bytes: int = 0
  track: int = 0
  pixels: str = ""
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
  """The part of a source that is decoded at one time.

  Attributes:
    source: The file.
    number: Position among the spans of the source.
  """

  source: Source
  number: int = 0

  @property
  def id(self) -> str:
    """Name of the span, unique among all."""
    return f"{self.source.id}#{self.number}"

  @property
  def start(self) -> float:
    """Second at which it begins."""
    return self.source.edges[self.number]

  @property
  def end(self) -> float:
    """Second before which its last frame appears; infinite for the last span."""
    return (*self.source.edges, math.inf)[self.number + 1]


def spans(source: Source) -> list[Span]:
  """Returns the spans of a source, in order."""
  return [Span(source, number) for number in range(len(source.edges))]


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
  """A clip with all that was measured.

  Attributes:
    id: Id of its source, and its start in milliseconds.
    source: Id of its source.
    span: Position of its span among those of the source.
    path: File of the source.
    start: Second at which it begins.
    end: Second at which it ends.
    width: Width of the source.
    height: Height of the source.
    frames: Number of its frames, counted.
    fps: Frames per second between its first and its last frame.
    crop: The part of the image that is used; None is all of it.
    caption: One line; "" without a caption.
    scores: Measures by name.
    stills: Names of its stills, in order.
    hashes: Hash of each still that duplicates are found by, in hexadecimal.
    windows: Windows of the same stills (`windows`), in hexadecimal.
    details: Details of the same stills (`details`), in hexadecimal.
    decision: Why it is dropped; None if it is kept.
    extra: Fields that have no meaning here.
  """

  id: str
  source: str
  span: int
  path: str
  start: float
  end: float
  width: int
  height: int
  frames: int
  fps: float
  crop: Crop | None = None
  caption: str = ""
  scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
  stills: tuple[str, ...] = ()
  hashes: tuple[str, ...] = ()
  windows: tuple[str, ...] = ()
  details: tuple[str, ...] = ()
  decision: Decision | None = None
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def seconds(self) -> float:
    """How long it lasts."""
    return self.end - self.start

  @property
  def size(self) -> tuple[int, int]:
    """Width and height of the part of the image that is used."""
    return self.crop[2:] if self.crop else (self.width, self.height)


def clip_id(source: str, start: float) -> str:
  """Returns the id of the clip of a source that begins at a second."""
  return f"{source}@{round(1000 * start)}"


def aesthetics(stills: Sequence[str], scores: Mapping[str, float]) -> dict[str, float]:
  """Returns the mean and the least score of a clip's stills, as its measures.

  Args:
    stills: Names of the stills.
    scores: Scores of stills, by name; where one has none, the clip has no measures.
  """
  if not stills or any(name not in scores for name in stills):
    return {}
  found = [scores[name] for name in stills]
  return {"aesthetic": sum(found) / len(found), "aesthetic_least": min(found)}


def row_of(clip: Clip) -> clips.Clip:
  """Returns the clip as a row of a manifest that trainers read; an image lasts 0 s."""
  moves = clip.frames > 1
  return clips.check_clip(
    clips.Clip(
      clip.id,
      clip.path,
      clip.caption,
      start=clip.start if moves else None,
      end=clip.end if moves else None,
      width=clip.width,
      height=clip.height,
      frames=clip.frames,
      fps=clip.fps if moves else None,
      crop=clip.crop,
      scores=dict(clip.scores),
      extra=dict(clip.extra),
    )
  )


Kept = Source | Clip | Decision
K = TypeVar("K", Source, Clip, Decision)


def to_json(value: Kept) -> dict[str, Any]:
  """Returns a value as an object of JSON, its unknown fields at the end."""
  row = {}
  for field in dataclasses.fields(value):
    content = getattr(value, field.name)
    if isinstance(content, Decision):
      content = to_json(content)
    elif isinstance(content, tuple):
      content = list(content)
    if field.name != "extra":
      row[field.name] = content
  return row | dict(getattr(value, "extra", {}))


def from_json(kind: type[K], row: Any) -> K:
  """Returns the value that `to_json` made an object of.

  Raises:
    ValueError: If a field is missing or holds something else; the message is the rest
      of a sentence and names the field.
  """
  if not isinstance(row, Mapping):
    raise ValueError(f"it is {shown(row)}; it must be an object of JSON")
  known, rest = {}, dict(row)
  for field in dataclasses.fields(kind):
    if field.name == "extra":
      continue
    if field.name in rest:
      known[field.name] = _read(field.name, field.type, rest.pop(field.name))
    elif _required(field):
      raise ValueError(f"its field {field.name!r} is missing")
  if "extra" in kind.__dataclass_fields__:
    known["extra"] = rest
  elif rest:
    raise ValueError(f"its field {min(rest)!r} is not known")
  return kind(**known)


def _required(field: dataclasses.Field) -> bool:
  missing = dataclasses.MISSING
  return field.default is missing and field.default_factory is missing


def _is_number(value: Any) -> bool:
  return type(value) in (int, float) and math.isfinite(value)


def _numbers(value: Any) -> bool:
  return isinstance(value, list) and all(map(_is_number, value))


def _crop(value: Any) -> bool:
  whole = isinstance(value, list) and all(type(part) is int for part in value)
  return whole and len(value) == 4 and min(value) >= 0 and min(value[2:]) > 0


def _texts(value: Any) -> bool:
  return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _scores(value: Any) -> bool:
  return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _always(value: Any) -> Any:
  return value


# Annotation: what the field may be, in words, and how it is made of what JSON has.
_KINDS: dict[str, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
  "str": (lambda value: isinstance(value, str), "a text", _always),
  "int": (lambda value: type(value) is int, "a whole number", _always),
  "float": (_is_number, "a number", float),
  "float | None": (
    lambda value: value is None or _is_number(value),
    "a number or null",
    _always,
  ),
  "float | str": (
    lambda value: isinstance(value, str) or _is_number(value),
    "a number or a text",
    _always,
  ),
  "tuple[float, ...]": (
    lambda value: _numbers(value) and len(value) > 0 and value == sorted(value),
    "a list of numbers, ascending",
    lambda value: tuple(map(float, value)),
  ),
  "tuple[str, ...]": (_texts, "a list of texts", tuple),
  "Crop | None": (
    lambda value: value is None or _crop(value),
    "null or [x, y, width, height] in whole pixels",
    lambda value: value and tuple(value),
  ),
  "Mapping[str, float]": (_scores, 'an object such as {"motion": 0.1}', dict),
  "Reason": (
    lambda value: value in get_args(Reason),
    f"one of {', '.join(get_args(Reason))}",
    _always,
  ),
}


def _read(name: str, annotation: str, value: Any) -> Any:
  if annotation == "Decision | None":
    try:
      return None if value is None else from_json(Decision, value)
    except ValueError as error:
      raise ValueError(f"in its {name}, {error}") from None
  allowed, words, made = _KINDS[annotation]
  if not allowed(value):
    raise ValueError(f"its {name} is {shown(value)}; it must be {words}")
  return made(value)
