"""Records as a source: a folder of encoded clips, read as batches.

`record` defines a record, `shards` stores records in files, and `record_index` lists
them. To read or write records, the names of this module are enough.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt32

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data import assignment
from ltx_jax.data.partial import remove_partials
from ltx_jax.data.record import SCHEMA, Record, decode, encode
from ltx_jax.data.record_index import Index, SetInfo, read_index, write_index
from ltx_jax.data.shards import Shards, Writer

__all__ = [
  "SCHEMA",
  "Index",
  "Record",
  "Records",
  "SetInfo",
  "Writer",
  "decode",
  "encode",
  "read_index",
  "remove_partials",
  "write_index",
]

_SIZE = re.compile(r"#\d+x\d+x\d+$")


class Records:
  """A folder of records as a source of batches; safe to read from several threads.

  Attributes:
    index: One row per record, in the order of ids.
    info: Properties that all records share.
    text_tokens: Number of tokens m that texts are padded to.
    fingerprint: Hash of everything that determines the batches.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    keep: Callable[[Index], Bool[np.ndarray, "n"]] | None = None,
    text_tokens: int | None = None,
  ):
    """Opens a folder; reads no record yet.

    Args:
      folder: Folder that `train.precompute` wrote.
      keep: Function that says which rows of the index to use, for a split or a filter
        by scores; None uses all.
      text_tokens: Number of tokens that texts are padded or cut to; None takes the
        longest text's.

    Raises:
      ValueError: If the folder holds no records, or records of another schema; if a
        shard is missing or cut off; if no record is kept.
    """
    self.folder = Path(folder)
    index, self.info, empty, shards = read_index(self.folder)
    self.index = index if keep is None else index.take(np.flatnonzero(keep(index)))
    if not len(self.index):
      raise ValueError(f"Of the {len(index)} records in {folder}, none is kept.")
    self._shards = Shards(self.folder, shards)
    longest = max(int(index.tokens.max()), *(len(array) for array in empty.values()), 1)
    self.text_tokens = longest if text_tokens is None else text_tokens
    self._empty = empty
    self.fingerprint = self._hash()

  def _hash(self) -> str:
    digest = hashlib.sha256()
    shared = (SCHEMA, self.info.vae, self.info.text_encoder, self.text_tokens)
    digest.update(json.dumps(shared).encode())
    for texts in (self.index.ids, self.index.keys):
      for array in texts.arrays():
        digest.update(array)
    return digest.hexdigest()[:16]

  def __len__(self) -> int:
    return len(self.index)

  @property
  def empty(self) -> dict[str, np.ndarray]:
    """The caption "": `text` [m e] or `tokens` [m], as in batches, and `mask`."""
    return {name: rows[0] for name, rows in self.padded([self._empty]).items()}

  def check(self, vae: str, text_encoder: str | None = None) -> None:
    """Refuses records that were encoded by other networks than those of the run.

    Args:
      vae: Fingerprint of the run's VAE.
      text_encoder: Fingerprint of its text encoder, or tokenizer; None accepts any.

    Raises:
      ValueError: If a fingerprint differs; the message names both.
    """
    pairs = (
      ("VAE", self.info.vae, vae),
      ("text encoder", self.info.text_encoder, text_encoder),
    )
    for what, found, expected in pairs:
      if expected is not None and found != expected:
        raise ValueError(
          f"{self.folder} was encoded by another {what}: its fingerprint is {found!r}, "
          f"but this run's is {expected!r}. Name the model that encoded it, or run "
          "train.precompute again."
        )

  def assign(self, buckets: Sequence[Bucket]) -> list[Int[np.ndarray, "_"]]:
    """Returns for each bucket the records of its size, or longer: see `read`.

    If a clip was encoded in several sizes, under ids such as `clip#9x64x64`, a bucket
    of one of these sizes takes only the record of that size.
    """
    frames, height, width = self.index.sizes.T
    clips = self._clips()
    assigned = []
    for b in buckets:
      same = (height == b.height) & (width == b.width)
      own, longer = same & (frames == b.frames), same & (frames > b.frames)
      if clips is not None:
        longer &= ~np.isin(clips, clips[own])
      assigned.append(np.flatnonzero(own | longer).astype(np.int64))
    return assigned

  def _clips(self) -> np.ndarray | None:
    """Returns the clip of each record; None if every clip has a single record."""
    content, _ = self.index.ids.arrays()
    if not np.any(content == ord("#")):
      return None
    return np.array([_SIZE.sub("", clip) for clip in self.index.ids])

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Returns a bucket for each size that occurs (`assignment.exact`)."""
    del factors, tokens  # Encoded clips have latent positions already.
    return assignment.exact(self.index.sizes, auto)

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> dict[str, Shaped[np.ndarray, "b ..."]]:
    """Makes a batch.

    A longer record serves a shorter bucket with its first latent frames: the VAE is
    causal, so these are the latents of the clip's beginning. The bucket's last frame is
    then not that of the clip, so `last` is left out.

    Args:
      bucket: A bucket that takes the records (`assign`).
      ids: Positions in the index.
      seeds: Seeds that are passed on; nothing in a record is random.

    Raises:
      ValueError: If a record is damaged, or does not fit the bucket.
    """
    frames = (bucket.frames - 1) // self.info.factors[0] + 1
    side = self.info.factors[1]
    shape = (frames, bucket.height // side, bucket.width // side, self.info.channels)
    own = bool(np.all(self.index.sizes[ids, 0] == bucket.frames))
    beside = [name for name in self.info.beside if own or name != "last"]
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in ("latents", *beside)}
    texts = []
    for row in ids.tolist():
      record = self.record(row)
      if record.latents[:frames].shape != shape:
        raise ValueError(
          f"Record {record.id!r} has latents of shape {record.latents.shape}, which do "
          f"not fit a bucket of {bucket.frames}x{bucket.height}x{bucket.width}."
        )
      for name, rows in arrays.items():
        array = getattr(record, name)
        wanted = array is not None and (shape[1:] == array.shape[1:])
        if not wanted or array.dtype != record.latents.dtype:
          raise ValueError(
            f"Record {record.id!r} has not the {name} that {self.folder} is said to "
            "hold; run train.precompute again."
          )
        rows.append(array[:frames])
      texts.append({"text": record.text, "tokens": record.tokens})
    batch = {name: _stacked(rows) for name, rows in arrays.items()}
    batch |= {"fps": self.index.fps[ids].astype(np.float32), "seed": seeds}
    return batch | self.padded(texts)

  def padded(self, texts: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Stacks texts and tokens, padded with zeros, and adds their mask."""
    batch: dict[str, np.ndarray] = {}
    for name in ("text", "tokens"):
      rows = [text.get(name) for text in texts]
      if any(row is None for row in rows):
        continue
      if len({(row.shape[1:], row.dtype) for row in rows}) > 1:
        raise ValueError(
          f"{self.folder} has records whose {name} differ in width or dtype; run "
          "train.precompute again."
        )
      shape = (len(rows), self.text_tokens, *rows[0].shape[1:])
      batch[name] = np.zeros(shape, rows[0].dtype)
      batch["mask"] = np.zeros(shape[:2], bool)
      bits = f"u{rows[0].dtype.itemsize}"
      for i, row in enumerate(rows):
        own = row[: self.text_tokens]
        batch[name].view(bits)[i, : len(own)] = own.view(bits)
        batch["mask"][i, : len(own)] = True
    return batch

  def record(self, row: int) -> Record:
    """Reads one record.

    Raises:
      ValueError: If it is damaged.
    """
    blob = self._shards.read(int(self.index.shard[row]), int(self.index.row[row]))
    try:
      record = decode(blob)
    except ValueError as error:
      raise ValueError(f"Record {self.index.ids[row]!r}: {error}.") from None
    if record.id != self.index.ids[row]:
      raise ValueError(
        f"{self.folder}: the index and its shards do not belong together, since record "
        f"{self.index.ids[row]!r} is {record.id!r}; run train.precompute again."
      )
    return record


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
  """Stacks arrays of one shape by their bits, because NumPy copies bfloat16 slowly."""
  bits = f"u{rows[0].dtype.itemsize}"
  return np.stack([row.view(bits) for row in rows]).view(rows[0].dtype)
