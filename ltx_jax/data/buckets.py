"""The plan of a run's batches: which samples, at which size, at which step.

A clip is resized to one of a few sizes (frames, height, width): its bucket. The clips
of a batch come from one group of buckets (`Group`): a single bucket, or several of
about the same number of tokens, whose clips are trimmed to the same number
(`token_dropping`). A plan is arithmetic on indices, without I/O or state, so the batch
of any step is known without computing those before it.

Group k has a share w_k of the batches and B_k samples in each of its batches; B_k
follows from the stage's token budget. Its samples come from one stream for each of its
buckets and each source (`Stream`). A stream is an endless row of passes. Each pass is
one permutation of all samples that the bucket takes from that source, drawn from (seed,
bucket, pass, source). A batch may span two passes, so that no sample is skipped or
repeated within a pass. Of every thousand samples of a group, each stream provides its
share, exact to within one sample, in an order drawn from (seed, group, thousand).

An epoch has E batches, the smallest number in which every stream can make a pass. With
N samples in a stream of weight v,

    E = ceil(max max(1, N / (v B_k)) / w_k).

Epoch e takes batches C_k(e) to C_k(e + 1) of group k. C(e) rounds the quotas e E w_k to
whole numbers of the same sum, by largest remainders, so after any number of epochs
every group is within one batch of its share. The order of the batches is drawn from
(seed, epoch).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import Bucket, Stage

VERSION = 3  # Version of the arithmetic below: raise it whenever a plan would change.

Ids = Int[np.ndarray, "_"]
"""Positions of samples in the list that the loader reads from."""

# Keep the draws of one seed apart.
_ORDER, _PERMUTATION, _AUGMENTATION, _MIXING = range(4)

PERIOD = 1000
"""Number of samples of a group over which the streams' shares are exact."""


@dataclasses.dataclass(frozen=True)
class Group:
  """Buckets whose clips share batches, in the proportion of their weights.

  Attributes:
    buckets: Buckets; the one with the fewest tokens, which every clip keeps, is first.
    members: Positions of these buckets in the stage's buckets.
    batch_size: Number of clips per batch.
    share: Share of the batches; the shares of a stage sum to 1.
  """

  buckets: tuple[Bucket, ...]
  members: tuple[int, ...]
  batch_size: int
  share: float

  @property
  def smallest(self) -> Bucket:
    """The bucket whose number of tokens every clip of a batch keeps."""
    return self.buckets[0]


class Stream(NamedTuple):
  """The samples that a bucket takes from one source, and that source's weight."""

  ids: Ids
  weight: float = 1.0


Streams = Sequence[Stream]
"""The samples that one bucket takes, one stream per source; sources without samples are
left out of the mixture."""


class Lane(NamedTuple):
  """A stream as part of a group.

  Attributes:
    bucket: Position in the stage's buckets.
    source: Number among the bucket's sources that have samples.
    ids: The samples.
    weight: Share of the group's samples; the weights of a group sum to 1.
  """

  bucket: int
  source: int
  ids: Ids
  weight: float


Where = slice | Int[np.ndarray, "_"] | Bool[np.ndarray, "_"]
"""A selection of a batch's rows: a range, their places, or a mask."""


class Rows(NamedTuple):
  """Samples of a group, in order.

  Attributes:
    buckets: Position of each sample's bucket in the stage's buckets.
    ids: The samples.
    passes: The pass over its stream that each sample belongs to.
  """

  buckets: Int[np.ndarray, "b"]
  ids: Int[np.ndarray, "b"]
  passes: Int[np.ndarray, "b"]

  def take(self, where: Where) -> Rows:
    """Returns a selection of these samples."""
    return Rows(*(column[where] for column in self))


class GlobalBatch(NamedTuple):
  """The samples of one step, over all processes, and their group."""

  group: int
  rows: Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Plan(Sequence):
  """The global batches of one epoch, in the order of their steps.

  Attributes:
    kinds: [E], the group of each batch.
    places: [E], the number of each batch among those of its group in this epoch.
    rows: Samples of all batches of each group.
    sizes: Number of samples per batch of each group.
  """

  kinds: np.ndarray
  places: np.ndarray
  rows: Sequence[Rows]
  sizes: Sequence[int]

  def __len__(self) -> int:
    return len(self.kinds)

  def __getitem__(self, index: int) -> GlobalBatch:
    kind = int(self.kinds[index])
    start, size = int(self.places[index]) * self.sizes[kind], self.sizes[kind]
    return GlobalBatch(kind, self.rows[kind].take(slice(start, start + size)))


def tokens_of(vae: VAEConfig) -> Callable[[Bucket], int]:
  """Returns a function that counts the latent positions of one clip of a bucket."""
  return lambda b: math.prod(vae.latent_shape(b.frames, b.height, b.width))


def groups_of(
  stage: Stage, tokens: Callable[[Bucket], int], token_dropping: float = 0.0
) -> tuple[Group, ...]:
  """Groups a stage's buckets, and divides its token budget by the tokens of a clip.

  The batch sizes depend on the config alone, never on the number of devices.

  Args:
    stage: Stage with the buckets and the token budget.
    tokens: Function that returns the number of tokens of one clip of a bucket.
    token_dropping: Largest share of a clip's tokens that may be dropped so that its
      bucket joins a smaller one; 0 groups no buckets.

  Returns:
    Groups in the order of the stage's buckets, by the first bucket of each.

  Raises:
    ValueError: If a stage has no buckets, or one whose weight is not positive.
  """
  total = sum(bucket.weight for bucket in stage.buckets)
  if not stage.buckets or min(bucket.weight for bucket in stage.buckets) <= 0:
    raise ValueError(
      f"A stage needs buckets with positive weights, found {stage.buckets}; remove the "
      "unused ones."
    )
  counts = [tokens(bucket) for bucket in stage.buckets]
  groups = []
  for members in _alike(counts, token_dropping):
    buckets = tuple(stage.buckets[k] for k in members)
    size = max(1, stage.tokens // counts[members[0]])
    share = sum(bucket.weight for bucket in buckets) / total
    groups.append(Group(buckets, members, size, share))
  return tuple(sorted(groups, key=lambda group: min(group.members)))


def _alike(counts: Sequence[int], dropping: float) -> list[tuple[int, ...]]:
  """Returns groups of positions whose counts can be trimmed to the smallest, listed
  first.

  Each group, from the largest count down, reaches as far as allowed; no other grouping
  has fewer groups.
  """
  if not dropping:
    return [(k,) for k in range(len(counts))]
  groups: list[list[int]] = []
  for k in sorted(range(len(counts)), key=lambda k: (-counts[k], k)):
    if groups and counts[k] >= (1 - dropping) * counts[groups[-1][0]]:
      groups[-1].append(k)
    else:
      groups.append([k])
  return [tuple(reversed(group)) for group in groups]


def _draws(count: int, *key: int) -> np.ndarray:
  """Returns [count] uint64 that depend only on the key, in every NumPy version."""
  return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


def _permutation(count: int, *key: int) -> np.ndarray:
  return np.argsort(_draws(count, *key), kind="stable")


def augmentation_seeds(
  seed: int, passes: Int[np.ndarray, "b"], ids: Int[np.ndarray, "b"]
) -> UInt32[np.ndarray, "b"]:
  """Hashes (seed, pass, sample) into one seed for each sample's own randomness."""
  keys = (
    np.random.SeedSequence((seed, _AUGMENTATION, int(epoch), int(sample)))
    for epoch, sample in zip(passes, ids, strict=True)
  )
  return np.array([key.generate_state(1)[0] for key in keys], np.uint32)


def epoch_length(manifest: Sequence[Streams], groups: Sequence[Group]) -> int:
  """Returns E, the number of global batches of an epoch.

  Raises:
    ValueError: If no sample fits a bucket.
  """
  lengths = [1.0]
  for group in groups:
    for lane in _lanes(group, manifest):
      batches = max(1.0, len(lane.ids) / (lane.weight * group.batch_size))
      lengths.append(batches / group.share)
  return math.ceil(max(lengths))


def _lanes(group: Group, manifest: Sequence[Streams]) -> list[Lane]:
  """Returns the streams of a group that have samples."""
  lanes, whole = [], sum(bucket.weight for bucket in group.buckets)
  for bucket, member in zip(group.buckets, group.members, strict=True):
    there = [stream for stream in manifest[member] if len(stream.ids)]
    if not there:
      size = f"{bucket.frames}x{bucket.height}x{bucket.width}"
      raise ValueError(f"Nothing in the data fits {size}; name sizes with --buckets.")
    total = sum(stream.weight for stream in there)
    for source, stream in enumerate(there):
      weight = stream.weight / total * (bucket.weight / whole)
      lanes.append(Lane(member, source, stream.ids, weight))
  return lanes


def _rounded(quotas: Float[np.ndarray, "k"], total: int) -> Int[np.ndarray, "k"]:
  """Rounds quotas to whole numbers that sum to `total`, by largest remainders."""
  counts = np.floor(quotas).astype(np.int64)
  remainders = np.argsort(counts - quotas, kind="stable")
  counts[remainders[: total - int(counts.sum())]] += 1
  return counts


def _passes(
  ids: Ids, key: tuple[int, int, int], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the samples at positions [start, stop) of a stream, and their passes.

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


def _turns(
  weights: Sequence[float], key: tuple[int, int], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the lane of each of a group's samples [start, stop), and each lane's count
  before `start`.

  Args:
    weights: Weights of the lanes; they sum to 1.
    key: (seed, the group's smallest bucket).
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


def _rows(
  group: Group, manifest: Sequence[Streams], seed: int, start: int, stop: int
) -> Rows:
  """Returns a group's samples [start, stop)."""
  lanes = _lanes(group, manifest)
  key = seed, group.members[0]
  turns, before = _turns([lane.weight for lane in lanes], key, start, stop)
  rows = Rows(*(np.empty(stop - start, np.int64) for _ in Rows._fields))
  for number, lane in enumerate(lanes):
    own = turns == number
    begin = int(before[number])
    end = begin + int(own.sum())
    rows.buckets[own] = lane.bucket
    rows.ids[own], rows.passes[own] = _passes(
      lane.ids, (seed, lane.bucket, lane.source), begin, end
    )
  return rows


def plan(
  manifest: Sequence[Streams], groups: Sequence[Group], seed: int, epoch: int
) -> Plan:
  """Plans the global batches of one epoch.

  Args:
    manifest: Samples that each bucket takes; a sample may be in several.
    groups: Groups as `groups_of` returns them.
    seed: Non-negative seed.
    epoch: Number of the epoch, from 0.

  Returns:
    `epoch_length(manifest, groups)` batches in the order of their steps.

  Raises:
    ValueError: If no sample fits a bucket.
  """
  length = epoch_length(manifest, groups)
  shares = np.array([group.share for group in groups])
  start = _rounded(epoch * length * shares, epoch * length)
  stop = _rounded((epoch + 1) * length * shares, (epoch + 1) * length)
  sizes = [group.batch_size for group in groups]
  rows = [
    _rows(group, manifest, seed, int(start[k]) * n, int(stop[k]) * n)
    for k, (group, n) in enumerate(zip(groups, sizes, strict=True))
  ]
  # Shuffle the order of the groups without shuffling the batches within a group.
  kinds = np.repeat(np.arange(len(groups)), stop - start)
  own = np.concatenate([np.arange(n) for n in stop - start])
  order = _permutation(length, seed, _ORDER, epoch)
  places, shuffled = np.empty(length, np.int64), kinds[order]
  places[np.argsort(shuffled, kind="stable")] = own
  return Plan(shuffled, places, rows, sizes)


def plan_fingerprint(
  source: str,
  stages: Sequence[Sequence[Group]],
  starts: Sequence[int],
  seed: int,
  beside: Mapping[str, float],
) -> str:
  """Hashes everything that determines a run's batches; a checkpoint stores the hash.

  Runs with the same fingerprint have the same batches at the same steps. The end of the
  last stage is left out, so that a run may be extended.

  Args:
    source: Fingerprint of the samples (`Source.fingerprint`).
    stages: Groups of every stage.
    starts: First step of every stage.
    seed: Seed of the run.
    beside: Shares of the batches whose clips are shown each extra clip.
  """
  content = {
    "version": VERSION,
    "seed": seed,
    "stages": [[dataclasses.asdict(group) for group in stage] for stage in stages],
    "starts": list(starts),
    "source": source,
  }
  content |= {"beside": dict(beside)} if beside else {}
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
