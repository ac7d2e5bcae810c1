"""What is to be done: the files of a folder, and those that were looked at already."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ltx_jax.curation.clip import Clip, Source, Span, from_json, spans, to_json
from ltx_jax.data import partial
from ltx_jax.data.suffixes import PICTURES, VIDEOS
from ltx_jax.files import NotJSON, json_bytes, parse_json, read_lines
from train.curation.folder import Folder, write_rows
from train.curation.workers import Limits, measuring, probing, size_of

Pool = Callable[[Sequence[bytes], str], Iterator[bytes]]
"""Function that has workers do pieces of work, with words for a progress bar; it yields
what `workers.perform` returns, in any order."""


_MEASURED = frozenset(
  field.name for kind in (Source, Clip) for field in dataclasses.fields(kind)
)


class Footage(NamedTuple):
  """A file that is looked at.

  Attributes:
    id: Its name, unique among all.
    path: Where it is.
    extra: Fields of its line in a list that have no meaning here.
  """

  id: str
  path: str
  extra: Mapping[str, Any] = types.MappingProxyType({})


def footage(path: Path) -> list[Footage]:
  """Returns the files of a folder, or of a list in JSON Lines, ascending by id.

  Args:
    path: A folder, with all folders below it; a file; or a list with `path` and, if
      that shall not be the id, `id` in each line. Its other fields come back in the
      manifest, but for those that are measured.

  Raises:
    ValueError: If there is none, a line is broken, or two have the same id.
  """
  if path.suffix == ".jsonl":
    found = list(_listed(path))
  elif path.is_file():
    found = [Footage(path.name, str(path.absolute()))]
  else:
    found = sorted(_below(path))
  if not found:
    raise ValueError(f"{path} has no video and no image; give a folder that has some.")
  return sorted(found)


def _below(folder: Path) -> Iterator[Footage]:
  if not folder.is_dir():
    raise ValueError(f"{folder} does not exist; give a folder of videos.")
  for root, _, names in os.walk(folder, followlinks=True):
    for name in names:
      path = Path(root, name)
      if path.suffix.lower() in (VIDEOS | PICTURES) and not name.startswith("."):
        identity = path.relative_to(folder).as_posix().replace("\n", r"\n")
        yield Footage(identity, str(path.absolute()))


def _listed(path: Path) -> Iterator[Footage]:
  lines: dict[str, int] = {}
  for number, line in enumerate(read_lines(path), 1):
    if not line.strip():
      continue
    try:
      row = parse_json(line)
    except NotJSON as error:
      raise ValueError(f"{path}, line {number} is not JSON: {error}.") from None
    file = row.get("path") if isinstance(row, dict) else None
    identity = row.get("id", file) if isinstance(row, dict) else None
    if not isinstance(file, str) or not isinstance(identity, str) or not identity:
      raise ValueError(
        f'{path}, line {number} must be an object such as {{"id": "a", "path": '
        '"a.mp4"}, with texts.'
      )
    if identity in lines:
      raise ValueError(
        f"{path}: lines {lines[identity]} and {number} have the same id {identity!r}; "
        "give each file an id of its own."
      )
    lines[identity] = number
    extra = {name: value for name, value in row.items() if name not in _MEASURED}
    yield Footage(identity, os.path.abspath(os.path.join(path.parent, file)), extra)


def shard_of(found: Sequence[Footage], shard: str) -> list[Footage]:
  """Returns the files of one of several clusters, by a hash of their ids.

  Args:
    found: All files.
    shard: Which of how many, such as `0/4`.

  Raises:
    ValueError: If it is not written so.
  """
  number, _, count = shard.partition("/")
  if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
    raise ValueError(
      f"--shard is {shard!r}; it must be one of several, such as 0/4 to 3/4."
    )

  def of(identity: str) -> int:
    content = identity.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")

  return [file for file in found if of(file.id) % int(count) == int(number)]


def plan(
  folder: Folder, found: Sequence[Footage], pool: Pool, limits: Limits
) -> list[Source]:
  """Looks at the files that were not looked at yet, and writes `sources.jsonl`.

  Returns:
    The files that can be read, ascending by id.
  """
  known = {row["id"]: row for row in partial.read_json_lines(folder.probed)}
  known = {file.id: known[file.id] for file in found if _same(known.get(file.id), file)}
  new = [file for file in found if file.id not in known]
  work = [probing(file.path, file.id, limits) for file in new]
  with folder.probed.open("ab") as log:
    for answer in pool(work, "looking at files"):
      row = parse_json(answer)
      known[row["id"]] = row
      log.write(json_bytes(row) + b"\n")
      log.flush()
  rows = [known[file.id] for file in found]
  sources = [
    dataclasses.replace(from_json(Source, row["source"]), extra=dict(file.extra))
    for row, file in zip(rows, found, strict=True)
    if "source" in row
  ]
  write_rows(folder.sources, map(to_json, sources))
  write_rows(folder.refused, (row for row in rows if "decision" in row))
  return sources


def _same(row: dict[str, Any] | None, file: Footage) -> bool:
  """Whether a file was looked at, and has been the same since."""
  if row is None or row["path"] != file.path:
    return False
  return row["bytes"] == size_of(file.path)


def remaining(folder: Folder, sources: Iterable[Source]) -> list[Span]:
  """Returns the spans that no part has yet."""
  found = (span for source in sources for span in spans(source))
  return [span for span in found if not folder.part(span.id).exists()]


def work_of(folder: Folder, missing: Iterable[Span], limits: Limits) -> list[bytes]:
  """Returns the work of measuring spans."""
  return [measuring(folder, span, limits) for span in missing]
