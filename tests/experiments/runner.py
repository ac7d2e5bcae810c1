"""Runs the recipes of a family of experiments, and has its page written.

Each run is one recipe with one seed. Its result is a file of its own, written when it
is there, so that the work can stop anywhere: what has a result is not run again, and a
run that was broken off resumes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.program import program


class Family(NamedTuple):
  """Experiments that share a baseline.

  Attributes:
    command: First arguments of `python -m tests.experiments` that choose it.
    names: Its recipes, the baseline first.
    seeds: Seeds of every recipe.
    results: Folder of results; the page stands next to it.
    page: The page.
    run_one: From recipe, seed and the folder of runs to a file in `results`.
    write_page: Writes the page from the results.
  """

  command: tuple[str, ...]
  names: tuple[str, ...]
  seeds: tuple[int, ...]
  results: Path
  page: Path
  run_one: Callable[[str, int, Path], None]
  write_page: Callable[[], None]

  def result(self, name: str, seed: int) -> Path:
    """Returns the file of a run's result."""
    return self.results / f"{name}-{seed}.json"


def main(family: Family, about: str | None, argv: Sequence[str]) -> None:
  """Runs what the command line names, and writes the page."""
  parser = argparse.ArgumentParser(
    prog=" ".join(["python -m tests.experiments", *family.command]),
    description=about,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )

  def recipe(name: str) -> str:
    if name not in family.names:
      known = ", ".join(family.names)
      raise argparse.ArgumentTypeError(f"no recipe {name}; there are: {known}")
    return name

  names = {"nargs": "*", "metavar": "NAME", "default": list(family.names)}
  parser.add_argument(
    "names", **names, type=recipe, help="recipes; by default all of them"
  )
  kept = {"type": Path, "default": Path("runs", "experiments", *family.command)}
  parser.add_argument("--folder", **kept, help="where records and runs are kept")
  parser.add_argument("--page", action="store_true", help="write the page alone")
  parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
  arguments = parser.parse_args(argv)
  folder = arguments.folder.absolute()
  if arguments.seed is not None:
    return family.run_one(arguments.names[0], arguments.seed, folder)
  if not arguments.page:
    run_missing(family, arguments.names, folder)
  family.write_page()
  print(f"Wrote {family.page}")


def run_missing(family: Family, names: Sequence[str], folder: Path) -> None:
  """Runs the experiments without a result, the baseline and the first seeds first.

  Raises:
    RuntimeError: If a run fails.
  """
  # Runs that have the same programs compile them once.
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
  pairs = [(name, seed) for seed in family.seeds for name in names]
  for name, seed in sorted(pairs, key=lambda pair: pair[0] != family.names[0]):
    if family.result(name, seed).is_file():
      continue
    print(" ".join([*family.command, f"{name}, seed {seed}"]), flush=True)
    options = *family.command, name, "--seed", seed, "--folder", folder
    program("tests.experiments", *options)
