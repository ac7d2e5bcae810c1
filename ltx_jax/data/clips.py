"""Clips, the rows of a manifest, and a container for many of them in little memory.

A `Clip` is one row. `Clips` stores rows as columns (packed text, arrays of numbers), so
that a million of them take little more than the bytes of their words. It makes a `Clip`
of a row when it is asked for.
"""

from __future__ import annotations

import array
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

Crop = tuple[int, int, int, int]
"""(x, y, width, height) in pixels as displayed, before scaling."""

CAPTION_LIMIT = 20_000
"""Characters; a text encoder reads about a thousand."""
_ID_LIMIT = 500
_NUMBERS = {  # Columns of numbers; an unknown value is 0 or nan.
  "start": "d",
  "end": "d",
  "fps": "d",
  "width": "i",
  "height": "i",
  "frames": "q",
}


class Clip(NamedTuple):
  """One row of a manifest; None means unknown.

  Attributes:
    id: Name that the clip, its caption and its record share.
    path: The media file that contains the clip.
    caption: One line; "" without a caption.
    start: Second of the media at which the clip begins; None is the beginning.
    end: Second of the media at which the clip ends; None is the end.
    width: Width of the media as displayed, before the crop, in pixels.
    height: Height of the media as displayed, before the crop, in pixels.
    frames: Number of frames from start to end, at `fps`.
    fps: Frames per second at which the clip is read: its own rate.
    crop: The part of the image that is used; None is all of it.
    scores: Measures such as {"aesthetic": 5.1}, for filters.
    extra: Fields of the row that have no meaning here.
    reference: The media file of the reference clip, for an in-context LoRA; it is read
      with the same times, crop and rate. "" without a reference.
  """

  id: str
  path: str
  caption: str = ""
  start: float | None = None
  end: float | None = None
  width: int | None = None
  height: int | None = None
  frames: int | None = None
  fps: float | None = None
  crop: Crop | None = None
  scores: Mapping[str, float] = {}
  extra: Mapping[str, Any] = {}
  reference: str = ""


class Fault(NamedTuple):
  """The reason why a clip is not used.

  Attributes:
    where: Line or id of the clip.
    reason: What is wrong, as the rest of a sentence.
    stray: Whether it is about a text that belongs to no clip, so that no clip is lost.
  """

  where: str
  reason: str
  stray: bool = False

  def __str__(self) -> str:
    return f"{self.where}: {self.reason}"


class Texts(Sequence[str]):
  """Strings in one block of UTF-8."""

  def __init__(self, texts: Iterable[str] = ()):
    self._bytes = bytearray()
    self._ends = array.array("q")
    for text in texts:
      self.append(text)

  def append(self, text: str) -> None:
    self._bytes += text.encode("utf-8", "surrogatepass")
    self._ends.append(len(self._bytes))

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, row: int) -> str:
    row = range(len(self))[row]
    start = self._ends[row - 1] if row else 0
    return bytes(self._bytes[start : self._ends[row]]).decode("utf-8", "surrogatepass")

  def arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bytes of all texts, uint8, and where each ends, int64."""
    return np.array(self._bytes, np.uint8), np.array(self._ends, np.int64)

  @classmethod
  def of(cls, content: np.ndarray, ends: np.ndarray) -> Texts:
    """Rebuilds texts from the result of `arrays`; nothing can be added to them.

    Raises:
      ValueError: If `arrays` cannot have made these.
    """
    order = np.diff(ends, prepend=0) >= 0
    if not order.all() or (ends[-1] if len(ends) else 0) != len(content):
      raise ValueError("its texts do not end where they should")
    # A byte within a character is 10xxxxxx.
    starts = content[ends[ends < len(content)]]
    try:
      bytes(content).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
      starts = np.array([0b1000_0000], np.uint8)
    if np.any(starts >> 6 == 0b10):
      raise ValueError("its texts are not in UTF-8")
    texts = cls()
    texts._bytes, texts._ends = memoryview(content), ends
    return texts


class Clips(Sequence[Clip]):
  """Rows as columns; a row becomes a `Clip` only while it is used.

  Attributes:
    ids: Ids of all rows.
    captions: Captions of all rows; "" without a caption.
  """

  def __init__(self, clips: Iterable[Clip] = ()):
    self.ids = Texts()
    self._folders: dict[str, int] = {}
    self._folder = array.array("i")
    self._names, self.captions, self._rest = Texts(), Texts(), Texts()
    self._numbers = {name: array.array(code) for name, code in _NUMBERS.items()}
    self._crops = array.array("i")  # Four numbers per row; width 0 means no crop.
    for clip in clips:
      self.append(clip)

  def append(self, clip: Clip) -> None:
    # Paths share folders, and most rows have only the columns below.
    folder, name = os.path.split(clip.path)
    self._folder.append(self._folders.setdefault(folder, len(self._folders)))
    self.ids.append(clip.id)
    self._names.append(name)
    self.captions.append(clip.caption)
    for column, code in _NUMBERS.items():
      value = getattr(clip, column)
      unknown = math.nan if code == "d" else 0
      self._numbers[column].append(unknown if value is None else value)
    self._crops.extend(clip.crop or (0, 0, 0, 0))
    rest = (dict(clip.scores), dict(clip.extra), clip.reference)
    self._rest.append(json.dumps(rest, ensure_ascii=False) if any(rest) else "")

  def __len__(self) -> int:
    return len(self.ids)

  def __getitem__(self, row: int) -> Clip:
    row = range(len(self))[row]
    scores, extra, reference = json.loads(self._rest[row] or '[{}, {}, ""]')
    crop = tuple(self._crops[4 * row : 4 * row + 4])
    path = os.path.join(self._folder_names()[self._folder[row]], self._names[row])
    numbers = {
      name: None if value != value or value == 0 and _NUMBERS[name] != "d" else value
      for name, value in ((n, column[row]) for n, column in self._numbers.items())
    }
    return Clip(
      self.ids[row],
      path,
      self.captions[row],
      crop=crop if crop[2] else None,
      reference=reference,
      scores=scores,
      extra=extra,
      **numbers,
    )

  def _folder_names(self) -> Sequence[str]:
    if len(getattr(self, "_listed", ())) != len(self._folders):
      self._listed = list(self._folders)
    return self._listed

  def column(self, name: str) -> np.ndarray:
    """Returns start, end, fps (nan: unknown), width, height or frames (0: unknown)."""
    return np.array(self._numbers[name])

  def crops(self) -> Int[np.ndarray, "rows 4"]:
    """Returns the crops of all rows; width 0 means no crop."""
    return np.array(self._crops).reshape(-1, 4)

  def sizes(self) -> Int[np.ndarray, "rows 3"]:
    """Returns frames, height and width of all rows after the crop; 0 is unknown."""
    crops = self.crops()
    height = np.where(crops[:, 3], crops[:, 3], self.column("height"))
    width = np.where(crops[:, 2], crops[:, 2], self.column("width"))
    return np.stack([self.column("frames"), height, width], axis=1).astype(np.int64)

  def take(self, rows: Iterable[int] | Bool[np.ndarray, "rows"]) -> Clips:
    """Returns some of the rows: by position, or where a mask is True."""
    if isinstance(rows, np.ndarray) and rows.dtype == bool:
      rows = np.flatnonzero(rows)
    return Clips(self[int(row)] for row in rows)


def repeated(ids: Sequence[str]) -> Iterator[tuple[int, int]]:
  """Yields (row, earlier row) for every id that occurred before, sorted by row."""
  # Sorted hashes take an eighth of the memory of a set of strings.
  hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
  order = np.argsort(hashes, kind="stable")
  same = np.flatnonzero(np.diff(hashes[order]) == 0)
  first: dict[str, int] = {}
  suspects = np.unique(np.concatenate([order[same], order[same + 1]]))
  for row in suspects.tolist():
    earlier = first.setdefault(ids[row], row)
    if earlier != row:
      yield row, earlier


def check_clip(clip: Clip) -> Clip:
  """Returns a row unchanged if its fields are valid.

  Raises:
    ValueError: If a field is invalid; the message says what it holds and may hold.
  """
  if not clip.id or len(clip.id) > _ID_LIMIT or "\n" in clip.id:
    raise ValueError(
      f"its id is {clip.id[:40]!r}, of {len(clip.id)} characters; an id has 1 to "
      f"{_ID_LIMIT} on one line"
    )
  if len(clip.caption) > CAPTION_LIMIT:
    raise ValueError(
      f"its caption has {len(clip.caption)} characters and begins with "
      f"{clip.caption[:40]!r}; at most {CAPTION_LIMIT} are allowed, and a text encoder "
      "reads only about a thousand"
    )
  if "\0" in clip.caption:
    raise ValueError("its caption has the character NUL, which no text has; remove it")
  for path in (clip.path, clip.reference):
    if "://" in path:
      raise ValueError(f"its path {path} is an address; download the file first")
  _check_times(clip)
  for name in ("width", "height", "frames"):
    value = getattr(clip, name)
    if value is not None and not 0 < value < 2**31:
      raise ValueError(f"its {name} is {value}; it must be above 0")
  if clip.crop is not None:
    x, y, width, height = clip.crop
    if min(x, y) < 0 or min(width, height) < 1 or max(clip.crop) >= 2**31:
      raise ValueError(
        f"its crop is {list(clip.crop)}; it must be [x, y, width, height] in pixels, "
        "x and y at least 0, width and height at least 1"
      )
    if x + width > (clip.width or math.inf) or y + height > (clip.height or math.inf):
      raise ValueError(
        f"its crop {list(clip.crop)} goes beyond its {clip.width}x{clip.height} pixels"
      )
  return clip


def _check_times(clip: Clip) -> None:
  start = 0.0 if clip.start is None else clip.start
  if not 0 <= start < math.inf:
    raise ValueError(f"its start is {start:g}; seconds are at least 0")
  if clip.end is not None and not start < clip.end < math.inf:
    raise ValueError(
      f"it starts at {start:g} s and ends at {clip.end:g} s; the end must come later"
    )
  if clip.fps is not None and not 0 < clip.fps < 10_000:
    raise ValueError(f"its fps is {clip.fps:g}; it must be above 0 and below 10000")
