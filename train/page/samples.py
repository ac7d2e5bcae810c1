"""The sample images of runs, made small enough to be part of a page."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ltx_jax.errors import said
from ltx_jax.files import read_lines
from train.harness.reporting import CAPTIONS_FILE, SAMPLES_FOLDER
from train.page.record import Record

MOST_BYTES = 7_000_000
"""Largest size of all images of a page, as long as more than one step is shown."""

_MOST_STEPS = 24
_LARGEST = (640, 960)
_QUALITY = 80


class Shelf(NamedTuple):
  """Sample images of one name.

  Attributes:
    name: Name that the trainer gives them.
    steps: For each step that is shown, newest first, the runs' images as data URIs, by
      the number of the run.
    of: Number of steps that exist.
  """

  name: str
  steps: dict[int, dict[int, str]]
  of: int


def captions_of(folder: Path) -> list[str]:
  """Returns the captions of the rows of a run's sample images, if they are known."""
  path = folder / SAMPLES_FOLDER / CAPTIONS_FILE
  return read_lines(path) if path.exists() else []


def shelves(records: Sequence[Record]) -> list[Shelf]:
  """Returns the runs' sample images; of many steps, some are chosen evenly.

  Raises:
    ValueError: If a file is not an image.
  """
  found = _files(records)
  data_uri = functools.cache(_data_uri)  # A smaller selection reuses these.
  count = _MOST_STEPS
  while True:
    chosen = [
      Shelf(
        name,
        {
          step: {run: data_uri(path) for run, path in by_step[step].items()}
          for step in _spread(sorted(by_step), count)
        },
        len(by_step),
      )
      for name, by_step in found.items()
    ]
    uris = [u for shelf in chosen for row in shelf.steps.values() for u in row.values()]
    total = sum(map(len, uris))
    if total <= MOST_BYTES or count == 1:
      return chosen
    count = max(1, count * MOST_BYTES // total)


def _files(records: Sequence[Record]) -> dict[str, dict[int, dict[int, Path]]]:
  """Returns sample images by name, step and number of the run."""
  found: dict[str, dict[int, dict[int, Path]]] = {}
  for run, record in enumerate(records):
    for path in sorted((record.folder / SAMPLES_FOLDER).glob("*.png")):
      if match := re.fullmatch(r"(.+)_(\d+)", path.stem):
        by_step = found.setdefault(match[1], {})
        by_step.setdefault(int(match[2]), {})[run] = path
  return found


def _spread(steps: Sequence[int], count: int) -> list[int]:
  """Returns `count` of the steps, always including the newest, which is first."""
  places = np.linspace(len(steps) - 1, 0, min(count, len(steps))).round()
  return [steps[int(place)] for place in places]


def _data_uri(path: Path) -> str:
  try:
    with Image.open(path) as image:
      small = image.convert("RGB")
    small.thumbnail(_LARGEST)
  except Exception as error:  # Damaged images make Pillow raise almost anything.
    raise ValueError(
      f"{path} is not a readable image ({said(error)}); remove it."
    ) from None
  file = io.BytesIO()
  small.save(file, "webp", quality=_QUALITY)
  return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
