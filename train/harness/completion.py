"""Progress of several precompute processes: what exists, what is missing, and whose it
is.

A shard's name depends on everything in it, so a process sees from the names in the
folder that another is done. It hashes only its own media files, and takes the other
hashes from the lists of their processes. If a file is not listed yet, its shard cannot
exist.
"""

from __future__ import annotations

import collections
import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltx_jax.data import records
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.record_index import Index, SetInfo, table_path
from ltx_jax.data.shards import SUFFIX
from train.harness.shard_plan import (
  Existing,
  Job,
  Makers,
  PlannedShard,
  jobs_of,
  shard_name,
)
from train.harness.sharing import Share

_NAMED = 8

Source = Callable[[Clip], str]
"""Returns the sha256 of a clip's media."""


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """All shards of the clips, and which process makes which.

  Attributes:
    shards: The shards, the same for all processes.
    clips: The manifest.
    makers: Networks that encode.
    share: This process's part.
  """

  shards: Sequence[PlannedShard]
  clips: Clips
  makers: Makers
  share: Share

  def jobs(self, position: int, source: Source) -> list[Job]:
    """Returns the jobs of the shard at a position."""
    return jobs_of(self.shards[position], self.clips, self.makers, source)

  def own(self, source: Source) -> dict[int, list[Job]]:
    """Returns the jobs of this process, by the position of the shard."""
    positions = self.share.positions(len(self.shards))
    return {position: self.jobs(position, source) for position in positions}

  def name(self, position: int, jobs: Sequence[Job]) -> str:
    """Returns the file name of the shard at a position."""
    return shard_name(self.shards[position], jobs)


class Standing(NamedTuple):
  """Progress on a plan.

  Attributes:
    names: Names of its complete shards.
    outdated: Names of other complete shards: their clips changed or were removed.
    missing: Number of its missing shards, by the process that makes them.
    kept: Ids of the clips whose records are in the complete shards.
  """

  names: frozenset[str]
  outdated: frozenset[str]
  missing: Mapping[int, int]
  kept: frozenset[str]


def remove_partials(folder: Path, own: Collection[str], share: Share) -> None:
  """Removes files that killed processes left: all of them, or those of own shards.

  Other processes may be writing at this moment, but never a shard of this process.
  """
  if share.alone:
    records.remove_partials(folder)
    return
  names = {name for shard in own for name in (shard, table_path(Path(shard)).name)}
  records.remove_partials(folder, names.__contains__)


def standing(
  plan: Plan,
  own: Mapping[int, Sequence[Job]],
  known: Source,
  folder: Path,
  dropped: Collection[str],
) -> Standing:
  """Returns what all processes have made so far.

  Args:
    plan: The plan.
    own: Jobs of this process, by the position of the shard.
    known: Function that returns the sha256 of a clip's media without reading it.
    folder: Folder of the shards.
    dropped: Ids of the clips that cannot be read; a shard that has only these is not
      written.
  """
  existing = Existing(folder)
  there = frozenset(existing.names)
  names, missing = set(), collections.Counter()
  for position in range(len(plan.shards)):
    jobs = own[position] if position in own else plan.jobs(position, known)
    name = plan.name(position, jobs)
    if name in there:
      names.add(name)
    elif not all(job.clip.id in dropped for job in jobs):
      missing[plan.share.owner(position)] += 1
  kept = frozenset(clip for name in names for clip in existing.ids[name])
  numbers = dict(sorted(missing.items()))
  return Standing(frozenset(names), there - names, numbers, kept)


def complete(
  folder: Path, now: Standing, made: SetInfo, empty: Mapping[str, np.ndarray]
) -> Index:
  """Removes everything that shards no longer need, and writes the index.

  Several processes may do so at the same time: a file that one has removed is ignored,
  and their indices are equal. When all shards exist, none is being written.

  Args:
    folder: Folder of the shards.
    now: Progress; nothing is missing.
    made: Properties that all records share.
    empty: The caption "", as `records.write_index` takes it.
  """
  for name in now.outdated:
    (folder / name).unlink(missing_ok=True)
    table_path(folder / name).unlink(missing_ok=True)
  of_shards = SUFFIX, table_path(Path(f"any{SUFFIX}")).suffix
  records.remove_partials(folder, lambda name: name.endswith(of_shards))
  index = records.write_index(folder, made, empty)
  shutil.rmtree(folder / "texts", ignore_errors=True)
  return index


def part_in_words(plan: Plan, own: int, left: int) -> str:
  """Says which part of the plan belongs to this process.

  Args:
    plan: The plan.
    own: Number of this process's shards.
    left: Number of them that do not exist yet.
  """
  share = plan.share
  return (
    f"Process {share.number} of {share.count}: {own} of {len(plan.shards)} shards, "
    f"{left} of them to be made"
  )


def missing_in_words(plan: Plan, missing: Mapping[int, int]) -> str:
  """Says what is missing when this process has done its part, and what to do."""
  share = plan.share
  whose = [f"{count} of process {process}" for process, count in missing.items()]
  if len(whose) > _NAMED:
    whose[_NAMED:] = [f"{sum([*missing.values()][_NAMED:])} of others"]
  return (
    f"Process {share.number} of {share.count} is done. Of all {len(plan.shards)} "
    f"shards {sum(missing.values())} are missing: {', '.join(whose)}. The process that "
    "finds all shards complete writes the index. Start a lost process again, or, when "
    "none is running, any number of processes."
  )
