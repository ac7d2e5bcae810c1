"""How far several processes of precompute are: what is there, what is missing, whose.

A shard's name tells all that it holds, so a process knows that another is done by the
names in the folder. It hashes its own media files alone, and takes the hashes of others
from their lists: where one is not listed yet, the shard cannot be there.
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
"""clip -> sha256 of its media."""


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """All shards that the clips become, and who makes which of them.

  Attributes:
    shards: The shards, the same for all processes.
    clips: The manifest.
    makers: What encodes.
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
  """What is there of a plan.

  Attributes:
    names: Names of its shards that are complete.
    outdated: Names of other complete shards: of clips that changed or are gone.
    missing: Number of its shards that are not there by the process whose they are.
    kept: Ids of the clips whose records are in the complete ones.
  """

  names: frozenset[str]
  outdated: frozenset[str]
  missing: Mapping[int, int]
  kept: frozenset[str]


def remove_partials(folder: Path, own: Collection[str], share: Share) -> None:
  """Removes what killed processes left: all of it, or of the own shards.

  Others may be writing at this moment, but never a shard that is this process's.
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
  """Looks at what all processes have made.

  Args:
    plan: What is to be made.
    own: Jobs of this process, by the position of the shard.
    known: Returns the sha256 of a clip's media without reading it.
    folder: Folder of the shards.
    dropped: Ids of the clips that cannot be read: a shard of these alone is not
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
  """Removes what no shard needs any more, and writes the index.

  Several processes may do so at a time: what one has removed the other need not, and
  their indices are the same. No shard is being written when all are there.

  Args:
    folder: Folder of the shards.
    now: What is there; nothing is missing.
    made: What all records share.
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
  """Says which part of the plan is this process's.

  Args:
    plan: What is to be made.
    own: Number of this process's shards.
    left: How many of them are not there yet.
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
    "finds all of them there writes the index. Start a lost one again; or, once none "
    "runs, any number of them."
  )
