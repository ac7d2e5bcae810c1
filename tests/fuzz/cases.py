"""A case is a number: it says which file is changed, how, and what reads it then."""

from __future__ import annotations

import functools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import containers, raw, seeds, tensors, trees

SEED = 1
"""Another one gives other cases."""

Mutation = Callable[[random.Random, bytes, bytes], bytes]
"""Takes where chance comes from, a file, and another of its kind; returns a file."""

_STRUCTURED: dict[str, tuple[Mutation, ...]] = {
  **dict.fromkeys((".safetensors", ".record", ".rows"), tensors.MUTATIONS),
  ".json": (trees.mutate,),
  ".jsonl": (trees.mutate_lines,),
  **dict.fromkeys((".csv", ".tsv", ".txt"), (trees.mutate_table,)),
  **dict.fromkeys((".mp4", ".mov", ".avif", ".avi"), (containers.mutate,)),
  **dict.fromkeys((".png", ".webp"), (containers.mutate,)),
}
_SHARE_STRUCTURED = 0.65


class Case(NamedTuple):
  """What is changed, and how.

  Attributes:
    seed: The seed, whose reader reads it.
    file: The file in its folder.
    how: The name of the mutation.
    content: The changed file.
  """

  seed: seeds.Seed
  file: Path
  how: str
  content: bytes


ALL = seeds.all_seeds()


PRELOADED = ("tests.fuzz.cases", "jax.numpy", "transformers", "pillow_heif")
"""What workers need (`judge.judged`)."""


def seed_of(number: int) -> seeds.Seed:
  """The seeds take turns."""
  return ALL[number % len(ALL)]


def make(folder: Path, number: int) -> Case:
  """Makes the case of a number.

  Args:
    folder: Where `seeds.write` wrote the valid files.
    number: Any whole number.
  """
  draw = random.Random(f"{SEED} {number}")
  seed = seed_of(number)
  file = draw.choice(_files(folder, number % len(ALL)))
  data = (folder / seed.name / file).read_bytes()
  mutations = raw.MUTATIONS
  if draw.random() < _SHARE_STRUCTURED:
    mutations = _STRUCTURED.get(file.suffix, raw.MUTATIONS)
  mutation = draw.choice(mutations)
  alike = _alike(folder, file.suffix)
  other = draw.choice(alike).read_bytes() if alike else b""
  return Case(seed, file, mutation.__name__, mutation(draw, data, other))


@functools.cache
def _files(folder: Path, seed: int) -> list[Path]:
  return seeds.files(ALL[seed], folder / ALL[seed].name)


@functools.cache
def _alike(folder: Path, suffix: str) -> list[Path]:
  """The files of all seeds with a suffix."""
  return sorted(folder.glob(f"*/*{suffix}"))


def attempt(folder: Path, number: int) -> None:
  """Reads the case of a number, from a copy of its seed's folder."""
  case = make(folder, number)
  place = folder.parent / f"worker-{os.getpid()}"
  shutil.rmtree(place, ignore_errors=True)
  shutil.copytree(folder / case.seed.name, place)
  (place / case.file).write_bytes(case.content)
  case.seed.read(place)
  shutil.rmtree(place)
