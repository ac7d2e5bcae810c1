"""The folder of a curation: what lies where, who may write, and what made it.

    run.json          what all measurements depend on
    sources.jsonl     files that can be read, ascending by id
    parts/            what was measured, a file for each span
    stills/           images of clips, named by their content
    clips.jsonl       all clips, by source and time, merged from the parts
    refused.jsonl     files and spans that cannot be used, each with its decision
    decisions.jsonl   every clip that is dropped, and everything that is refused
    selected.jsonl    the clips that are kept
    manifest.jsonl    the same for trainers, with captions
    report.html       the funnel and its figures, to look at

A part is committed by renaming it, so a file that has its name is whole. What remains
to be done follows from the files alone, and a run that was killed continues there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ltx_jax.curation.clip import Clip, Decision, Source, Span, from_json, to_json
from ltx_jax.data import partial
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, json_bytes, parse_json, replacing

SCHEMA = 3
"""Version of the layout and of what is measured: since 2 the windows of clips, since 3
their details."""

_LIBRARIES = ("av", "numpy", "opencv-python-headless", "pillow")


@dataclasses.dataclass(frozen=True)
class Folder:
  """Paths of a curation.

  Attributes:
    root: The folder.
  """

  root: Path

  @property
  def run(self) -> Path:
    return self.root / "run.json"

  @property
  def probed(self) -> Path:
    """Files that were looked at so far; lines are appended."""
    return self.root / "probed.jsonl"

  @property
  def sources(self) -> Path:
    return self.root / "sources.jsonl"

  @property
  def clips(self) -> Path:
    return self.root / "clips.jsonl"

  @property
  def refused(self) -> Path:
    return self.root / "refused.jsonl"

  @property
  def scores(self) -> Path:
    """Scores of stills by name; lines are appended."""
    return self.root / "scores.jsonl"

  def part(self, span_id: str) -> Path:
    """Returns the file of a span's measurements."""
    name = hashlib.sha256(span_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return self.root / "parts" / name[:2] / f"{name}.jsonl"

  def still(self, name: str) -> Path:
    """Returns the file of a still."""
    return self.root / "stills" / name[:2] / name


@dataclasses.dataclass(frozen=True)
class Part:
  """What was measured in a span.

  Attributes:
    span: Id of the span.
    decision: Why the span cannot be used; None if it can.
    clips: Its clips, in the order of their times.
  """

  span: str
  decision: Decision | None
  clips: tuple[Clip, ...] = ()


def commit(folder: Folder, part: Part) -> None:
  """Writes a part, whole or not at all."""
  decision = part.decision and to_json(part.decision)
  rows = [{"span": part.span, "decision": decision}, *map(to_json, part.clips)]
  path = folder.part(part.span)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial.write_bytes(path, b"".join(json_bytes(row) + b"\n" for row in rows))


def read_part(folder: Folder, span: Span) -> Part:
  """Reads the part of a span.

  Raises:
    ValueError: If it does not hold what `commit` writes; the message names the file.
  """
  path = folder.part(span.id)
  head, *rows = read_rows(path)
  try:
    decision = head["decision"] and from_json(Decision, head["decision"])
    clips = tuple(from_json(Clip, row) for row in rows)
  except (KeyError, ValueError) as error:
    raise ValueError(f"{path} is damaged: {error}; remove it to measure again.") from (
      None
    )
  return Part(span.id, decision, clips)


def save_still(folder: Folder, name: str, content: bytes) -> None:
  """Writes a still, unless it is there: its name says its content."""
  path = folder.still(name)
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(path, content)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
  """Yields the objects of a JSON Lines file that was written whole.

  Raises:
    ValueError: If a line is none; the message names it.
  """
  with path.open("rb") as file:
    for number, line in enumerate(file, 1):
      try:
        yield parse_json(line)
      except NotJSON as error:
        raise ValueError(f"{path}, line {number}: {error}.") from None


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes a JSON Lines file, whole or not at all."""
  with replacing(path) as temporary, temporary.open("wb") as file:
    for row in rows:
      file.write(json_bytes(row) + b"\n")


def read_sources(folder: Folder) -> list[Source]:
  """Reads the files that can be read.

  Raises:
    ValueError: If nothing was planned yet.
  """
  if not folder.sources.exists():
    raise ValueError(
      f"{folder.root} has no sources.jsonl; begin with `python -m train.curate run "
      f"FOOTAGE --output {folder.root}`."
    )
  return [from_json(Source, row) for row in read_rows(folder.sources)]


def fingerprint(measures: Any) -> dict[str, Any]:
  """Returns what measurements depend on: their numbers and the libraries' versions."""
  numbers = {name: rule._asdict() for name, rule in measures._asdict().items()}
  found = {"schema": SCHEMA, "measures": numbers}
  found["versions"] = {name: metadata.version(name) for name in _LIBRARIES}
  return json.loads(json.dumps(found))


def check_fingerprint(folder: Folder, found: Mapping[str, Any]) -> None:
  """Notes what makes the measurements of a folder, or compares it with the note.

  Raises:
    ValueError: If the folder was made with other numbers or versions.
  """
  if not folder.run.exists():
    partial.write_bytes(folder.run, json.dumps(found, indent=2).encode() + b"\n")
    return
  before = parse_json(folder.run.read_bytes())
  for name, value in _leaves(found).items():
    was = _leaves(before).get(name)
    if was != value:
      raise ValueError(
        f"{folder.root} was measured with {name} {shown(was)}, and now it is "
        f"{shown(value)}; give another --output, or install what it was measured with."
      )


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
  if not isinstance(value, Mapping):
    return {path: value}
  found = {}
  for name, inner in value.items():
    found |= _leaves(inner, f"{path}.{name}" if path else name)
  return found


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[None]:
  """Keeps other runs out of a folder while this one works.

  Raises:
    ValueError: If another one works there.
  """
  folder.root.mkdir(parents=True, exist_ok=True)
  with (folder.root / ".lock").open("w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(
        f"Another run works in {folder.root}; wait for it, or give another --output."
      ) from None
    yield
