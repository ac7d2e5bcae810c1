"""The work of precomputing: which clips at which size in which shard, and for each clip
the hash of everything that determines its record.

A shard is named by the hashes of its clips. An existing shard is done. A shard whose
clips changed has another name, and copies from existing shards what was encoded before.
Latents and texts are kept apart, so that a new caption costs only its text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltx_jax.config.runs import Bucket
from ltx_jax.data import assignment
from ltx_jax.data.clips import Clip, Clips, Texts
from ltx_jax.data.record import Record, decode
from ltx_jax.data.record_index import SHARDS, Shard, read_table
from ltx_jax.data.shards import SUFFIX, Shards
from train.harness.sharing import Share, read_rows

_DIGITS = 24


class Job(NamedTuple):
  """A clip to encode at a size.

  Attributes:
    clip: Row of the manifest.
    bucket: Frames, height and width.
    source: sha256 of its media file.
    video: Hash of what determines the latents.
    text: Hash of what determines the text.
  """

  clip: Clip
  bucket: Bucket
  source: str
  video: str
  text: str

  @property
  def key(self) -> str:
    """Hash of everything that determines the record."""
    return f"{self.video}-{self.text}"


@dataclasses.dataclass(frozen=True)
class Makers:
  """The networks that make all records of a run.

  Attributes:
    vae: Fingerprint of the VAE, its dtype, and the number of clips per device and call.
    text: Fingerprint of the text encoder and its dtype, or of the tokenizer alone.
    beside: Extra arrays next to the clips' latents (`record_index.SetInfo`).
  """

  vae: str
  text: str
  beside: tuple[str, ...] = ()


class PlannedShard(NamedTuple):
  """Rows of the manifest that become one shard, all in one bucket."""

  number: int
  bucket: Bucket
  rows: np.ndarray


def _hash(*content: object) -> str:
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def plan_shards(
  clips: Clips, buckets: Sequence[Bucket], size: int
) -> list[PlannedShard]:
  """Divides the clips into shards of at most `size`, in the manifest's order.

  A clip is encoded at the longest of its lengths, because its first latent frames are
  those of the shorter ones. Clips that fit no bucket are in no shard.
  """
  taken = np.full(len(clips), -1)
  order = sorted(range(len(buckets)), key=lambda k: buckets[k].frames)
  assigned = assignment.assign(clips.sizes(), buckets)
  for k in order:  # The longest last.
    taken[assigned[k]] = k
  planned = []
  for k, bucket in enumerate(buckets):
    rows = np.flatnonzero(taken == k)
    for number, start in enumerate(range(0, len(rows), size)):
      planned.append(PlannedShard(number, bucket, rows[start : start + size]))
  return planned


def jobs_of(
  shard: PlannedShard, clips: Clips, makers: Makers, source: Callable[[Clip], str]
) -> list[Job]:
  """Returns the jobs of a shard.

  Args:
    shard: Planned shard with its rows.
    clips: The manifest.
    makers: Networks that encode.
    source: Function that returns the sha256 of a clip's media, "" if it is unreadable.
  """
  b = shard.bucket
  jobs = []
  for row in shard.rows.tolist():
    clip = clips[row]
    digest = source(clip)
    window = clip.start, clip.end, clip.fps, clip.crop, (b.frames, b.height, b.width)
    seed = clip.extra.get("seed")
    more = ["last"] if "last" in makers.beside else []
    if "reference" in makers.beside:
      more.append(source(clip._replace(path=clip.reference)))
    video = _hash(digest, window, seed, makers.vae, *more)
    text = _hash(clip.caption, makers.text)
    jobs.append(Job(clip, b, digest, video, text))
  return jobs


def shard_name(shard: PlannedShard, jobs: Sequence[Job]) -> str:
  """Returns the file name of a shard: its size, number and the hash of its jobs.

  The hash includes the extra arrays of a record.
  """
  b = shard.bucket
  rows = [[job.clip.id, job.key, dict(job.clip.scores), job.source] for job in jobs]
  name = f"{b.frames}x{b.height}x{b.width}-{shard.number:05d}-{_hash(rows)[:12]}"
  return name + SUFFIX


class Existing:
  """The complete shards of a folder, whose content need not be encoded again."""

  def __init__(self, folder: Path):
    """Reads the tables of all complete shards; ignores damaged ones."""
    self.names: list[str] = []
    self.ids: dict[str, Texts] = {}  # Ids of the records, by the shard's name.
    shards: list[Shard] = []
    self._videos: dict[str, tuple[int, int]] = {}
    self._texts: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob(SHARDS)):
      try:
        shard, table = read_table(path)
      except (ValueError, FileNotFoundError):  # Another process may remove it now.
        continue  # It is made again under the same name.
      place = len(shards)
      shards.append(shard)
      self.names.append(path.name)
      self.ids[path.name] = table.ids
      for row, key in enumerate(table.keys):
        video, _, text = key.partition("-")
        self._videos.setdefault(video, (place, row))
        self._texts.setdefault(text, (place, row))
    self._shards = Shards(folder, shards)

  def with_latents(self, job: Job) -> Record | None:
    """Returns a record that has the job's latents, or None."""
    return self._record(self._videos.get(job.video))

  def with_text(self, job: Job) -> Record | None:
    """Returns a record that has the job's text, or None."""
    return self._record(self._texts.get(job.text))

  def _record(self, place: tuple[int, int] | None) -> Record | None:
    return None if place is None else decode(self._shards.read(*place))


class SourceHashes:
  """sha256 of media files, kept in a file while their sizes and times are the same."""

  def __init__(self, folder: Path, share: Share):
    """Reads the known hashes of all processes.

    Args:
      folder: Folder of the list `sources.jsonl`, to which new hashes are appended.
      share: This process's part; it has a list of its own.
    """
    path = folder / "sources.jsonl"
    self._own = share.file(path)
    self._known: dict[tuple[str, int, int], str] = {}
    for line in read_rows(path):
      # It is unknown which of several lists is newer. So a changed file counts as
      # another file, and a file that could be read once counts as readable.
      key = line["path"], line["size"], line["time"]
      self._known[key] = line["sha256"] or self._known.get(key, "")

  def __call__(self, clip: Clip) -> str:
    """Returns the sha256 of a clip's media, "" if the file cannot be read."""
    key = _state(clip.path)
    known = self._known.get(key)
    if known:
      return known
    digest = _digest(clip.path)
    if digest != known:
      self._known[key] = digest
      row = dict(zip(("path", "size", "time"), key, strict=True))
      with self._own.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"sha256": digest}) + "\n")
    return digest

  def known(self, clip: Clip) -> str:
    """Returns the listed hash without reading the file; for an unlisted file, a hash
    that no file has."""
    return self._known.get(_state(clip.path), "unknown")


def _state(path: str) -> tuple[str, int, int]:
  """Returns what identifies a file's content: path, size, time; else its path."""
  try:
    status = os.stat(path)
  except OSError:
    return path, -1, -1
  return path, status.st_size, status.st_mtime_ns


def _digest(path: str) -> str:
  try:
    with open(path, "rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except OSError:
    return ""
