"""The plan of a run's batches: which samples, at which size, at which step.

Clips of one batch have one size (frames, height, width): its bucket. A plan is
arithmetic on indices, with no I/O and no state, so that the batch of any step is known
without making those before it.

Bucket k has a share w_k of the batches and B_k samples in each of its batches, B_k from
the stage's budget of tokens. Its samples come from an endless row of passes, each pass
one permutation of all N_k samples that the bucket takes, drawn from (seed, bucket,
pass); a batch may straddle two passes, so that no sample is skipped and none comes
twice in a pass.

An epoch has E batches, the fewest in which every bucket can make a pass,

    E = ceil(max_k max(1, N_k / B_k) / w_k).

Epoch e takes batches C_k(e) to C_k(e + 1) of bucket k, where C(e) rounds the quotas
e E w_k to whole numbers of the same sum, by largest remainders: after any number of
epochs every bucket is within one batch of its share. Their order is drawn from
(seed, epoch).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt32

from ltx_jax.config.runs import Bucket, Stage

VERSION = 1  # Of the arithmetic below: raise it whenever a plan would come out another.

Ids = Int[np.ndarray, "_"]
"""Positions of samples in the list that the loader reads from."""

_ORDER, _PERMUTATION, _AUGMENTATION = range(3)  # Keeps the draws of one seed apart.


@dataclasses.dataclass(frozen=True)
class SizedBucket:
  """A bucket, its batch size and its share of the batches (the shares sum to 1)."""

  bucket: Bucket
  batch_size: int
  share: float


@dataclasses.dataclass(frozen=True)
class GlobalBatch:
  """The samples of one step, over all processes.

  Attributes:
    bucket: Position in the stage's buckets.
    ids: [b], the samples.
    passes: [b], the pass over the bucket's samples that each belongs to.
  """

  bucket: int
  ids: np.ndarray
  passes: np.ndarray


def sized_buckets(
  stage: Stage, tokens: Callable[[Bucket], int]
) -> tuple[SizedBucket, ...]:
  """Divides a stage's token budget by the tokens of one clip of each bucket.

  The batch sizes depend on the config alone, never on the number of devices.

  Raises:
    ValueError: where a stage has no bucket, or one with a weight that is not positive.
  """
  total = sum(bucket.weight for bucket in stage.buckets)
  if not stage.buckets or min(bucket.weight for bucket in stage.buckets) <= 0:
    raise ValueError(
      f"A stage needs buckets with positive weights, found {stage.buckets}; leave out "
      "the ones that are not to be used."
    )
  return tuple(
    SizedBucket(b, max(1, stage.tokens // tokens(b)), b.weight / total)
    for b in stage.buckets
  )


def _draws(count: int, *key: int) -> np.ndarray:
  """[count] uint64 that depend on the key alone, in every version of NumPy."""
  return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


def _permutation(count: int, *key: int) -> np.ndarray:
  return np.argsort(_draws(count, *key), kind="stable")


def augmentation_seeds(
  seed: int, passes: Int[np.ndarray, "b"], ids: Int[np.ndarray, "b"]
) -> UInt32[np.ndarray, "b"]:
  """Folds (seed, pass, sample) into one seed for each sample's own randomness."""
  keys = (
    np.random.SeedSequence((seed, _AUGMENTATION, int(epoch), int(sample)))
    for epoch, sample in zip(passes, ids, strict=True)
  )
  return np.array([key.generate_state(1)[0] for key in keys], np.uint32)


def epoch_length(manifest: Sequence[Ids], buckets: Sequence[SizedBucket]) -> int:
  """Returns E, the global batches of an epoch.

  Raises:
    ValueError: where no sample fits a bucket.
  """
  for sized, ids in zip(buckets, manifest, strict=True):
    if len(ids) == 0:
      raise ValueError(f"No sample fits {sized.bucket}; leave that bucket out.")
  return math.ceil(
    max(
      max(1.0, len(ids) / sized.batch_size) / sized.share
      for sized, ids in zip(buckets, manifest, strict=True)
    )
  )


def _rounded(quotas: Float[np.ndarray, "k"], total: int) -> Int[np.ndarray, "k"]:
  """Whole numbers of sum `total` near the quotas, by largest remainders."""
  counts = np.floor(quotas).astype(np.int64)
  remainders = np.argsort(counts - quotas, kind="stable")
  counts[remainders[: total - int(counts.sum())]] += 1
  return counts


def _stream(
  ids: Ids, bucket: int, seed: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """The samples at positions [start, stop) of a bucket's passes, and their passes."""
  first, last = start // len(ids), -(-stop // len(ids))
  rows = [
    ids[_permutation(len(ids), seed, _PERMUTATION, bucket, epoch)]
    for epoch in range(first, last)
  ]
  window = slice(start - first * len(ids), stop - first * len(ids))
  return np.concatenate(rows)[window], np.arange(start, stop) // len(ids)


def plan(
  manifest: Sequence[Ids], buckets: Sequence[SizedBucket], seed: int, epoch: int
) -> list[GlobalBatch]:
  """Lists the global batches of one epoch.

  Args:
    manifest: For each bucket the samples that it takes; a sample may be in several.
    buckets: From `sized_buckets`.
    seed: Non-negative.
    epoch: Counted from 0.

  Returns:
    `epoch_length(manifest, buckets)` batches in the order of their steps.

  Raises:
    ValueError: where no sample fits a bucket.
  """
  length = epoch_length(manifest, buckets)
  shares = np.array([sized.share for sized in buckets])
  start = _rounded(epoch * length * shares, epoch * length)
  stop = _rounded((epoch + 1) * length * shares, (epoch + 1) * length)
  batches = []
  for k, (sized, ids) in enumerate(zip(buckets, manifest, strict=True)):
    size = sized.batch_size
    samples, passes = _stream(ids, k, seed, int(start[k]) * size, int(stop[k]) * size)
    batches += [
      GlobalBatch(k, samples[row : row + size], passes[row : row + size])
      for row in range(0, len(samples), size)
    ]
  # Shuffling which bucket comes when must not shuffle a bucket's own batches.
  kinds = np.repeat(np.arange(len(buckets)), stop - start)
  kinds = kinds[_permutation(length, seed, _ORDER, epoch)]
  order = np.empty(length, np.int64)
  order[np.argsort(kinds, kind="stable")] = np.arange(length)
  return [batches[i] for i in order]


def fingerprint(
  names: Sequence[str],
  stages: Sequence[Sequence[SizedBucket]],
  starts: Sequence[int],
  seed: int,
) -> str:
  """Hashes all that decides a run's batches; a checkpoint keeps it beside its step.

  Runs of one fingerprint have the same batches at the same steps. The end of the last
  stage is left out, so that a run may be prolonged.

  Args:
    names: What identifies the samples, in their order.
    stages: The buckets of every stage.
    starts: The first step of every stage.
    seed: The run's.
  """
  content = {
    "version": VERSION,
    "seed": seed,
    "stages": [[dataclasses.asdict(sized) for sized in stage] for stage in stages],
    "starts": list(starts),
    "names": list(names),
  }
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
