"""Reads the layouts of manifests as rows of named fields.

`manifest` describes the layouts and the fields.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ltx_jax.data.clips import Fault
from ltx_jax.data.suffixes import PICTURES, VIDEOS
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json, read_text

PATHS = ("path", "media_path", "file_name", "video")
CAPTIONS = ("caption", "text", "prompt")
REFERENCES = ("reference", "reference_path")

_HISTOGRAMS = "manifest.png"  # `train.manifest` leaves it among the clips.
_IN_FOLDERS = ("metadata.jsonl", "metadata.csv", "metadata.json")
_LISTS = ("videos.txt", "video.txt")
_CAPTION_LISTS = ("prompts.txt", "captions.txt", "prompt.txt")


class Row(NamedTuple):
  """A row's place, with its fields as they are written."""

  where: str
  fields: dict[str, Any]


Rows = Iterator[Row | Fault]


def rows(path: Path, captions: Path | None) -> Rows:
  """Yields the rows of a manifest in any layout, and the faults of invalid rows.

  Args:
    path: A file or a folder.
    captions: The text of captions, if `path` is a text of paths.

  Raises:
    ValueError: If `path` as a whole cannot be read.
  """
  if captions is not None:
    return _rows_of_lists(path, captions)
  if path.is_dir():
    return _rows_of_folder(path)
  if not path.is_file():
    raise ValueError(f"{path} does not exist; give a manifest or a folder of media.")
  readers = {".jsonl": _rows_of_jsonl, ".json": _rows_of_json}
  readers |= {".csv": _rows_of_csv, ".tsv": _rows_of_csv}
  suffix = path.suffix.lower()
  if suffix == ".txt":
    raise ValueError(
      f"{path} is a text; it can be a list of paths only together with --captions and "
      "a text of captions, one line per clip."
    )
  if suffix not in readers:
    raise ValueError(
      f"{path} has the suffix {path.suffix!r}; a manifest is {', '.join(readers)}, or "
      "a folder."
    )
  return readers[suffix](path)


def _rows_of_folder(folder: Path) -> Rows:
  there = [name for name in _IN_FOLDERS if (folder / name).is_file()]
  lists = [name for name in _LISTS if (folder / name).is_file()]
  texts = [name for name in _CAPTION_LISTS if (folder / name).is_file()]
  there += lists if texts else []
  if len(there) > 1 or (there == lists and len(texts) > 1):
    raise ValueError(
      f"{folder} holds {', '.join([*there, *texts])}; name the one to use."
    )
  if not there:
    return _rows_of_media(folder)
  if there == lists:
    return _rows_of_lists(folder / there[0], folder / texts[0])
  return rows(folder / there[0], None)


def _rows_of_media(folder: Path) -> Rows:
  """Yields media with texts of the same name next to them, in all folders below."""
  seen = set()
  for parent, folders, names in os.walk(folder, followlinks=True):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    if os.path.realpath(parent) in seen:  # A link leads to a folder above itself.
      folders.clear()
      continue
    seen.add(os.path.realpath(parent))
    texts = {name for name in names if name.lower().endswith(".txt")}
    used = set()
    for name in sorted(name for name in names if not name.startswith(".")):
      if name == _HISTOGRAMS:
        continue
      stem, suffix = os.path.splitext(name)
      if suffix.lower() not in VIDEOS and suffix.lower() not in PICTURES:
        continue
      beside = [text for text in (f"{stem}.txt", f"{name}.txt") if text in texts]
      used.update(beside)
      path = os.path.relpath(os.path.join(parent, name), folder)
      row = {"path": Path(path).as_posix()}
      try:
        if beside:
          row["caption"] = read_text(Path(parent, beside[0]))
        yield Row(row["path"], row)
      except ValueError as error:
        yield Fault(row["path"], str(error))
    for name in sorted(texts - used):
      path = Path(os.path.relpath(os.path.join(parent, name), folder)).as_posix()
      why = "it is a text without a clip of the same name next to it"
      yield Fault(path, why, stray=True)


def _rows_of_lists(path: Path, captions: Path) -> Rows:
  found = [read_text(file).split("\n") for file in (path, captions)]
  for lines in found:
    while lines and not lines[-1].strip():
      lines.pop()
  paths, texts = found
  if len(paths) != len(texts):
    raise ValueError(
      f"{path} has {len(paths)} lines, but {captions} has {len(texts)}; a clip needs "
      "its caption on the same line."
    )
  for line, (name, text) in enumerate(zip(paths, texts, strict=True), 1):
    if name.strip() or text.strip():
      yield Row(f"line {line}", {"path": name.strip(), "caption": text})


def _rows_of_jsonl(path: Path) -> Rows:
  with _open_text(path) as file:
    for line, text in _lines(path, file):
      if not text.strip():
        continue
      try:
        yield _object(f"line {line}", parse_json(text))
      except NotJSON as error:
        yield Fault(f"line {line}", f"it is not JSON ({error})")


def _rows_of_json(path: Path) -> Rows:
  try:
    found = parse_json(read_text(path))
  except NotJSON as error:
    raise ValueError(f"{path} is not JSON: {error}.") from None
  if not isinstance(found, list):
    kind = type(found).__name__
    raise ValueError(f"{path} holds a {kind}; it must be a list of rows.")
  for number, row in enumerate(found, 1):
    yield _object(f"row {number}", row)


def _object(where: str, row: Any) -> Row | Fault:
  if isinstance(row, dict):
    return Row(where, row)
  return Fault(where, f"it is not a JSON object, but {json.dumps(row)[:40]}")


def _rows_of_csv(path: Path) -> Rows:
  with _open_text(path, newline="") as file:
    header = next(_lines(path, file), (1, ""))[1]
    separator = max(",;\t", key=header.count)
    names = [name.strip() for name in _cells(path, header, separator)]
    if not set(names) & set(PATHS):
      raise ValueError(
        f"{path} has the columns {_listed(names)}; call the "
        f"column of paths {', '.join(PATHS[:-1])} or {PATHS[-1]}, and that of captions "
        f"{', '.join(CAPTIONS[:-1])} or {CAPTIONS[-1]}."
      )
    reader = csv.reader((text for _, text in _lines(path, file)), delimiter=separator)
    try:
      for values in reader:
        where = f"line {reader.line_num + 1}"
        if len(values) > len(names):
          why = f"it has {len(values)} columns, but the header has {len(names)}"
          yield Fault(where, f"{why}; put texts with a {separator!r} in quotes")
        elif values:
          yield Row(where, dict(zip(names, values, strict=False)))
    except csv.Error as error:
      raise ValueError(
        f"{path} is not valid CSV at line {reader.line_num + 1}: {error}."
      ) from None


def _listed(names: list[str]) -> str:
  return ", ".join(map(shown, names[:10])) or "none"


def _cells(path: Path, line: str, separator: str) -> list[str]:
  try:
    return next(csv.reader([line], delimiter=separator), [])
  except csv.Error as error:
    raise ValueError(f"{path} is not valid CSV at line 1: {error}.") from None


def _lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
  line = 0
  try:
    for line, text in enumerate(file, 1):
      yield line, text
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{path} is not UTF-8 text: after line {line} it holds the byte "
      f"0x{error.object[error.start]:02x}; save it as UTF-8."
    ) from None


def _open_text(path: Path, newline: str | None = None) -> TextIO:
  with path.open("rb") as file:
    utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
  return path.open(encoding="utf-16" if utf16 else "utf-8-sig", newline=newline)
