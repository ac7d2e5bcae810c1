"""Sources of samples: the one interface through which all training reads.

A source knows which of its samples a bucket takes, and makes batches from their ids.
The moving shapes, videos on disk and precomputed records are sources. A mixture of
sources is read like a single one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt32

from ltx_jax.config.runs import AutoBuckets, Bucket, Stage
from ltx_jax.data.buckets import Ids, Stream

Batch = dict[str, np.ndarray]
"""Arrays by name, each with a leading axis of samples. Every batch has `seed` and `fps`
[b]. It also has either `video`, uint8 [b F H W 3], or `latents` [b f h w c] with
`tokens` [b m] or `text` [b m e], and their `mask` [b m]. The transformer reads latents
as tokens (`token_dropping`)."""


@runtime_checkable
class Source(Protocol):
  """Samples that fit buckets, read by id.

  Attributes:
    fingerprint: Hash of everything that determines the samples.
  """

  fingerprint: str

  def assign(self, buckets: Sequence[Bucket]) -> list[Ids]:
    """Returns for each bucket the ids of the samples that it takes."""
    ...

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Returns buckets that suit the samples (`assignment`).

    Args:
      auto: Limits of the buckets.
      factors: (frames, pixels a side) of one latent position.
      tokens: Function that returns the number of tokens of one clip of a bucket.
    """
    ...

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> Batch:
    """Makes a batch.

    Args:
      bucket: A bucket that takes the samples.
      ids: Ids of the samples.
      seeds: One seed per sample, which determines everything random in it.
    """
    ...


_SHIFT = 40
"""Number of low bits of a mixture's id; higher bits hold the source's number."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
  """Several sources, of which a bucket takes samples by weight.

  Attributes:
    sources: Sources to mix; their batches hold the same arrays.
    weights: How often each source is read, relative to the others.
  """

  sources: tuple[Source, ...]
  weights: tuple[float, ...]

  def __post_init__(self):
    if not self.sources or len(self.sources) != len(self.weights):
      raise ValueError(
        f"A mixture has {len(self.sources)} source(s) but {len(self.weights)} "
        "weight(s); give one weight for each source."
      )
    if not all(0 < weight < float("inf") for weight in self.weights):
      raise ValueError(
        f"The weights of a mixture are {self.weights}; each must be above 0."
      )

  @property
  def fingerprint(self) -> str:
    """Hash of the sources and of their weights."""
    content = [[source.fingerprint for source in self.sources], list(self.weights)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

  def streams(self, buckets: Sequence[Bucket]) -> list[tuple[Stream, ...]]:
    """Returns for each bucket the samples that it takes from each source."""
    assigned = [source.assign(buckets) for source in self.sources]
    return [
      tuple(
        Stream(ids[k] + (number << _SHIFT), weight)
        for number, (ids, weight) in enumerate(zip(assigned, self.weights, strict=True))
      )
      for k in range(len(buckets))
    ]

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> Batch:
    """Makes a batch of samples from any of the sources (`Source.read`).

    Raises:
      ValueError: If two sources return different arrays, or arrays of other shapes.
    """
    numbers = ids >> _SHIFT
    rows = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    parts = [
      self.sources[int(numbers[own[0]])].read(
        bucket, ids[own] & ((1 << _SHIFT) - 1), seeds[own]
      )
      for own in rows
    ]
    _check_alike(parts)
    return interleaved(parts, rows)


def interleaved(parts: Sequence[Batch], rows: Sequence[Int[np.ndarray, "_"]]) -> Batch:
  """Joins parts of a batch that hold the same arrays, each row in its place.

  Args:
    parts: Parts of the batch.
    rows: For each part, the places of its rows in the batch.
  """
  if len(parts) == 1:
    return parts[0]
  order = np.argsort(np.concatenate(rows), kind="stable")
  return {
    name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]
  }


def resolved(
  stages: Sequence[Stage],
  source: Source,
  factors: tuple[int, int],
  tokens: Callable[[Bucket], int],
) -> tuple[Stage, ...]:
  """Returns the stages with `AutoBuckets` replaced by buckets.

  Args:
    stages: Stages of a run.
    source: Source whose samples the buckets must suit.
    factors: (frames, pixels a side) of one latent position.
    tokens: Function that returns the number of tokens of one clip of a bucket.

  Raises:
    ValueError: If the source has no sizes to find buckets from.
  """
  return tuple(
    dataclasses.replace(stage, buckets=source.propose(stage.buckets, factors, tokens))
    if isinstance(stage.buckets, AutoBuckets)
    else stage
    for stage in stages
  )


def _check_alike(parts: Sequence[Batch]) -> None:
  shapes = [
    {name: (rows.shape[1:], str(rows.dtype)) for name, rows in part.items()}
    for part in parts
  ]
  for other in shapes[1:]:
    if other != shapes[0]:
      name = next(n for n in shapes[0] | other if shapes[0].get(n) != other.get(n))
      raise ValueError(
        f"Two sources of a mixture differ in {name}: {shapes[0].get(name)} and "
        f"{other.get(name)}; mix sources that were made alike."
      )


def mixed(source: Source | Mixture) -> Mixture:
  """Returns a source as a mixture of one."""
  return source if isinstance(source, Mixture) else Mixture((source,), (1.0,))
