"""The index of a folder of records: one row per record, in columns, over all shards.

Every shard has a table of its own rows next to it, so the index is made without reading
a record. Buckets, splits and filters are applied to the index when it is loaded;
records are never written again for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Int64

from ltx_jax.config.metadata import checked, freeze
from ltx_jax.data import blobs
from ltx_jax.data.clips import Texts, repeated
from ltx_jax.data.partial import write_bytes
from ltx_jax.data.record import SCHEMA, Record, check_arrays, schema_of
from ltx_jax.data.record_columns import COLUMNS, check_columns
from ltx_jax.errors import said, shown
from ltx_jax.files import parse_json

INDEX = "index.safetensors"
SHARDS = "*.arrayrecord"
_AGAIN = "run train.precompute again"


class Shard(NamedTuple):
  """A shard as listed in the index."""

  name: str
  records: int
  bytes: int


@dataclasses.dataclass(frozen=True)
class SetInfo:
  """Properties that all records of a folder share.

  Attributes:
    vae: Fingerprint of the VAE.
    channels: Channels of its latents.
    factors: (frames, pixels a side) of one latent position.
    text_encoder: Fingerprint of the text encoder, or of the tokenizer alone.
    beside: Extra arrays of each record next to its latents: `last`, `reference`.
  """

  vae: str
  channels: int
  factors: tuple[int, int]
  text_encoder: str = ""
  beside: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
  """Columns over records.

  Attributes:
    ids: Ids of the clips.
    keys: Hashes of everything that determined the records.
    shard: Position among the folder's shards.
    row: Position in the shard.
    sizes: (frames, height, width) of the encoded clips.
    fps: Frames per second.
    tokens: Number of tokens of the caption; 0 if it was not encoded.
    bytes: Size of the record in bytes.
    scores: Measures by name; nan where a record has none.
  """

  ids: Texts
  keys: Texts
  shard: Int32[np.ndarray, "n"]
  row: Int32[np.ndarray, "n"]
  sizes: Int32[np.ndarray, "n 3"]
  fps: Float64[np.ndarray, "n"]
  tokens: Int32[np.ndarray, "n"]
  bytes: Int64[np.ndarray, "n"]
  scores: Mapping[str, Float32[np.ndarray, "n"]]

  def __len__(self) -> int:
    return len(self.row)

  def take(self, rows: Int[np.ndarray, "_"]) -> Index:
    """Returns some of the rows."""
    return Index(
      Texts(self.ids[row] for row in rows.tolist()),
      Texts(self.keys[row] for row in rows.tolist()),
      *(getattr(self, name)[rows] for name in COLUMNS),
      scores={name: column[rows] for name, column in self.scores.items()},
    )


class Row(NamedTuple):
  """One row of the index (`Index`)."""

  id: str
  key: str
  size: tuple[int, int, int]
  fps: float
  tokens: int
  bytes: int
  scores: Mapping[str, float]


def row_of(record: Record, size: int) -> Row:
  """Returns the row of a record of `size` bytes."""
  tokens = max(0 if a is None else len(a) for a in (record.text, record.tokens))
  shape = (record.frames, record.height, record.width)
  return Row(record.id, record.key, shape, record.fps, tokens, size, record.scores)


def index_of(rows: Sequence[Row]) -> Index:
  """Returns the table of one shard from the rows of its records, in order."""
  count = len(rows)
  names = sorted({name for row in rows for name in row.scores})
  return Index(
    Texts(row.id for row in rows),
    Texts(row.key for row in rows),
    shard=np.zeros(count, np.int32),
    row=np.arange(count, dtype=np.int32),
    sizes=np.array([row.size for row in rows], np.int32).reshape(count, 3),
    fps=np.array([row.fps for row in rows], np.float64),
    tokens=np.array([row.tokens for row in rows], np.int32),
    bytes=np.array([row.bytes for row in rows], np.int64),
    scores={
      name: np.array([row.scores.get(name, np.nan) for row in rows], np.float32)
      for name in names
    },
  )


def joined(parts: Sequence[Index]) -> Index:
  """Returns the index of several shards, numbered in their order."""
  names = sorted({name for part in parts for name in part.scores})
  columns = {
    name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS
  }
  columns["shard"] = np.repeat(
    np.arange(len(parts), dtype=np.int32), [len(part) for part in parts]
  )
  missing = [np.full(len(part), np.nan, np.float32) for part in parts]
  return Index(
    Texts(text for part in parts for text in part.ids),
    Texts(text for part in parts for text in part.keys),
    **columns,
    scores={
      name: np.concatenate(
        [p.scores.get(name, nan) for p, nan in zip(parts, missing, strict=True)]
      )
      for name in names
    },
  )


def _arrays_of(index: Index) -> dict[str, np.ndarray]:
  arrays = {name: getattr(index, name) for name in COLUMNS}
  for name in ("ids", "keys"):
    arrays[f"{name}.bytes"], arrays[f"{name}.ends"] = getattr(index, name).arrays()
  return arrays | {f"score.{name}": column for name, column in index.scores.items()}


def _index_from(arrays: Mapping[str, np.ndarray]) -> Index:
  """The inverse of `_arrays_of`.

  Raises:
    ValueError: If `_arrays_of` cannot have made these.
  """
  check_columns(arrays)
  return Index(
    *(Texts.of(arrays[f"{n}.bytes"], arrays[f"{n}.ends"]) for n in ("ids", "keys")),
    *(arrays[name] for name in COLUMNS),
    scores={
      name.removeprefix("score."): column
      for name, column in arrays.items()
      if name.startswith("score.")
    },
  )


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[None]:
  """Says of what cannot be which file it is in."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{path} is damaged: {said(error)}; {_AGAIN}.") from None


def _write(
  path: Path, arrays: Mapping[str, np.ndarray], texts: Mapping[str, object]
) -> None:
  metadata = {name: json.dumps(value, sort_keys=True) for name, value in texts.items()}
  write_bytes(path, blobs.dump(arrays, metadata | {"schema": str(SCHEMA)}))


def _read(path: Path) -> tuple[blobs.Arrays, dict[str, object]]:
  with _damaged(path):
    arrays, texts = blobs.load(path.read_bytes())
  if texts.get("schema") != str(SCHEMA):
    raise ValueError(
      f"{path} has schema {schema_of(texts)} instead of {SCHEMA}; {_AGAIN}."
    )
  with _damaged(path):
    return arrays, {name: parse_json(text) for name, text in texts.items()}


def table_path(shard: Path) -> Path:
  """Returns the path of a shard's table."""
  return shard.with_suffix(".rows")


def write_table(shard: Path, table: Index, size: int) -> None:
  """Writes the table of a shard of `size` bytes, before the shard gets its name."""
  _write(table_path(shard), _arrays_of(table), {"bytes": size})


def read_table(shard: Path) -> tuple[Shard, Index]:
  """Reads the table of a shard.

  Raises:
    ValueError: If the shard or its table is missing, or the shard is cut off.
  """
  if not table_path(shard).is_file():
    raise ValueError(f"{shard} lacks its table {table_path(shard).name}; {_AGAIN}.")
  arrays, texts = _read(table_path(shard))
  with _damaged(table_path(shard)):
    table = _index_from(arrays)
    known = _shard([shard.name, len(table), texts.get("bytes")])
  check_shard(shard.parent, known)
  return known, table


def _shard(found: Any) -> Shard:
  kinds = list(map(type, found)) if isinstance(found, list) else []
  if kinds != [str, int, int] or not (0 < found[1] < 2**31 and 0 < found[2] < 2**63):
    raise ValueError(f"it lists {shown(found)} as a shard")
  if found[0] != Path(found[0]).name or "\0" in found[0]:
    raise ValueError(f"its shard {shown(found[0])} is not called like a file")
  return Shard(*found)


def _info(found: Any) -> SetInfo:
  """What the records share, by its fields in JSON."""
  kinds = typing.get_type_hints(SetInfo)
  fields = {"beside": []} | found if isinstance(found, Mapping) else {}
  if fields.keys() != kinds.keys():
    raise ValueError(f"it says of its records {shown(found)}")
  info = SetInfo(
    **{
      name: checked(f"its {name}", freeze(x), kinds[name]) for name, x in fields.items()
    }
  )
  if min(info.channels, *info.factors, 1) < 1 or len(info.factors) != 2:
    raise ValueError(f"it says of its records {shown(found)}")
  if not set(info.beside) <= {"last", "reference"}:
    raise ValueError(f"its records are said to hold {shown(info.beside)}")
  return info


def check_shard(folder: Path, shard: Shard) -> None:
  """Refuses a shard that is missing or differs in size from when it was written.

  Raises:
    ValueError: If it does; the message names the shard.
  """
  path = folder / shard.name
  if not path.is_file():
    raise ValueError(f"{path} is missing, with {shard.records} records; {_AGAIN}.")
  size = path.stat().st_size
  if size != shard.bytes:
    raise ValueError(
      f"{path} has {size} bytes but was written with {shard.bytes}: it was cut off or "
      f"changed. Delete it, and {_AGAIN}."
    )


def write_index(
  folder: str | os.PathLike,
  info: SetInfo,
  empty: Mapping[str, np.ndarray],
  keys: Collection[str] | None = None,
) -> Index:
  """Writes the index of all complete shards in a folder, as the last step of a run.

  Args:
    folder: Folder of the shards.
    info: Properties that all records share.
    empty: The caption "", without padding: `text` [m e], `tokens` [m], both, or
      neither.
    keys: Keys of the records to use; others in the shards are ignored, such as those
      of clips that changed. None uses all.

  Returns:
    The index that was written.

  Raises:
    ValueError: If a shard is incomplete, an id comes twice, or no record is left.
  """
  folder = Path(folder)
  tables = [read_table(path) for path in sorted(folder.glob(SHARDS))]
  if not tables:
    raise ValueError(f"{folder} holds no complete shard of records; {_AGAIN}.")
  index = joined([table for _, table in tables])
  if keys is not None:
    rows = [row for row, key in enumerate(index.keys) if key in keys]
    index = index.take(np.array(rows, np.int64))
  for row, earlier in repeated(index.ids):
    names = [tables[index.shard[r]][0].name for r in (earlier, row)]
    raise ValueError(
      f"{folder} has two records of the clip {index.ids[row]!r}, in {names[0]} and "
      f"{names[1]}; delete one of these shards, and {_AGAIN}."
    )
  _write(
    folder / INDEX,
    _arrays_of(index) | {f"empty.{name}": array for name, array in empty.items()},
    {"info": dataclasses.asdict(info), "shards": [shard for shard, _ in tables]},
  )
  return index


def read_index(
  folder: str | os.PathLike,
) -> tuple[Index, SetInfo, dict[str, np.ndarray], list[Shard]]:
  """Reads the index of a folder and checks that its shards are there, whole.

  Returns:
    The index, the shared properties, the caption "" without padding, the shards.

  Raises:
    ValueError: If there is no index, or one of another schema, or a shard is missing or
      cut off.
  """
  path = Path(folder) / INDEX
  if not path.is_file():
    raise ValueError(
      f"{folder} has no {INDEX}, which train.precompute writes last: it is not a "
      "folder of records, or the run was interrupted; start it again to finish it."
    )
  arrays, texts = _read(path)
  with _damaged(path):
    info = _info(texts.get("info"))
    listed = texts.get("shards")
    shards = [_shard(found) for found in (listed if isinstance(listed, list) else [])]
    empty = {
      name.removeprefix("empty."): arrays.pop(name)
      for name in list(arrays)
      if name.startswith("empty.")
    }
    check_arrays(empty)
    index = _index_from(arrays)
    records = np.array([shard.records for shard in shards], np.int64)
    known = (index.shard >= 0) & (index.shard < len(shards)) & (index.row >= 0)
    if not known.all() or np.any(index.row >= records[index.shard]):
      raise ValueError("it lists records that no shard has")
  for shard in shards:
    check_shard(Path(folder), shard)
  return index, info, empty, shards
