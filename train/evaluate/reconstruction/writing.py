"""Files of the figures: of each clip, over the frames, the worst ones, and all."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.files import atomic_file, json_bytes
from train.evaluate.reconstruction.material import Compared
from train.evaluate.reconstruction.measuring import Row, curve

WORST = 10


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
  """Writes a table; what is not finite is left empty."""
  text = io.StringIO()
  lines = csv.writer(text, lineterminator="\n")
  lines.writerow(names)
  for row in rows:
    lines.writerow([_cell(value) for value in row])
  with atomic_file(path) as file:
    file.write(text.getvalue().encode())


def _cell(value: Any) -> Any:
  return "" if isinstance(value, float) and not math.isfinite(value) else value


def clips_csv(path: Path, rows: Sequence[Row]) -> None:
  """Writes the figures of each clip."""
  names = list(dict.fromkeys(name for row in rows for name in row.figures))
  table = [
    [row.name, row.source, row.how, *(row.figures.get(n, math.nan) for n in names)]
    for row in rows
  ]
  write_csv(path, ["clip", "source", "made", *names], table)


def frames_csv(path: Path, by_how: dict[str, list[Row]]) -> None:
  """Writes the curves over the frame index."""
  table = []
  for how, rows in by_how.items():
    curves = [curve(rows, name) for name in ("psnr", "ssim")]
    for frame, values in enumerate(zip(*curves, strict=True)):
      count = sum(len(row.psnr) > frame for row in rows)
      table.append([how, frame, count, *map(float, values)])
  write_csv(path, ["made", "frame", "clips", "psnr", "ssim"], table)


def draw(path: Path, by_how: dict[str, list[Row]], title: str) -> bool:
  """Draws the curves; says whether there is a library that draws."""
  if importlib.util.find_spec("matplotlib") is None:
    return False
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(2, figsize=(7, 5), sharex=True)
  for axis, name, words in zip(
    axes, ("psnr", "ssim"), ("PSNR [dB]", "SSIM"), strict=True
  ):
    for how, rows in by_how.items():
      values = curve(rows, name)
      axis.plot(values, marker="." if len(values) < 50 else None, label=how)
    axis.set_ylabel(words, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
  axes[0].set_title(title, fontsize=9)
  axes[0].legend(fontsize=8)
  axes[1].set_xlabel("frame", fontsize=9)
  figure.tight_layout()
  with atomic_file(path) as file:
    figure.savefig(file, dpi=90, format="png")
  pyplot.close(figure)
  return True


class Worst:
  """Keeps the clips of the lowest PSNR, with their first way of reconstruction."""

  def __init__(self):
    """Begins without a clip."""
    self._kept: list[tuple[float, str, np.ndarray, np.ndarray]] = []

  def add(self, clip: Compared, row: Row) -> None:
    """Looks at a clip."""
    entry = row.figures["psnr"], clip.name, clip.original, clip.made[row.how]
    self._kept = sorted([*self._kept, entry], key=lambda each: each[:2])[:WORST]

  def write(self, path: Path) -> None:
    """Writes originals and reconstructions side by side, the worst one first."""
    clips, labels = [], []
    for decibels, name, original, made in self._kept:
      clips += [original, made]
      labels += [name, f"{decibels:.1f} dB"]
    contact_sheet(path, clips, labels, columns=2)


def write_json(path: Path, content: dict[str, Any]) -> None:
  """Writes all figures."""
  with atomic_file(path) as file:
    file.write(json_bytes(content) + b"\n")
