"""A run without Ray, which tests kill: its arguments are its folder and footage."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from train.curation import folder as folders
from train.curation import planning, selecting
from train.curation.folder import Folder
from train.curation.planning import Pool
from train.curation.workers import Limits, perform


def one_by_one(work: Iterable[bytes], doing: str) -> Iterator[bytes]:
  yield from map(perform, work)


def measured(
  root: Path, footage: Path, pool: Pool = one_by_one, limits: Limits | None = None
) -> Folder:
  """Looks at files and measures them, as `train.curate` does."""
  folder, limits = Folder(root), limits or Limits()
  with folders.locked(folder):
    sources = planning.plan(folder, planning.footage(footage), pool, limits)
    missing = planning.remaining(folder, sources)
    list(pool(planning.work_of(folder, missing, limits), "measuring"))
    selecting.merge(folder, sources)
  return folder


if __name__ == "__main__":
  measured(Path(sys.argv[1]), Path(sys.argv[2]))
