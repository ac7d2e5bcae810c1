"""Writes a shard of records: copies what another shard has, and encodes the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltx_jax.config.runs import Bucket
from ltx_jax.data.clips import Clip, Fault
from ltx_jax.data.record_index import SetInfo
from ltx_jax.data.records import Record, Writer
from train.harness.captions import Captions
from train.harness.encoding import ClipEncoder
from train.harness.precompute_report import Faults
from train.harness.shard_plan import Existing, Job

Read = Callable[[Clip, Bucket], tuple[np.ndarray, float]]
"""(clip, bucket) -> frames [F H W 3] uint8, frames per second."""


class Latents(NamedTuple):
  """The encoded arrays of a clip.

  Attributes:
    latents: Latents [f h w c].
    logvar: Log-variance of the latents [f h w 1].
    fps: Frames per second of the clip.
    last: Latents [1 h w c] of its last frame, if requested.
    reference: Latents [f h w c] of its reference, if it has one.
  """

  latents: np.ndarray
  logvar: np.ndarray
  fps: float
  last: np.ndarray | None = None
  reference: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ShardWriter:
  """Writes shards, one after another.

  Attributes:
    encoder: VAE that makes latents.
    captions: Makes tokens and texts; it has encoded all captions.
    existing: Shards that existed when the run began.
    read: Function that decodes a clip.
    made: Properties that all records share.
    readers: Number of threads that decode.
  """

  encoder: ClipEncoder
  captions: Captions
  existing: Existing
  read: Read
  made: SetInfo
  readers: int

  def write(
    self,
    path: Path,
    jobs: Sequence[Job],
    faults: Faults,
    on_record: Callable[[], object],
  ) -> None:
    """Writes the shard of some jobs; it appears once it is complete.

    Args:
      path: Path of the shard.
      jobs: Clips of the shard, in order.
      faults: Collects the clips that cannot be read.
      on_record: Callback after each clip.

    Raises:
      ValueError: If too many clips cannot be read.
    """
    kept = {job.clip.id: self.existing.with_latents(job) for job in jobs}
    new = self._encoded([job for job in jobs if kept[job.clip.id] is None], faults)
    faults.judge_all()
    with Writer(path) as writer:
      for job in jobs:
        found = kept[job.clip.id] or new.get(job.clip.id)
        if found is not None:
          writer.write(self._record(job, found))
        on_record()

  def _encoded(self, jobs: Sequence[Job], faults: Faults) -> dict[str, Latents]:
    """Encodes clips and their extra arrays, and returns them by the clips' ids."""
    guides: dict[str, Latents] = {}
    if "reference" in self.made.beside:
      guides = self._latents([_of_reference(job) for job in jobs], faults)
      jobs = [job for job in jobs if job.clip.id in guides]
    if "last" not in self.made.beside:
      found = self._latents(jobs, faults)
    else:
      stills: dict[str, np.ndarray] = {}
      found = self._latents(jobs, faults, stills)
      lasts = self.encoder.encode(stills.values())
      for clip, last in zip(stills, lasts, strict=True):
        found[clip] = found[clip]._replace(last=last.latents)
    return {
      clip: latents._replace(reference=guides[clip].latents if guides else None)
      for clip, latents in found.items()
    }

  def _latents(
    self,
    jobs: Sequence[Job],
    faults: Faults,
    stills: dict[str, np.ndarray] | None = None,
  ) -> dict[str, Latents]:
    """Decodes clips in threads while the device encodes the previous ones.

    Args:
      jobs: Clips in their buckets.
      faults: Collects the clips that cannot be read.
      stills: Collects the last frames [1 H W 3] of the others.
    """

    import grain  # 0.4 seconds, which --help need not wait for.

    def opened(job: Job) -> tuple[np.ndarray, float] | Fault:
      try:
        return self.read(job.clip, job.bucket)
      except (ValueError, OSError) as error:
        return Fault(job.clip.id, str(error))

    ahead = 2 * self.encoder.clips
    options = grain.ReadOptions(num_threads=self.readers, prefetch_buffer_size=ahead)
    clips = iter(grain.MapDataset.source(jobs).map(opened).to_iter_dataset(options))
    done: list[tuple[str, float]] = []  # The clips that could be read.

    def videos() -> Iterator[np.ndarray]:
      for job, found in zip(jobs, clips, strict=True):
        if isinstance(found, Fault):
          faults.add(found)
          continue
        video, fps = found
        done.append((job.clip.id, fps))
        if stills is not None:
          stills[job.clip.id] = video[-1:].copy()
        yield video

    results = list(self.encoder.encode(videos()))
    return {
      clip: Latents(result.latents, result.logvar, fps)
      for (clip, fps), result in zip(done, results, strict=True)
    }

  def _record(self, job: Job, found: Latents | Record) -> Record:
    clip, bucket = job.clip, job.bucket
    known = self.existing.with_text(job)
    text = self.captions.text(clip.caption) if known is None else known.text
    return Record(
      clip.id,
      clip.caption,
      found.latents,
      found.fps,
      bucket.frames,
      bucket.height,
      bucket.width,
      vae=self.made.vae,
      text_encoder=self.made.text_encoder,
      logvar=found.logvar,
      text=text,
      tokens=self.captions.tokens(clip.caption),
      last=found.last,
      reference=found.reference,
      start=clip.start,
      end=clip.end,
      crop=clip.crop,
      source_sha256=job.source,
      key=job.key,
      scores=clip.scores,
    )


def _of_reference(job: Job) -> Job:
  """Returns the job of a clip's reference, which is read like the clip itself."""
  return job._replace(clip=job.clip._replace(path=job.clip.reference))
