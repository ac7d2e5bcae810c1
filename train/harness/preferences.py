"""What people preferred: pictures, pairs of them, and votes, in files of one folder.

    features.safetensors   what the backbone gives for each picture
    pairs.jsonl            pairs to compare, most important first
    votes.jsonl            votes, a line each; a later one replaces an earlier one
    aesthetic.safetensors  the head that was trained on them
    evaluation.json        how well it predicts votes that it has not seen

Pictures have names: their paths in their folder, or those that a curation gave its
stills. Two pictures of one source are never compared, and never trained and tested on
at once.
"""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from rich.progress import track

from ltx_jax.checkpoints.safetensors_io import open_safetensors, write_safetensors
from ltx_jax.curation import aesthetics
from ltx_jax.curation.clip import Clip, from_json
from ltx_jax.data import partial, video
from ltx_jax.errors import shown
from ltx_jax.files import json_bytes, named_in_errors, parse_json
from ltx_jax.typing import Backbone
from train.curation.folder import Folder

FEATURES, PAIRS, VOTES = "features.safetensors", "pairs.jsonl", "votes.jsonl"
HEAD, EVALUATION = "aesthetic.safetensors", "evaluation.json"
_ROWS = "names", "sources", "digests"


class Pictures(NamedTuple):
  """Pictures in the order of their names.

  Attributes:
    names: Name of each.
    paths: Where it is.
    sources: What it was taken from.
  """

  names: list[str]
  paths: list[Path]
  sources: list[str]


class Table(NamedTuple):
  """What the backbone gives for pictures.

  Attributes:
    names: Name of each picture.
    sources: What it was taken from.
    features: Its features.
    groups: Sizes of their groups.
    labels: Its logits of labels.
    digests: Hash of its file.
    backbone: Hash of the backbone's file.
  """

  names: list[str]
  sources: list[str]
  features: Float[np.ndarray, "n d"]
  groups: tuple[int, ...]
  labels: Float[np.ndarray, "n k"]
  digests: list[str]
  backbone: str


class Judged(NamedTuple):
  """Pairs with votes.

  Attributes:
    pairs: Numbers of the two pictures.
    votes: Mean vote of all people: 1 for the first picture.
    agreement: Share of pairs of people who agree, over the pairs that several saw; NaN
      if there are none.
  """

  pairs: Int[np.ndarray, "p 2"]
  votes: Float[np.ndarray, "p"]
  agreement: float


def find_pictures(folder: Path) -> Pictures:
  """Returns the pictures of a folder, or the stills of a curation.

  In a plain folder, all pictures of one subfolder are one source, and a picture that
  lies in no subfolder is one by itself.

  Raises:
    ValueError: If there are no pictures.
  """
  if not folder.is_dir():
    raise ValueError(f"There is no folder {folder}; give one with pictures.")
  found: dict[str, tuple[Path, str]] = {}
  curated = Folder(folder)
  if curated.clips.is_file():
    for row in partial.read_json_lines(curated.clips):
      clip = from_json(Clip, row)
      for name in clip.stills:
        found[name] = curated.still(name), clip.source
  else:
    for path in folder.rglob("*"):
      if path.suffix.lower() in video.PICTURES and path.is_file():
        inside = path.relative_to(folder)
        found[inside.as_posix()] = path, inside.parts[0]
  if not found:
    raise ValueError(
      f"{folder} has no pictures; give a folder with files of "
      f"{', '.join(sorted(video.PICTURES))}, or one that train.curate made."
    )
  names = sorted(found)
  return Pictures(names, [found[n][0] for n in names], [found[n][1] for n in names])


def read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
  """Reads one picture.

  Raises:
    ValueError: If it cannot be read.
  """
  return video.read(path, 1)[0][0]


def digest(path: Path) -> str:
  """Returns a hash of a file.

  Raises:
    ValueError: If it cannot be read.
  """
  try:
    with path.open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()[:32]
  except OSError as error:
    raise ValueError(f"{path} cannot be read: {error.strerror}.") from None


def describe(
  folder: Path, pictures: Pictures, backbone: Backbone, made_by: str
) -> Table:
  """Returns the features of pictures, and keeps them in a folder for the next time.

  Args:
    folder: Folder of the preferences.
    pictures: The pictures.
    backbone: The network.
    made_by: Hash of its file; what another one made is not used.
  """
  path = folder / FEATURES
  old = read_table(path) if path.is_file() else None
  known = {}
  if old is not None and old.backbone == made_by:
    known = {digest: row for row, digest in enumerate(old.digests)}
  digests = [digest(path) for path in pictures.paths]
  new = [k for k, each in enumerate(digests) if each not in known]
  rows = (read_picture(pictures.paths[k]) for k in track(new, "Looking at pictures"))
  seen = aesthetics.describe(backbone, rows) if new else None
  if seen is not None and seen.labels is None:
    raise ValueError("The backbone gives no labels; pairs need one that does.")
  place = {k: row for row, k in enumerate(new)}

  def merged(column: str) -> np.ndarray:
    return np.stack(
      [
        getattr(seen, column)[place[k]]
        if k in place
        else getattr(old, column)[known[each]]
        for k, each in enumerate(digests)
      ]
    )

  table = Table(
    *(pictures.names, pictures.sources, merged("features")),
    *((seen or old).groups, merged("labels"), digests, made_by),
  )
  _write_table(path, table)
  return table


def _write_table(path: Path, table: Table) -> None:
  arrays = {"features": table.features, "labels": table.labels}
  tensors = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in arrays.items()]
  texts = {k: json.dumps(getattr(table, k)) for k in (*_ROWS, "groups")}
  write_safetensors(path, tensors, texts | {"backbone": table.backbone})


def read_table(path: Path) -> Table:
  """Reads features that `describe` kept.

  Raises:
    ValueError: If there are none, or the file holds something else.
  """
  if not path.is_file():
    raise ValueError(
      f"There is no {path}; make it with python -m train.aesthetics pairs."
    )
  with open_safetensors(path) as reader:
    try:
      names, sources, digests = (parse_json(reader.metadata[k]) for k in _ROWS)
      groups = tuple(parse_json(reader.metadata["groups"]))
      features, labels = reader.read("features"), reader.read("labels")
      rows = names, sources, digests, labels
      if {len(each) for each in rows} != {len(features)}:
        raise KeyError
      if sum(groups) != features.shape[1]:
        raise KeyError
      backbone = reader.metadata["backbone"]
    except (KeyError, TypeError, ValueError):
      raise ValueError(
        f"{path} holds no features of pictures; delete it and run python -m "
        "train.aesthetics pairs again."
      ) from None
  return Table(names, sources, features, groups, labels, digests, backbone)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes a file of JSON Lines, whole or not at all."""
  partial.write_bytes(path, b"".join(json_bytes(row) + b"\n" for row in rows))


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Adds lines to a file of JSON Lines; a kill may have cut its last line off."""
  with named_in_errors(path), path.open("ab+") as file:
    whole = not file.seek(0, 2) or (file.seek(-1, 2), file.read(1))[1] == b"\n"
    lines = b"".join(json_bytes(row) + b"\n" for row in rows)
    file.write(lines if whole else b"\n" + lines)


def read_pairs(path: Path) -> list[tuple[str, str]]:
  """Reads the names of the pictures of each pair.

  Raises:
    ValueError: If there are none, or a line holds something else.
  """
  rows = partial.read_json_lines(path)
  if not rows:
    raise ValueError(
      f"There are no pairs in {path}; draw them with python -m train.aesthetics pairs."
    )
  return [_named(path, number, row) for number, row in enumerate(rows, start=1)]


def _named(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, str]:
  names = row.get("first"), row.get("second")
  if not all(isinstance(name, str) for name in names):
    raise ValueError(
      f"Line {number} of {path} is {shown(dict(row))}; it must name two pictures, as "
      '{"first": "a.jpg", "second": "b.jpg"}.'
    )
  return names


def read_votes(path: Path) -> dict[tuple[str, str, str], float]:
  """Reads votes by first picture, second picture and person; the last one counts.

  Raises:
    ValueError: If a line holds something else.
  """
  votes: dict[tuple[str, str, str], float] = {}
  for number, row in enumerate(partial.read_json_lines(path), start=1):
    key = *_named(path, number, row), str(row.get("rater", ""))
    vote = row.get("vote")
    votes.pop(key, None)
    if vote is None:  # It was taken back.
      continue
    if type(vote) not in (int, float) or not 0 <= vote <= 1:
      raise ValueError(
        f"Line {number} of {path} has the vote {shown(vote)}; it must be 1 for the "
        "first picture, 0 for the second, 0.5 for neither, or null."
      )
    votes[key] = float(vote)
  return votes


def judged(names: Sequence[str], votes: Mapping[tuple[str, str, str], float]) -> Judged:
  """Joins the votes of all people for each pair, in whichever order they saw it.

  Args:
    names: Names of the pictures that have features; votes for others are left out.
    votes: What `read_votes` returns.

  Raises:
    ValueError: If none is left.
  """
  place = {name: number for number, name in enumerate(names)}
  cast: dict[tuple[int, int], list[float]] = collections.defaultdict(list)
  for (first, second, _), vote in votes.items():
    if first in place and second in place and first != second:
      a, b = place[first], place[second]
      cast[min(a, b), max(a, b)].append(vote if a < b else 1 - vote)
  if not cast:
    raise ValueError(
      f"There are {len(votes)} votes, none of them for two of the {len(names)} "
      "pictures that have features; vote with python -m train.aesthetics label."
    )
  agreed = [
    aesthetics.TIE if aesthetics.TIE in (x, y) else float(x == y)
    for each in cast.values()
    for k, x in enumerate(each)
    for y in each[k + 1 :]
  ]
  return Judged(
    np.array(list(cast)),
    np.array([np.mean(each) for each in cast.values()]),
    float(np.mean(agreed)) if agreed else float("nan"),
  )
