"""Manifests: lists of clips and their captions, in common layouts.

- JSON Lines (`.jsonl`), a JSON list (`.json`), CSV (`.csv`, `.tsv`): one row per clip.
  The field of the file is `path`, `media_path`, `file_name` or `video`; that of the
  caption `caption`, `text` or `prompt`; that of a reference clip `reference` or
  `reference_path`. `id` and all other fields of `Clip` are optional.
- Two texts with one line per clip, paths in one and captions in the other.
- A folder with `metadata.jsonl`, `metadata.csv` or the two texts `videos.txt` and
  `prompts.txt` (or `captions.txt`); or a folder of media, each with `NAME.txt` next to
  it. Other texts among the media, such as a README.txt, are listed and ignored.

Paths are relative to the manifest's folder. A row without an id is named by its path as
written, plus its times if it has any. Text may have a byte order mark and any line
ends; line breaks in captions become spaces.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ltx_jax.data import clips as clips_lib
from ltx_jax.data import layouts
from ltx_jax.data.clips import Clip, Clips, Fault
from ltx_jax.data.layouts import CAPTIONS, PATHS, REFERENCES
from ltx_jax.data.suffixes import PICTURES, VIDEOS
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, json_bytes, parse_json, replacing

CANONICAL = "manifest.jsonl"
"""Name of the file that `train.manifest` writes; ignored when a folder is read."""

_FIELDS = ("start", "end", "width", "height", "frames", "fps", "crop", "scores")


def read_manifest(
  path: str | os.PathLike, captions: str | os.PathLike | None = None
) -> Clips:
  """Reads a manifest whose rows must all be valid; stray texts in folders are ignored.

  Args:
    path: A file or a folder, see above.
    captions: The text of captions, if `path` is a text of paths.

  Raises:
    ValueError: If it cannot be read, or a row is invalid; the message names the first.
  """
  clips, faults = scan_manifest(path, captions)
  faults = [fault for fault in faults if not fault.stray]
  if faults:
    raise ValueError(
      f"{path} has {len(faults)} faulty rows; the first is {faults[0]}. `python -m "
      f"train.manifest {path}` lists all of them and writes a manifest of the rest."
    )
  return clips


def scan_manifest(
  path: str | os.PathLike, captions: str | os.PathLike | None = None
) -> tuple[Clips, list[Fault]]:
  """Reads the valid rows, and says what is wrong with the others.

  Args:
    path: A file or a folder, see above.
    captions: The text of captions, if `path` is a text of paths.

  Raises:
    ValueError: If the manifest as a whole cannot be read, or has no rows.
  """
  path = Path(path)
  folder = path if path.is_dir() else path.parent
  clips, faults, places = Clips(), [], clips_lib.Texts()
  for row in layouts.rows(path, None if captions is None else Path(captions)):
    if isinstance(row, Fault):
      faults.append(row)
      continue
    try:
      clips.append(_clip(row.fields, folder))
      places.append(row.where)
    except ValueError as error:
      faults.append(Fault(row.where, str(error)))
  if not clips and all(fault.stray for fault in faults):
    raise ValueError(
      f"{path} has no clips; give a file with rows of path and caption, or a folder "
      f"of {', '.join([*VIDEOS, *PICTURES])} files."
    )
  twice = dict(clips_lib.repeated(clips.ids))
  faults += [
    Fault(places[row], f"its id {clips.ids[row]!r} is also that of {places[earlier]}")
    for row, earlier in twice.items()
  ]
  if twice:
    clips = clips.take(row for row in range(len(clips)) if row not in twice)
  return clips, faults


def write_manifest(path: str | os.PathLike, clips: Iterable[Clip]) -> None:
  """Writes the canonical manifest: JSON Lines with the fields of `Clip`.

  Paths below the manifest's folder become relative to it. The file gets its name when
  it is complete.

  Args:
    path: File to write to; missing folders are made.
    clips: The rows.
  """
  folder = Path(path).absolute().parent
  with replacing(path) as temporary, temporary.open("wb") as file:
    for clip in clips:
      file.write(json_bytes(_row_of(clip, folder)) + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _row_of(clip: Clip, folder: Path) -> dict[str, Any]:
  row = {"id": clip.id, "path": _written(clip.path, folder), "caption": clip.caption}
  row |= {"reference": _written(clip.reference, folder)} if clip.reference else {}
  known = {name: getattr(clip, name) for name in _FIELDS}
  row |= {name: value for name, value in known.items() if value not in (None, {})}
  return row | dict(clip.extra)


def _written(path: str, folder: Path) -> str:
  media = os.path.abspath(path)
  below = media.startswith(os.path.join(folder, ""))
  return Path(os.path.relpath(media, folder) if below else media).as_posix()


def _clip(row: dict[str, Any], folder: Path) -> Clip:
  """Turns a row as it was written into a clip."""
  row = {name: value for name, value in row.items() if value not in (None, "")}
  media = next((name for name in PATHS if name in row), None)
  if media is None:
    raise ValueError(
      f"it names no file: it has {', '.join(map(repr, row)) or 'no field'}, and the "
      f"path is in a field called {', '.join(PATHS[:-1])} or {PATHS[-1]}"
    )
  name = _text(row.pop(media), media)
  words = next((name for name in CAPTIONS if name in row), None)
  caption = _text(row.pop(words), words) if words else ""
  guide = next((name for name in REFERENCES if name in row), None)
  reference = _resolved(_text(row.pop(guide), guide), folder) if guide else ""
  numbers = {name: _number(row.pop(name, None), name) for name in ("start", "end")}
  identity = row.pop("id", None)
  clip = Clip(
    _default_id(name, **numbers) if identity is None else _text(identity, "id"),
    _resolved(name, folder),
    " ".join(caption.split()),
    **numbers,
    **{n: _whole(row.pop(n, None), n) for n in ("width", "height", "frames")},
    fps=_number(row.pop("fps", None), "fps"),
    crop=_crop(row.pop("crop", None)),
    reference=reference,
    scores=_scores(row.pop("scores", None)),
    extra=row,
  )
  return clips_lib.check_clip(clip)


def _default_id(name: str, start: float | None, end: float | None) -> str:
  if start is None and end is None:
    return name
  times = ("" if time is None else f"{time:g}" for time in (start, end))
  return f"{name}@{'-'.join(times)}"


def _resolved(name: str, folder: Path) -> str:
  path = os.path.join(folder, os.path.expanduser(name))
  # Manifests from Windows. A name that really contains a backslash stays as written.
  if "\\" in name and os.sep == "/" and not os.path.exists(path):
    path = os.path.join(folder, name.replace("\\", "/"))
  return path


def _text(value: Any, name: str) -> str:
  if not isinstance(value, str | int) or isinstance(value, bool):
    raise ValueError(f"its {name} is {shown(value)}; it must be a text")
  return str(value)


def _number(value: Any, name: str) -> float | None:
  if value is None:
    return None
  try:
    return float(value)
  except (TypeError, ValueError, OverflowError):
    raise ValueError(f"its {name} is {shown(value)}; it must be a number") from None


def _whole(value: Any, name: str) -> int | None:
  number = _number(value, name)
  if number is None:
    return None
  if not math.isfinite(number) or number != int(number):
    raise ValueError(f"its {name} is {shown(value)}; it must be a whole number")
  return int(number)


def _crop(value: Any) -> clips_lib.Crop | None:
  """Parses a list of four numbers, or a text of them with commas or spaces."""
  if value is None:
    return None
  parts = value.strip("[]() ").replace(",", " ").split() if _is_text(value) else value
  if not isinstance(parts, list | tuple) or len(parts) != 4:
    raise ValueError(f"its crop is {shown(value)}; it must be [x, y, width, height]")
  return tuple(_whole(part, "crop") for part in parts)


def _scores(value: Any) -> dict[str, float]:
  if value is None:
    return {}
  try:
    scores = parse_json(value) if _is_text(value) else value
  except NotJSON:
    scores = None
  if not isinstance(scores, Mapping):
    raise ValueError(
      f"its scores are {shown(value)}; they must be an object such as "
      '{"aesthetic": 5.1}'
    )
  return {name: _number(score, f"score {name!r}") for name, score in scores.items()}


def _is_text(value: Any) -> bool:
  return isinstance(value, str)
