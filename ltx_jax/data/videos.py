"""Clips on disk as a source; each batch is decoded when it is read.

If a clip is longer than its bucket, its seed picks the start of a window. A clip that
cannot be read is replaced by the next one of its bucket that can, and is counted and
listed; if the share of such clips is too high, the run stops.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt32

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data import assignment
from ltx_jax.data.clip_reader import Frames, read_clip
from ltx_jax.data.clips import Clip, Clips, Fault
from ltx_jax.data.probing import measure_all

Ids = Int[np.ndarray, "_"]


class Videos:
  """The clips of a manifest; safe to read from several threads.

  Attributes:
    clips: Clips with a known size; an id is a position here.
    fingerprint: Hash of everything that determines the batches.
  """

  def __init__(
    self,
    clips: Clips,
    *,
    flip: bool = False,
    max_faulty: float = 0.05,
    on_done: Callable[[int, Fault | None], None] | None = None,
  ):
    """Measures the clips whose size the manifest lacks.

    Args:
      clips: Rows of a manifest.
      flip: Whether to mirror half of the clips left to right, as their seeds decide.
      max_faulty: Share of the clips that may be unreadable before the run stops.
      on_done: Callback after each measured clip (`probing.measure_all`).

    Raises:
      ValueError: If too many clips cannot be read, or none is left.
    """
    if not 0 <= max_faulty <= 1:
      raise ValueError(f"max_faulty is {max_faulty}; a share lies in [0, 1].")
    self.clips, faults = measure_all(clips, on_done)
    self._count = len(clips)
    self._flip, self._max_faulty = flip, max_faulty
    self._faults = {fault.where: fault for fault in faults}
    self._lists: dict[Bucket, Ids] = {}
    self._lock = threading.Lock()
    self._check_faults()
    self.fingerprint = _hash(self.clips, flip)

  @property
  def faults(self) -> list[Fault]:
    """The clips that could not be read so far, and why."""
    with self._lock:
      return [self._faults[where] for where in sorted(self._faults)]

  def __len__(self) -> int:
    return len(self.clips)

  @property
  def count(self) -> int:
    """Number of clips that were given, including those that cannot be read."""
    return self._count

  def take(self, rows: Bool[np.ndarray, "rows"]) -> Videos:
    """Returns some of the clips as a separate source.

    Both sources share their faults, and the share of faults is that of all clips, so a
    single fault among a few held-out clips does not stop a run.
    """
    part = copy.copy(self)
    part.clips, part._lists = self.clips.take(rows), {}
    part.fingerprint = _hash(part.clips, self._flip)
    return part

  def assign(self, buckets: Sequence[Bucket]) -> list[Ids]:
    """Returns for each bucket the clips that it takes (`assignment`)."""
    lists = assignment.assign(self.clips.sizes(), buckets)
    with self._lock:
      self._lists.update(zip(buckets, lists, strict=True))
    return lists

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Returns buckets that suit the clips (`assignment.auto_buckets`)."""
    return assignment.auto_buckets(self.clips.sizes(), auto, factors, tokens)

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> dict[str, Shaped[np.ndarray, "b ..."]]:
    """Decodes a batch.

    Args:
      bucket: A bucket that takes the clips (`assign`).
      ids: Positions in `clips`.
      seeds: Seeds that decide where windows start and what is mirrored.

    Raises:
      ValueError: If too many clips cannot be read.
    """
    video = np.empty(
      (len(ids), bucket.frames, bucket.height, bucket.width, 3), np.uint8
    )
    fps = np.empty(len(ids), np.float32)
    for i, (row, seed) in enumerate(zip(ids.tolist(), seeds.tolist(), strict=True)):
      frames, fps[i] = self._readable(bucket, row, seed)
      video[i] = frames
    return {"video": video, "fps": fps, "seed": seeds}

  def _readable(self, bucket: Bucket, row: int, seed: int) -> tuple[Frames, float]:
    """Reads a clip, or the next one in its bucket's list that can be read."""
    for candidate in self._candidates(bucket, row):
      clip = self.clips[candidate]
      if clip.id in self._faults:
        continue
      try:
        return read_window(clip, bucket, seed, self._flip)
      except ValueError as error:
        with self._lock:
          self._faults[clip.id] = Fault(clip.id, str(error))
        self._check_faults()
    raise ValueError(f"None of the clips of {bucket} can be read.")

  def _candidates(self, bucket: Bucket, row: int) -> Iterator[int]:
    """Yields a clip, and then the others of its bucket in the order of the list."""
    yield row
    ids = self._lists.get(bucket, np.zeros(0, np.int64))
    after = int(np.searchsorted(ids, row, side="right"))
    for k in range(len(ids)):
      yield int(ids[(after + k) % len(ids)])

  def _check_faults(self) -> None:
    faults = self.faults
    if len(faults) > self._max_faulty * self._count or len(faults) == self._count:
      raise ValueError(
        f"{len(faults)} of {self._count} clips cannot be read, more than the share of "
        f"{self._max_faulty:g} that max_faulty allows; the first is {faults[0]} "
        "`python -m train.manifest` writes a manifest without those that cannot be "
        "opened; repair or remove the others, or raise max_faulty."
      )


def read_window(
  clip: Clip, bucket: Bucket, seed: int, flip: bool
) -> tuple[Frames, float]:
  """Reads the window of a clip that a seed picks, mirrored if the seed says so.

  Raises:
    ValueError: If the clip cannot be read, as in `read_clip`.
  """
  start, side = np.random.SeedSequence(seed).generate_state(2).tolist()
  spare = max(0, (clip.frames or bucket.frames) - bucket.frames)
  frames, fps = read_clip(clip, bucket, start % (spare + 1))
  return frames[:, :, ::-1] if flip and side % 2 else frames, fps


def _hash(clips: Clips, flip: bool) -> str:
  """Hashes what determines the frames; captions and the files' place do not."""
  digest = hashlib.sha256(f"videos 1 {flip}".encode())
  for array in (*clips.ids.arrays(), clips.sizes(), clips.crops()):
    digest.update(np.ascontiguousarray(array))
  for name in ("start", "end", "fps"):
    digest.update(clips.column(name))
  return digest.hexdigest()[:16]
