"""Clips as columns: what rules look at, for millions of them at once.

A clip takes kilobytes as an object, and its numbers 400 bytes. Rules look at numbers
only, so these are kept as arrays, one for each measure. The clip itself is asked for by
its place, where it is shown or written.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64

from ltx_jax.curation import details, duplicates, windows
from ltx_jax.curation.clip import Clip, Decision, from_json, to_json

DIGITS = 4
"""Decimals to which values are rounded before they are compared: two runs of a network
may differ in the last bits."""

DERIVED = ("seconds", "frames", "fps", "side", "pixels")
"""Measures that every clip has, an image only the last two; others are its scores."""

_HASHES = len(duplicates.PARTS)
_WINDOWS = 8 * windows.COUNT * _HASHES
_DETAILS = 8 * details.WORDS * _HASHES


class Table(NamedTuple):
  """Clips in their order, and their numbers.

  Attributes:
    clips: The clips; each may be read only when it is asked for.
    ids: Their ids.
    numbers: Measures by name, rounded; nan where a clip has none, as images no motion.
    hashes: Hashes of their stills, 0 where a clip has fewer.
    hashed: How many hashes each has.
    windows: Windows of the same stills, 0 where a clip has fewer.
    details: Details of the same stills, 0 where a clip has fewer; None if no clip has
      any, since an earlier version measured them.
    paths: Their files.
    times: Start and end of each, in seconds.
    decided: Why clips were dropped while they were measured, by their places.
    files: Number of files that they are from.
  """

  clips: Sequence[Clip]
  ids: Sequence[str]
  numbers: Mapping[str, Float[np.ndarray, "n"]]
  hashes: UInt64[np.ndarray, "n h"]
  hashed: Int[np.ndarray, "n"]
  windows: UInt64[np.ndarray, "n h w"]
  details: UInt64[np.ndarray, "n h d"] | None
  paths: Sequence[str]
  times: Float[np.ndarray, "n 2"]
  decided: Mapping[int, Decision]
  files: int

  def measure(self, name: str) -> Float[np.ndarray, "n"]:
    """Returns a measure of all clips; nan for those that have none."""
    missing = self.numbers.get(name)
    return np.full(len(self.ids), np.nan) if missing is None else missing


def tabled(
  clips: Sequence[Clip], rows: Iterable[Mapping[str, Any]] | None = None
) -> Table:
  """Returns clips as columns.

  Args:
    clips: The clips.
    rows: The same as objects of JSON, in order; None asks the clips.

  Raises:
    ValueError: If a clip has codes of too many stills, or one that is none.
  """
  ids, paths, files, decided = [], [], {}, {}
  times = array.array("d")
  derived = [array.array("d") for _ in DERIVED]
  scores: dict[str, array.array] = {}
  hashes, hashed = array.array("Q"), array.array("b")
  seen, finer = bytearray(), bytearray()
  for place, row in enumerate(map(to_json, clips) if rows is None else rows):
    ids.append(row["id"])
    # One text for all clips of a file.
    paths.append(files.setdefault(row["source"], row["path"]))
    times.extend((row["start"], row["end"]))
    if row["decision"]:
      decided[place] = from_json(Decision, row["decision"])
    for column, value in zip(derived, _derived(row), strict=True):
      column.append(value)
    for name, value in row["scores"].items():
      column = scores.get(name) or scores.setdefault(name, array.array("d"))
      if len(column) < place:
        column.extend([np.nan] * (place - len(column)))
      column.append(value)
    _check_stills(row)
    hashed.append(len(row["hashes"]))
    hashes.extend(duplicates.from_text(row["hashes"]))
    hashes.extend([0] * (_HASHES - hashed[-1]))
    seen += windows.from_text(row.get("windows", ())).ljust(_WINDOWS, b"\0")
    finer += details.from_text(row.get("details", ())).ljust(_DETAILS, b"\0")
  words = np.frombuffer(finer, "<u8").reshape(-1, _HASHES, details.WORDS)
  numbers = scores | dict(zip(DERIVED, derived, strict=True))
  return Table(
    clips,
    ids,
    {name: _whole(column, len(ids)) for name, column in numbers.items()},
    np.frombuffer(hashes, np.uint64).reshape(-1, _HASHES),
    np.frombuffer(hashed, np.int8).astype(np.int64),
    np.frombuffer(seen, "<u8").reshape(-1, _HASHES, windows.COUNT),
    words if words.any() else None,
    paths,
    np.frombuffer(times).reshape(-1, 2),
    decided,
    len(files),
  )


def _check_stills(row: Mapping[str, Any]) -> None:
  """Refuses codes of too many stills; clips of an earlier version lack some codes."""
  for name in ("hashes", "windows", "details"):
    if len(row.get(name, ())) > _HASHES:
      raise ValueError(
        f"{row['id']} has {name} of {len(row[name])} stills; {_HASHES} are known."
      )


def _derived(row: Mapping[str, Any]) -> tuple[float, ...]:
  """Returns the measures of `DERIVED`."""
  width, height = row["crop"][2:] if row["crop"] else (row["width"], row["height"])
  size = min(width, height), width * height
  if row["frames"] == 1:
    return np.nan, np.nan, np.nan, *size
  return row["end"] - row["start"], row["frames"], row["fps"], *size


def _whole(column: array.array, count: int) -> Float[np.ndarray, "n"]:
  missing = np.full(count - len(column), np.nan)
  return np.round(np.concatenate([np.frombuffer(column), missing]), DIGITS)
