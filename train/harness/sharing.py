"""Several precompute processes: each makes its own shards, and waits for no other.

All derive the same plan from the manifest. Process i of n makes the shards at positions
i, i + n, i + 2n, ... They share only the folder. A lost process does not stop the
others, and the next start makes its missing shards, with any number of processes. No
file is locked, and no two processes write different content to one file: shards are
named by their content, and a shared list is one file per process, read together.
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
        "their number, and which of them this is, counted from 0."
      )
    if self.number >= self.count:
      raise ValueError(
        f"--process is {self.process} of --processes {self.processes}; it must be "
        f"0 for the first and {self.count - 1} for the last."
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
    """Returns the positions of this process's shards in the plan."""
    return range(self.number, shards, self.count)

  def owner(self, position: int) -> int:
    """Returns the process that makes the shard at a position."""
    return position % self.count

  def file(self, path: Path) -> Path:
    """Returns the file to which this process appends lines of a list named `path`."""
    name = f"{path.stem}-{self.number}{path.suffix}"
    return path if self.alone else path.with_name(name)


def parts(path: Path) -> list[Path]:
  """Returns the files of a list that several processes have written."""
  return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def read_rows(path: Path) -> list[dict[str, Any]]:
  """Reads a list in JSON Lines, including the parts that several processes added.

  The list itself is read after the parts, because parts that are merged into it are
  removed only after that, so no row is missed.
  """
  added = [row for part in parts(path) for row in read_json_lines(part)]
  return [*read_json_lines(path), *added]
