"""The plan of a run's batches: which samples, at which size, at which step.

A clip is made at one of a few sizes (frames, height, width): its bucket. Clips of one
batch come from one group of buckets (`Group`): a bucket alone, or several of about as
many tokens, whose clips are trimmed to as many (`token_dropping`). A plan is arithmetic
on indices, with no I/O and no state, so that the batch of any step is known without
making those before it.

Group k has a share w_k of the batches and B_k samples in each of its batches, B_k from
the stage's budget of tokens. Its samples come from one stream for each of its buckets
and each source (`Stream`): an endless row of passes, each pass one permutation of all
the samples that the bucket takes from that source, drawn from (seed, bucket, pass,
source). A batch may straddle two passes, so that no sample is skipped and none comes
twice in a pass. Of every thousand samples of a group, each stream gives its share to
one sample, in an order drawn from (seed, group, thousand).

An epoch has E batches, the fewest in which every stream can make a pass: with N samples
in a stream of weight v,

    E = ceil(max max(1, N / (v B_k)) / w_k).

Epoch e takes batches C_k(e) to C_k(e + 1) of group k, where C(e) rounds the quotas
e E w_k to whole numbers of the same sum, by largest remainders: after any number of
epochs every group is within one batch of its share. Their order is drawn from
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

VERSION = 3  # Of the arithmetic below: raise it whenever a plan would come out another.

Ids = Int[np.ndarray, "_"]
"""Positions of samples in the list that the loader reads from."""

# Keeps the draws of one seed apart.
_ORDER, _PERMUTATION, _AUGMENTATION, _MIXING = range(4)

PERIOD = 1000
"""Samples of a group over which the streams' shares come out even."""


@dataclasses.dataclass(frozen=True)
class Group:
  """Buckets whose clips share batches, by their weights.

  Attributes:
    buckets: The bucket of the fewest tokens first: every clip keeps as many.
    members: Their positions in the stage's buckets.
    batch_size: Clips of a batch.
    share: Share of the batches; those of a stage sum to 1.
  """

  buckets: tuple[Bucket, ...]
  members: tuple[int, ...]
  batch_size: int
  share: float

  @property
  def smallest(self) -> Bucket:
    """The bucket whose tokens every clip of a batch keeps."""
    return self.buckets[0]


class Stream(NamedTuple):
  """The samples that a bucket takes from one source, and that source's weight."""

  ids: Ids
  weight: float = 1.0


Streams = Sequence[Stream]
"""What one bucket takes, a stream for each source; those without samples are left out
of the mixture."""


class Lane(NamedTuple):
  """A stream as its group reads it.

  Attributes:
    bucket: Position in the stage's buckets.
    source: Number among the bucket's sources that have samples.
    ids: The samples.
    weight: Share of the group's samples; those of a group sum to 1.
  """

  bucket: int
  source: int
  ids: Ids
  weight: float


Where = slice | Int[np.ndarray, "_"] | Bool[np.ndarray, "_"]
"""Some of the rows of a batch: a range, their places, or whether each is one."""


class Rows(NamedTuple):
  """Samples of a group, in their order.

  Attributes:
    buckets: Position of each one's bucket in the stage's buckets.
    ids: The samples.
    passes: The pass over its stream that each belongs to.
  """

  buckets: Int[np.ndarray, "b"]
  ids: Int[np.ndarray, "b"]
  passes: Int[np.ndarray, "b"]

  def take(self, where: Where) -> Rows:
    """Returns some of them."""
    return Rows(*(column[where] for column in self))


class GlobalBatch(NamedTuple):
  """The samples of one step, over all processes, and the group that they are of."""

  group: int
  rows: Rows


@dataclasses.dataclass(frozen=True, eq=False)
class Plan(Sequence):
  """The global batches of one epoch, in the order of their steps.

  Attributes:
    kinds: [E], the group of each batch.
    places: [E], which of its group's batches of this epoch each is.
    rows: Samples of all batches of each group.
    sizes: Number of samples in a batch of each group.
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
  """Returns what counts the latent positions of one clip of a bucket."""
  return lambda b: math.prod(vae.latent_shape(b.frames, b.height, b.width))


def groups_of(
  stage: Stage, tokens: Callable[[Bucket], int], token_dropping: float = 0.0
) -> tuple[Group, ...]:
  """Groups a stage's buckets, and divides its token budget by the tokens of a clip.

  The batch sizes depend on the config alone, never on the number of devices.

  Args:
    stage: Names the buckets and the budget.
    tokens: Latent positions of one clip of a bucket.
    token_dropping: Largest share of a clip's tokens that may be dropped for its bucket
      to join a smaller one; 0 leaves every bucket alone.

  Returns:
    Groups in the order of the stage's buckets, by the first that they have.

  Raises:
    ValueError: where a stage has no bucket, or one with a weight that is not positive.
  """
  total = sum(bucket.weight for bucket in stage.buckets)
  if not stage.buckets or min(bucket.weight for bucket in stage.buckets) <= 0:
    raise ValueError(
      f"A stage needs buckets with positive weights, found {stage.buckets}; leave out "
      "the ones that are not to be used."
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
  """Positions of counts that can be trimmed to their smallest, that one first.

  From the largest down, each group reaches as far as it may: no grouping has fewer.
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


def epoch_length(manifest: Sequence[Streams], groups: Sequence[Group]) -> int:
  """Returns E, the global batches of an epoch.

  Raises:
    ValueError: where no sample fits a bucket.
  """
  lengths = [1.0]
  for group in groups:
    for lane in _lanes(group, manifest):
      batches = max(1.0, len(lane.ids) / (lane.weight * group.batch_size))
      lengths.append(batches / group.share)
  return math.ceil(max(lengths))


def _lanes(group: Group, manifest: Sequence[Streams]) -> list[Lane]:
  """The streams of a group that have samples."""
  lanes, whole = [], sum(bucket.weight for bucket in group.buckets)
  for bucket, member in zip(group.buckets, group.members, strict=True):
    there = [stream for stream in manifest[member] if len(stream.ids)]
    if not there:
      raise ValueError(f"No sample fits {bucket}; leave that bucket out.")
    total = sum(stream.weight for stream in there)
    for source, stream in enumerate(there):
      weight = stream.weight / total * (bucket.weight / whole)
      lanes.append(Lane(member, source, stream.ids, weight))
  return lanes


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


def _turns(
  weights: Sequence[float], key: tuple[int, int], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray]:
  """Which lane gives each of a group's samples [start, stop), and how many before.

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
  """A group's samples [start, stop)."""
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
    ValueError: where no sample fits a bucket.
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
  # Shuffling which group comes when must not shuffle a group's own batches.
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
  """Hashes all that decides a run's batches; a checkpoint keeps it beside its step.

  Runs of one fingerprint have the same batches at the same steps. The end of the last
  stage is left out, so that a run may be prolonged.

  Args:
    source: What identifies the samples (`Source.fingerprint`).
    stages: The groups of every stage.
    starts: The first step of every stage.
    seed: The run's.
    beside: Shares of the batches by what their clips are shown.
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
