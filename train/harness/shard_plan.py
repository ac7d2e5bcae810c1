"""What precomputing has to do: which clips at which size in which shard, and for each
the hash of all that decides its record.

A shard is named by the hashes of its clips. One that is there is done; one whose clips
changed has another name, and takes from the shards that are there whatever of it was
encoded before: latents and texts are told apart, so that another caption costs no more
than its text.
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
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.partial import read_json_lines
from ltx_jax.data.record import Record, decode
from ltx_jax.data.record_index import SHARDS, Shard, read_table
from ltx_jax.data.shards import SUFFIX, Shards

_DIGITS = 24


class Job(NamedTuple):
  """A clip to be encoded in a size.

  Attributes:
    clip: Its row of the manifest.
    bucket: Frames, height and width.
    source: sha256 of its media file.
    video: Hash of what decides the latents.
    text: Hash of what decides the text.
  """

  clip: Clip
  bucket: Bucket
  source: str
  video: str
  text: str

  @property
  def key(self) -> str:
    """Hash of all that decides the record."""
    return f"{self.video}-{self.text}"


@dataclasses.dataclass(frozen=True)
class Makers:
  """What all records of a run are made by.

  Attributes:
    vae: Fingerprint of the VAE, of its dtype and of the clips a device and call.
    text: Fingerprint of the text encoder and its dtype, or of the tokenizer alone.
    beside: What is encoded beside the clips (`record_index.SetInfo`).
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

  Of the lengths that a clip has, it is encoded in the longest: its first latent frames
  are those of the shorter ones. Clips that fit no bucket are in no shard.
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
    shard: Planned shard, which says which rows.
    clips: The manifest.
    makers: What encodes.
    source: Returns the sha256 of a clip's media, "" where the file cannot be read.
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

  What a record holds beside latents and text counts as well.
  """
  b = shard.bucket
  rows = [[job.clip.id, job.key, dict(job.clip.scores), job.source] for job in jobs]
  name = f"{b.frames}x{b.height}x{b.width}-{shard.number:05d}-{_hash(rows)[:12]}"
  return name + SUFFIX


class Existing:
  """The complete shards of a folder: what need not be encoded again."""

  def __init__(self, folder: Path):
    """Reads the tables of all complete shards; damaged ones are left out."""
    self.names: list[str] = []
    shards: list[Shard] = []
    self._videos: dict[str, tuple[int, int]] = {}
    self._texts: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob(SHARDS)):
      try:
        shard, table = read_table(path)
      except ValueError:
        continue  # It is made again under the same name.
      place = len(shards)
      shards.append(shard)
      self.names.append(path.name)
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

  def __init__(self, folder: Path):
    """Reads what is known.

    Args:
      folder: Holds the list, `sources.jsonl`, to which what is new is added.
    """
    self._path = path = folder / "sources.jsonl"
    self._known: dict[str, tuple[int, int, str]] = {}
    for line in read_json_lines(path):
      self._known[line["path"]] = line["size"], line["time"], line["sha256"]

  def __call__(self, clip: Clip) -> str:
    """Returns the sha256 of a clip's media, "" where the file cannot be read."""
    try:
      status = os.stat(clip.path)
      known = self._known.get(clip.path)
      if known and known[:2] == (status.st_size, status.st_mtime_ns):
        return known[2]
      with open(clip.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
      return ""
    self._known[clip.path] = status.st_size, status.st_mtime_ns, digest
    row = {"path": clip.path, "size": status.st_size, "time": status.st_mtime_ns}
    with self._path.open("a", encoding="utf-8") as file:
      file.write(json.dumps(row | {"sha256": digest}) + "\n")
    return digest
