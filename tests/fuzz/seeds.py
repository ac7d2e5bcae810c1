"""Valid files of every kind that is read, and what reads them, as users do.

A seed writes a folder; a case changes one of the files in it. Numbers are drawn from
fixed seeds, so that the same versions of the libraries write the same bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Seed(NamedTuple):
  """A folder of valid files.

  Attributes:
    name: What it is called; the folder's name too.
    family: What the results count it under.
    write: Writes it into an empty folder.
    read: Reads it from a folder whose name may be another.
    files: Patterns of the files that are changed.
  """

  name: str
  family: str
  write: Callable[[Path], None]
  read: Callable[[Path], None]
  files: tuple[str, ...]


def all_seeds() -> tuple[Seed, ...]:
  from tests.fuzz import checkpoint_seeds, data_seeds, media_seeds

  return (*checkpoint_seeds.SEEDS, *media_seeds.SEEDS, *data_seeds.SEEDS)


def write(folder: Path, chosen: Sequence[Seed]) -> None:
  """Writes seeds, each into a folder of its name.

  Raises:
    RuntimeError: where one cannot be read back as it is.
  """
  for seed in chosen:
    place = folder / seed.name
    place.mkdir(parents=True)
    seed.write(place)
    with tempfile.TemporaryDirectory() as copy:
      shutil.copytree(place, copy, dirs_exist_ok=True)
      try:
        seed.read(Path(copy))
      except Exception as error:
        raise RuntimeError(f"The seed {seed.name} is not valid: {error}") from error


def files(seed: Seed, folder: Path) -> list[Path]:
  """The files of a seed that are changed, relative to its folder, sorted."""
  found = {path for pattern in seed.files for path in folder.glob(pattern)}
  return sorted(path.relative_to(folder) for path in found if path.is_file())
