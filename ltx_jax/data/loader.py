"""Batches as a pure function of the step, read by Grain.

Step -> stage -> (epoch, position in it) -> (group, samples): see `buckets`. Nothing is
passed from one step to the next, so a run resumes at step n by asking for step n. Each
process reads its own rows of the same global batch; the plan does not depend on it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Int

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data import beside as beside_lib
from ltx_jax.data import buckets as buckets_lib
from ltx_jax.data.buckets import GlobalBatch, Group, Plan, Rows, Streams
from ltx_jax.data.source import Batch, Mixture, Source, interleaved, mixed
from ltx_jax.data.token_dropping import drop

OwnRows = Callable[[int], Int[np.ndarray, "_"]]
"""Returns the rows that this process reads, in order, for a number of rows."""


class Loader:
  """The batches of a run of one or more stages.

  Attributes:
    fingerprint: Hash of everything that determines the batches
      (`buckets.plan_fingerprint`).
    steps: Number of batches of all stages.
    stages: Groups of each stage's buckets, with batch sizes and shares.
    tokens: Function that returns the number of tokens of one clip of a bucket.
  """

  def __init__(
    self,
    source: Source | Mixture,
    stages: Sequence[Stage],
    seed: int,
    tokens: Callable[[Bucket], int],
    own_rows: OwnRows = np.arange,
    *,
    token_dropping: float = 0.0,
    beside: Mapping[str, float] = MappingProxyType({}),
  ):
    """Plans the run; reads nothing yet.

    Args:
      source: Source of the samples.
      stages: Stages of the run, in order.
      seed: Non-negative seed of orders and augmentations.
      tokens: Function that returns the number of tokens of one clip of a bucket.
      own_rows: Function that returns the rows of a batch that this process reads; None
        reads all of them.
      token_dropping: Largest share of a clip's tokens that may be dropped so that
        similar buckets share batches; above 0 the loader provides tokens.
      beside: Share of the batches whose clips are shown each extra clip
        (`beside.ARRAYS`), if the source provides it.

    Raises:
      ValueError: If no sample fits a bucket.
    """
    self.stages = [
      buckets_lib.groups_of(stage, tokens, token_dropping) for stage in stages
    ]
    self.tokens = tokens
    self._source = mixed(source)
    self._buckets = [stage.buckets for stage in stages]
    self._streams = [self._source.streams(buckets) for buckets in self._buckets]
    for streams, groups in zip(self._streams, self.stages, strict=True):
      buckets_lib.epoch_length(streams, groups)  # Refuses a bucket without samples.
    self._seed = seed
    self._own_rows = own_rows
    self._beside = beside
    self._starts = list(itertools.accumulate((s.steps for s in stages), initial=0))
    self.steps = self._starts[-1]
    self.fingerprint = buckets_lib.plan_fingerprint(
      self._source.fingerprint, self.stages, self._starts[:-1], seed, beside
    )
    # Two plans, because prefetching threads may be an epoch apart.
    self._plan = functools.lru_cache(maxsize=2)(self._make_plan)

  def clips(self, stage: int) -> list[int]:
    """Returns the number of samples that each bucket of a stage takes."""
    return [
      sum(len(stream.ids) for stream in streams) for streams in self._streams[stage]
    ]

  def _manifest(self, stage: int) -> list[Streams]:
    return self._streams[stage]

  def _stage_seed(self, stage: int) -> int:
    return int(np.random.SeedSequence((self._seed, stage)).generate_state(1)[0])

  def _make_plan(self, stage: int, epoch: int) -> Plan:
    return buckets_lib.plan(
      self._manifest(stage), self.stages[stage], self._stage_seed(stage), epoch
    )

  def _stage(self, step: int) -> int:
    if not 0 <= step < self.steps:
      raise ValueError(
        f"Step {step} is not in the run, which has 0 to {self.steps - 1}."
      )
    return int(np.searchsorted(self._starts, step, side="right")) - 1

  def plan_at(self, step: int) -> tuple[int, GlobalBatch]:
    """Returns the stage and the global batch of a step, without reading samples."""
    stage = self._stage(step)
    length = buckets_lib.epoch_length(self._manifest(stage), self.stages[stage])
    epoch, position = divmod(step - self._starts[stage], length)
    return stage, self._plan(stage, epoch)[position]

  def bucket_at(self, step: int) -> Bucket:
    """Returns the bucket that sets the number of tokens of a step's clips."""
    stage, planned = self.plan_at(step)
    return self.stages[stage][planned.group].smallest

  def rows(self, step: int) -> int:
    """Returns the number of rows in the batch of a step, over all processes."""
    stage, planned = self.plan_at(step)
    return self.stages[stage][planned.group].batch_size

  def batch(self, step: int) -> Batch:
    """Returns this process's rows of the batch of a step in [0, steps).

    Raises:
      ValueError: If the run has no such step.
    """
    stage, planned = self.plan_at(step)
    group = self.stages[stage][planned.group]
    rows = planned.rows.take(self._own_rows(group.batch_size))
    own = [np.flatnonzero(rows.buckets == bucket) for bucket in np.unique(rows.buckets)]
    parts = [self._part(stage, rows.take(where)) for where in own]
    shown = self._shown(step, group)
    parts = [beside_lib.only(part, shown) for part in parts]
    if len(group.buckets) > 1:
      parts = [self._trimmed(part, group) for part in parts]
    return interleaved(parts, own)

  def _shown(self, step: int, group: Group) -> frozenset[str]:
    """Returns the names of the extra clips that the clips of a step are shown."""
    shown = beside_lib.shown_at(step, self._beside, self._seed)
    # The last frame of an image is the image itself.
    image = any(bucket.frames == 1 for bucket in group.buckets)
    return shown - {"last"} if image else shown

  def _trimmed(self, part: Batch, group: Group) -> Batch:
    """Keeps as many tokens of each clip as the group's smallest bucket has."""
    frames = (dataclasses.replace(bucket, frames=1) for bucket in group.buckets)
    of_frame = min(map(self.tokens, frames)) if "last" in part else 0
    return drop(part, self.tokens(group.smallest), of_frame)

  def _part(self, stage: int, rows: Rows) -> Batch:
    """Reads the samples of one bucket."""
    bucket, seed = self._buckets[stage][rows.buckets[0]], self._stage_seed(stage)
    seeds = buckets_lib.augmentation_seeds(seed, rows.passes, rows.ids)
    return self._source.read(bucket, rows.ids, seeds)

  def iterate(
    self, start: int = 0, stop: int | None = None, *, threads: int = 2, ahead: int = 4
  ) -> Iterator[Batch]:
    """Yields the batches of steps [start, stop), prepared ahead of time.

    Args:
      start: The first step.
      stop: The step after the last; None is the end of the run.
      threads: Number of threads that prepare batches; 0 prepares each when it is asked
        for.
      ahead: Number of batches to prepare ahead.
    """
    import grain  # 0.4 seconds, which --help need not wait for.

    steps = range(start, self.steps if stop is None else stop)
    dataset = grain.MapDataset.source(steps).map(self.batch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    return iter(dataset.to_iter_dataset(options))
