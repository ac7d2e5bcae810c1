"""The plan of a run's batches: which samples, at which size, at which step.

Clips of one batch have one size (frames, height, width): its bucket. A plan is
arithmetic on indices, with no I/O and no state, so that the batch of any step is known
without making those before it.

Bucket k has a share w_k of the batches and B_k samples in each of its batches, B_k from
the stage's budget of tokens. Its samples come from one stream a source (`Stream`): an
endless row of passes, each pass one permutation of all the samples that the bucket
takes from that source, drawn from (seed, bucket, pass, source). A batch may straddle
two passes, so that no sample is skipped and none comes twice in a pass. Of every
thousand samples of a bucket, each source gives its share to one sample, in an order
drawn from (seed, bucket, thousand).

An epoch has E batches, the fewest in which every stream can make a pass: with N samples
in a stream of weight v,

    E = ceil(max max(1, N / (v B_k)) / w_k).

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
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32

from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import Bucket, Stage

VERSION = 2  # Of the arithmetic below: raise it whenever a plan would come out another.

Ids = Int[np.ndarray, "_"]
"""Positions of samples in the list that the loader reads from."""

# Keeps the draws of one seed apart.
_ORDER, _PERMUTATION, _AUGMENTATION, _MIXING = range(4)

PERIOD = 1000
"""Samples of a bucket over which the sources' shares come out even."""


@dataclasses.dataclass(frozen=True)
class SizedBucket:
  """A bucket, its batch size and its share of the batches (the shares sum to 1)."""

  bucket: Bucket
  batch_size: int
  share: float


class Stream(NamedTuple):
  """The samples that a bucket takes from one source, and that source's weight."""

  ids: Ids
  weight: float = 1.0


Streams = Sequence[Stream]
"""What one bucket takes, a stream for each source; those without samples are left out
of the mixture."""


class Part(NamedTuple):
  """The samples of one bucket in a batch.

  Attributes:
    bucket: Position in the stage's buckets.
    ids: [b], the samples.
    passes: [b], the pass over its stream that each belongs to.
  """

  bucket: int
  ids: np.ndarray
  passes: np.ndarray


GlobalBatch = tuple[Part, ...]
"""The samples of one step, over all processes: today those of one bucket. A group of
buckets that are trimmed to one number of tokens would have a part for each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Plan(Sequence):
  """The global batches of one epoch, in the order of their steps.

  Attributes:
    kinds: [E], the bucket of each batch.
    places: [E], which of its bucket's batches of this epoch each is.
    rows: Samples of all batches of each bucket, and their passes.
    sizes: Number of samples in a batch of each bucket.
  """

  kinds: np.ndarray
  places: np.ndarray
  rows: Sequence[tuple[np.ndarray, np.ndarray]]
  sizes: Sequence[int]

  def __len__(self) -> int:
    return len(self.kinds)

  def __getitem__(self, index: int) -> GlobalBatch:
    kind = int(self.kinds[index])
    start, size = int(self.places[index]) * self.sizes[kind], self.sizes[kind]
    ids, passes = (row[start : start + size] for row in self.rows[kind])
    return (Part(kind, ids, passes),)


def tokens_of(vae: VAEConfig) -> Callable[[Bucket], int]:
  """Returns what counts the latent positions of one clip of a bucket."""
  return lambda b: math.prod(vae.latent_shape(b.frames, b.height, b.width))


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


def epoch_length(manifest: Sequence[Streams], buckets: Sequence[SizedBucket]) -> int:
  """Returns E, the global batches of an epoch.

  Raises:
    ValueError: where no sample fits a bucket.
  """
  lengths = [1.0]
  for sized, streams in zip(buckets, manifest, strict=True):
    for ids, share in _mixed(sized, streams):
      batches = max(1.0, len(ids) / (share * sized.batch_size))
      lengths.append(batches / sized.share)
  return math.ceil(max(lengths))


def _mixed(sized: SizedBucket, streams: Streams) -> list[Stream]:
  """The streams that have samples, with weights that sum to 1."""
  there = [stream for stream in streams if len(stream.ids)]
  if not there:
    raise ValueError(f"No sample fits {sized.bucket}; leave that bucket out.")
  total = sum(stream.weight for stream in there)
  return [Stream(stream.ids, stream.weight / total) for stream in there]


def _rounded(quotas: Float[np.ndarray, "k"], total: int) -> Int[np.ndarray, "k"]:
  """Whole numbers of sum `total` near the quotas, by largest remainders."""
  counts = np.floor(quotas).astype(np.int64)
  remainders = np.argsort(counts - quotas, kind="stable")
  counts[remainders[: total - int(counts.sum())]] += 1
  return counts


def _passes(
  ids: Ids, key: tuple[int, int, int], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """The samples at positions [start, stop) of a stream's passes, and their passes.

  Args:
    key: (seed, bucket, source).
  """
  seed, bucket, source = key
  first, last = start // len(ids), -(-stop // len(ids))
  rows = [
    ids[_permutation(len(ids), seed, _PERMUTATION, bucket, number, source)]
    for number in range(first, last)
  ]
  window = slice(start - first * len(ids), stop - first * len(ids))
  rows = np.concatenate([ids[:0], *rows])[window]
  return rows, np.arange(start, stop) // len(ids)


def _sources(
  weights: Sequence[float], key: tuple[int, int], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """Which source gives each of a bucket's samples [start, stop), and how many before.

  Args:
    weights: Weights of the sources; they sum to 1.
    key: (seed, bucket).
  """
  counts = _rounded(PERIOD * np.array(weights), PERIOD)
  even = np.repeat(np.arange(len(weights)), counts)
  if len(weights) == 1:
    return np.zeros(stop - start, np.int64), np.array([start])
  first, last = start // PERIOD, -(-stop // PERIOD)
  periods = [
    even[_permutation(PERIOD, key[0], _MIXING, key[1], number)]
    for number in range(first, last)
  ]
  periods = np.concatenate([even[:0], *periods])
  lead = start - first * PERIOD
  before = np.bincount(periods[:lead], minlength=len(weights)) + first * counts
  return periods[lead : lead + stop - start], before


def _stream(
  streams: Streams, bucket: int, seed: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """A bucket's samples [start, stop), and the pass that each belongs to."""
  weights = [stream.weight for stream in streams]
  sources, before = _sources(weights, (seed, bucket), start, stop)
  ids = np.empty(stop - start, np.int64)
  passes = np.empty(stop - start, np.int64)
  for source, stream in enumerate(streams):
    own = sources == source
    begin = int(before[source])
    end = begin + int(own.sum())
    key = (seed, bucket, source)
    ids[own], passes[own] = _passes(stream.ids, key, begin, end)
  return ids, passes


def plan(
  manifest: Sequence[Streams], buckets: Sequence[SizedBucket], seed: int, epoch: int
) -> Plan:
  """Plans the global batches of one epoch.

  Args:
    manifest: Samples that each bucket takes; a sample may be in several.
    buckets: Buckets as `sized_buckets` returns them.
    seed: Non-negative seed.
    epoch: Number of the epoch, from 0.

  Returns:
    `epoch_length(manifest, buckets)` batches in the order of their steps.

  Raises:
    ValueError: where no sample fits a bucket.
  """
  length = epoch_length(manifest, buckets)
  shares = np.array([sized.share for sized in buckets])
  start = _rounded(epoch * length * shares, epoch * length)
  stop = _rounded((epoch + 1) * length * shares, (epoch + 1) * length)
  sizes = [sized.batch_size for sized in buckets]
  rows = [
    _stream(_mixed(sized, streams), k, seed, int(start[k]) * n, int(stop[k]) * n)
    for k, (sized, streams, n) in enumerate(zip(buckets, manifest, sizes, strict=True))
  ]
  # Shuffling which bucket comes when must not shuffle a bucket's own batches.
  kinds = np.repeat(np.arange(len(buckets)), stop - start)
  own = np.concatenate([np.arange(n) for n in stop - start])
  order = _permutation(length, seed, _ORDER, epoch)
  places, shuffled = np.empty(length, np.int64), kinds[order]
  places[np.argsort(shuffled, kind="stable")] = own
  return Plan(shuffled, places, rows, sizes)


def plan_fingerprint(
  source: str,
  stages: Sequence[Sequence[SizedBucket]],
  starts: Sequence[int],
  seed: int,
) -> str:
  """Hashes all that decides a run's batches; a checkpoint keeps it beside its step.

  Runs of one fingerprint have the same batches at the same steps. The end of the last
  stage is left out, so that a run may be prolonged.

  Args:
    source: What identifies the samples (`Source.fingerprint`).
    stages: The buckets of every stage.
    starts: The first step of every stage.
    seed: The run's.
  """
  content = {
    "version": VERSION,
    "seed": seed,
    "stages": [[dataclasses.asdict(sized) for sized in stage] for stage in stages],
    "starts": list(starts),
    "source": source,
  }
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
