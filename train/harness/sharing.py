"""Several processes of precompute: each makes its own shards, and waits for no other.

All draw the same plan from the manifest, and of its shards process i of n makes those
at i, i + n, i + 2n, ... They have nothing in common but the folder: one that is lost
stops no other, and what it left is made at the next start, by any number of processes.
No file is locked and none has two writers that differ: shards are named by what they
hold, and a list that all add to is a file for each of them, read together.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from ltx_jax.config.metadata import COUNT
from ltx_jax.data.partial import read_json_lines
from ltx_jax.errors import check_fields

_ALONE = tyro.conf.arg(metavar="INT", help_behavior_hint="(default: it works alone)")


@dataclasses.dataclass(frozen=True)
class Share:
  """Part of the work for this process, if several share it; default: all of it."""

  processes: Annotated[int | None, _ALONE] = None
  """Number of processes that share the work, all with the same options and folder."""

  process: Annotated[int | None, _ALONE] = None
  """Number of this process, counted from 0."""

  def __post_init__(self):
    bounds = {"processes": COUNT, "process": {"at_least": 0, "whole": True}}
    check_fields(self, bounds, "--{}")
    if (self.processes is None) != (self.process is None):
      given, lacking = "--processes", "--process"
      if self.processes is None:
        given, lacking = lacking, given
      raise ValueError(
        f"{given} is given without {lacking}; processes that share the work need both: "
        "how many they are, and which of them this is, the first being 0."
      )
    if self.number >= self.count:
      raise ValueError(
        f"--process is {self.process} of --processes {self.processes}; the first is 0 "
        f"and the last {self.count - 1}."
      )

  @property
  def count(self) -> int:
    """Number of processes."""
    return self.processes or 1

  @property
  def number(self) -> int:
    """Number of this one."""
    return self.process or 0

  @property
  def alone(self) -> bool:
    """Whether there is no other process."""
    return self.count == 1

  def positions(self, shards: int) -> range:
    """Returns which of the plan's shards are this process's."""
    return range(self.number, shards, self.count)

  def owner(self, position: int) -> int:
    """Returns the process whose shard this is."""
    return position % self.count

  def file(self, path: Path) -> Path:
    """Returns the file that this process adds lines to, of a list named `path`."""
    name = f"{path.stem}-{self.number}{path.suffix}"
    return path if self.alone else path.with_name(name)


def parts(path: Path) -> list[Path]:
  """Returns the files of a list that processes among several have added to."""
  return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def read_rows(path: Path) -> list[dict[str, Any]]:
  """Reads a list in JSON Lines, what several processes have added to it included last.

  The list itself is read after the parts: what takes up parts into it removes them only
  then, so that no row is missed.
  """
  added = [row for part in parts(path) for row in read_json_lines(part)]
  return [*read_json_lines(path), *added]
