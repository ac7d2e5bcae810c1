"""From measurements to decisions: merges the parts, and applies the rules.

No video is opened here. The clips are ordered by source and time, whatever the order
in which workers finished, so the files are the same byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import operator
import os
import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, SupportsIndex

import numpy as np

from ltx_jax.cli.command_line import nearest
from ltx_jax.curation.clip import (
  Clip,
  Decision,
  Source,
  aesthetics,
  from_json,
  spans,
  to_json,
)
from ltx_jax.curation.filters import Filter, Selection, Threshold, select
from ltx_jax.curation.table import Table, tabled
from ltx_jax.data import partial
from ltx_jax.files import json_bytes, parse_json, replacing
from train.curation.folder import Folder, read_part, read_rows, write_rows

SELECTED, CAPTIONED = "selected.jsonl", "captioned.jsonl"

_UNTOLD: Mapping[str, Clip] = MappingProxyType({})
_NUMBER = re.compile(r"([^=]+)=(-?[0-9.]+)(%?)")


def merge(folder: Folder, sources: Sequence[Source]) -> tuple[int, int]:
  """Writes `clips.jsonl` from all parts, and adds what they refuse to `refused.jsonl`.

  Returns:
    Number of clips, and number of files and spans that are refused.
  """
  files = [row for row in read_rows(folder.refused) if "span" not in row]
  refused, count = [], 0

  def rows() -> Iterator[dict[str, Any]]:
    nonlocal count
    for source in sources:
      for span in spans(source):
        part = read_part(folder, span)
        if part.decision is not None:
          row = {"id": source.id, "path": source.path, "span": span.number}
          refused.append(row | {"decision": to_json(part.decision)})
        for clip in part.clips:
          count += 1
          yield to_json(clip)

  write_rows(folder.clips, rows())
  everything = sorted(
    [*files, *refused], key=lambda row: (row["id"], row.get("span", 0))
  )
  write_rows(folder.refused, everything)
  return count, len(everything)


class ClipFile(Sequence[Clip]):
  """The clips of a curation, each read from `clips.jsonl` when it is asked for.

  Args:
    folder: The curation.
    told: Clips with captions, by their ids.

  Raises:
    ValueError: If nothing was measured yet.
  """

  def __init__(self, folder: Folder, told: Mapping[str, Clip]):
    if not folder.clips.exists():
      raise ValueError(
        f"{folder.root} has no clips.jsonl; finish `python -m train.curate measure "
        f"--output {folder.root}` first."
      )
    self._told, self._path = told, folder.clips
    self._scores = {
      row["still"]: row["score"] for row in partial.read_json_lines(folder.scores)
    }
    with self._path.open("rb") as file:
      lengths = np.fromiter(map(len, file), np.int64)
    self._starts = np.concatenate([[0], np.cumsum(lengths)])
    # Not mapped: pages of the file would count as memory of the program.
    self._file = self._path.open("rb", buffering=0)
    weakref.finalize(self, self._file.close)

  def __len__(self) -> int:
    return len(self._starts) - 1

  def __getitem__(self, place: SupportsIndex) -> Clip:
    clip = from_json(Clip, self.row(place))
    told = self._told.get(clip.id)
    if told is None:
      return clip
    return dataclasses.replace(clip, caption=told.caption, extra=told.extra)

  def rows(self) -> Iterator[dict[str, Any]]:
    """Yields all clips as objects of JSON."""
    with self._path.open("rb") as file:
      yield from map(self._row, file)

  def row(self, place: SupportsIndex) -> dict[str, Any]:
    """Returns a clip as an object of JSON."""
    return self._row(self._line(place))

  def line(self, place: SupportsIndex) -> bytes:
    """Returns the line of a clip, with the scores of its stills."""
    line = self._line(place)
    return json_bytes(self._row(line)) + b"\n" if self._scores else line

  def _line(self, place: SupportsIndex) -> bytes:
    place = operator.index(place)
    if not 0 <= place < len(self):
      raise IndexError(place)
    start, stop = self._starts[place : place + 2].tolist()
    return os.pread(self._file.fileno(), stop - start, start)

  def _row(self, line: bytes) -> dict[str, Any]:
    row = parse_json(line)
    row["scores"] |= aesthetics(row["stills"], self._scores)
    return row


def read_clips(
  folder: Folder, told: Mapping[str, Clip] = MappingProxyType({})
) -> Table:
  """Reads all clips, with the scores of their stills if there are any.

  Args:
    folder: The curation.
    told: Clips with captions, by their ids.

  Raises:
    ValueError: If nothing was measured yet.
  """
  clips = ClipFile(folder, told)
  return tabled(clips, clips.rows())


def with_thresholds(filters: Sequence[Filter], given: Iterable[str]) -> list[Filter]:
  """Returns rules with other numbers.

  Args:
    filters: The rules.
    given: Names of rules and their numbers, such as `static=0.01`, or shares of the
      clips that are kept, such as `aesthetic=30%`.

  Raises:
    ValueError: If a rule has no such name, or no single number.
  """
  found = {each.name: each for each in filters}
  for text in given:
    match = _NUMBER.fullmatch(text)
    if not match:
      raise ValueError(
        f"--threshold has {text!r}; write a rule and its number, such as static=0.01, "
        "or the share that is kept, such as aesthetic=30%."
      )
    name, number, percent = match.groups()
    if not isinstance(found.get(name), Threshold):
      names = [n for n, each in found.items() if isinstance(each, Threshold)]
      raise ValueError(f"--threshold names the rule {name!r}; {nearest(name, names)}")
    found[name] = _with_number(found[name], float(number), bool(percent))
  return list(found.values())


def _with_number(rule: Threshold, number: float, share: bool) -> Threshold:
  if share:
    return dataclasses.replace(rule, least=None, most=None, best=number / 100)
  if rule.least is not None and rule.most is not None:
    raise ValueError(f"The rule {rule.name!r} has two numbers; change it in a recipe.")
  bound = "most" if rule.most is not None else "least"
  return dataclasses.replace(rule, best=None, **{bound: number})


def note_rules(into: Path, rules: str, thresholds: Sequence[str]) -> None:
  """Notes which rules selected, for `write`."""
  into.mkdir(parents=True, exist_ok=True)
  content = json.dumps({"rules": rules, "threshold": list(thresholds)}).encode()
  partial.write_bytes(into / "selection.json", content + b"\n")


def noted_rules(into: Path) -> tuple[str, tuple[str, ...]]:
  """Returns the rules that selected, and their other numbers.

  Raises:
    ValueError: If nothing was selected yet.
  """
  path = into / "selection.json"
  if not path.exists():
    raise ValueError(
      f"{into} has no selection; run `python -m train.curate select` first."
    )
  noted = parse_json(path.read_bytes())
  return noted["rules"], tuple(noted["threshold"])


def decide(folder: Folder, into: Path, filters: Sequence[Filter]) -> Selection:
  """Applies rules to all clips, and writes what is kept, what is not, and why.

  Args:
    folder: The curation.
    into: Folder of the selection: the curation's own, or another one.
    filters: The rules in their order.
  """
  selection = select(read_clips(folder), filters)
  with replacing(into / SELECTED) as temporary, temporary.open("wb") as file:
    file.writelines(map(selection.table.clips.line, selection.kept))
  write_decisions(folder, into, selection)
  # Captions of another selection.
  (into / CAPTIONED).unlink(missing_ok=True)
  return selection


def write_decisions(folder: Folder, into: Path, selection: Selection) -> None:
  """Writes what was refused and dropped, and the rules that did so."""
  write_rows(into / "decisions.jsonl", decisions(folder, selection))
  off = selection.off
  rows = (_rule(rule, off.get(rule.name)) for rule in selection.filters)
  write_rows(into / "rules.jsonl", rows)


def decisions(folder: Folder, selection: Selection) -> Iterator[dict[str, Any]]:
  """Yields a row for everything that is refused and for each clip that is dropped."""
  yield from read_rows(folder.refused)
  table = selection.table
  for place in np.flatnonzero(selection.dropped >= 0).tolist():
    start, end = table.times[place].tolist()
    known = {"id": table.ids[place], "path": table.paths[place]}
    decision = to_json(selection.decision(place))
    yield known | {"start": start, "end": end, "decision": decision}


def _rule(rule: Filter, off: str | None) -> dict[str, Any]:
  """Returns a rule as it was applied: numbers instead of shares, and why it is off."""
  numbers = {"name": rule.name}
  for name in ("reason", "measure", "least", "most", "best"):
    if (value := getattr(rule, name, None)) is not None:
      numbers[name] = value
  return numbers | ({"off": off} if off else {})


def read_selected(into: Path, name: str = SELECTED) -> list[Clip]:
  """Reads the clips of a selection, those of `SELECTED` or of `CAPTIONED`.

  Raises:
    ValueError: If there is none.
  """
  path = into / name
  if not path.exists():
    raise ValueError(
      f"{into} has no {name}; run `python -m train.curate select` first."
    )
  return [from_json(Clip, row) for row in read_rows(path)]


def refused_of(folder: Folder) -> dict[str, Decision]:
  """Returns why files and spans are refused, by what names them."""
  found = {}
  for row in read_rows(folder.refused):
    name = row["id"] if "span" not in row else f"{row['id']}#{row['span']}"
    found[name] = from_json(Decision, row["decision"])
  return found
