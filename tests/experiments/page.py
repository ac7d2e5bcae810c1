"""Writes docs/experiments.md and its image from the results of the runs.

Two seeds of one recipe differ by chance. How much says the standard deviation between
the seeds of a recipe, over all recipes together; a difference between two means counts
only where it is larger than twice its own standard error.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from tests.experiments.prompts import page as prompts
from tests.experiments.variants import BASELINE, SEEDS, STEPS, VARIANTS
from tests.verify.runner import write

matplotlib.use("Agg")
from matplotlib import pyplot as plt

INTRODUCTION = """\
# Experiments

Written by `python -m tests.experiments`; do not edit by hand. The paper's claims about
the transformer, each beside a control that differs from the baseline in one thing: the
small transformer from nothing, on records of the VAE and text encoder that were shipped
until 2026-11-30, {steps} steps of 2,048 tokens, two seeds, on two CPU cores. What holds
for 4 million parameters and 30 core-minutes may not hold at 2 billion.

A difference counts where it is larger than the two seeds of all recipes make likely
(twice the standard error of a difference of two means of two); otherwise the table says
"within noise". Losses are those of 81 captions that were never trained on, with the
same noise for all; words are those that the judge reads in 48 generated clips. The
curves of `uniform` and `no-clamp` are of training losses at other noise levels than the
baseline's: compare those by the tables.
"""
PICTURE = "![Training loss of all runs](images/experiments.png)\n"


class Figure(NamedTuple):
  """What is compared.

  Attributes:
    title: Its name in the table.
    of: From a result's `measured` to a number.
    scale: What it is multiplied by.
    better: 1 where more is better, -1 where less is.
  """

  title: str
  of: Callable[[Mapping[str, Any]], float]
  scale: float
  better: int


def _loss(size: str) -> Callable[[Mapping[str, Any]], float]:
  return lambda found: found[size]["loss"]["loss"]


def _words(size: str, *words: str) -> Callable[[Mapping[str, Any]], float]:
  def mean(found: Mapping[str, Any]) -> float:
    right = found[size]["from text"]["judged right"]
    return float(np.mean([right[word] for word in words]))

  return mean


def _first_frame(found: Mapping[str, Any]) -> float:
  return found["trained size"]["from a first frame"]["psnr of all frames"]["mean"]


ALL = "color", "shape", "direction", "size", "background"
FIGURES = (
  Figure("loss, trained size", _loss("trained size"), 1.0, -1),
  Figure("loss, unseen size", _loss("unseen size"), 1.0, -1),
  Figure("words right, trained size, %", _words("trained size", *ALL), 100.0, 1),
  Figure("words right, unseen size, %", _words("unseen size", *ALL), 100.0, 1),
  Figure("PSNR from a first frame, dB", _first_frame, 1.0, 1),
)


def read(folder: Path, names: Iterable[str]) -> dict[str, dict[int, dict]]:
  """Returns results by recipe and seed, the recipes in the order of `names`."""
  results: dict[str, dict[int, dict]] = {}
  for path in sorted(folder.glob("*.json")):
    result = json.loads(path.read_text())
    results.setdefault(result["name"], {})[result["seed"]] = result
  return {name: results[name] for name in names if name in results}


def spread(values: Mapping[str, Sequence[float]]) -> float:
  """Returns the standard deviation between seeds, over all recipes that have two."""
  pairs = [each for each in values.values() if len(each) == len(SEEDS)]
  if not pairs:
    return math.nan
  return math.sqrt(float(np.mean([np.var(each, ddof=1) for each in pairs])))


def verdict(figure: Figure, change: float, noise: float) -> str:
  """Says which side is better, and whether that is more than noise."""
  if math.isnan(noise) or abs(change) <= noise:
    return "within noise"
  return "control better" if change * figure.better > 0 else "baseline better"


Values = Mapping[str, Mapping[str, Sequence[float]]]
"""Title of a figure -> recipe -> one value per seed."""


def values_of(
  figures: Sequence[Figure], results: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> Values:
  """Returns the figures of all results."""
  return {
    figure.title: {
      name: [figure.scale * figure.of(r["measured"]) for r in seeds.values()]
      for name, seeds in results.items()
    }
    for figure in figures
  }


class Comparison(NamedTuple):
  """A control against the baseline in one figure: means over the seeds.

  Attributes:
    base: The baseline's.
    control: The control's.
    change: Their difference.
    noise: The difference that seeds alone make likely.
    verdict: Result of `verdict`.
  """

  base: float
  control: float
  change: float
  noise: float
  verdict: str


def compared(
  figure: Figure, own: Mapping[str, Sequence[float]], name: str
) -> Comparison:
  """Compares a control with the baseline.

  Args:
    figure: What is compared.
    own: Its values, by recipe.
    name: The control.
  """
  base, control = np.mean(own[BASELINE]), np.mean(own[name])
  seeds = sum(1 / len(own[side]) for side in (BASELINE, name))
  noise = 2 * spread(own) * math.sqrt(seeds)
  change = round(float(control - base), 9)  # Two equal shares differ by rounding.
  said = verdict(figure, change, noise)
  return Comparison(float(base), float(control), change, noise, said)


def table(figures: Sequence[Figure], values: Values, name: str) -> list[str]:
  """Returns the table of a control against the baseline, in Markdown."""
  lines = [
    "| figure | baseline | control | difference | noise | verdict |",
    "|---|---|---|---|---|---|",
  ]
  for figure in figures:
    found = compared(figure, values[figure.title], name)
    cells = [
      figure.title,
      *(f"{x:.4g}" for x in (found.base, found.control)),
      *(f"{found.change:+.2g}", f"{found.noise:.2g}", found.verdict),
    ]
    lines.append("| " + " | ".join(cells) + " |")
  return lines


def page(results: dict[str, dict[int, dict]]) -> str:
  """Returns the page in Markdown."""
  values = values_of(FIGURES, results)
  sections = [INTRODUCTION.format(steps=STEPS), *([PICTURE] if results else [])]
  for name, variant in VARIANTS.items():
    if name == BASELINE:
      continue
    lines = [f"## {variant.claim}", "", f"`python -m tests.experiments {name}`", ""]
    if name in results and BASELINE in results:
      ran = ", ".join(
        f"seed {seed}: {r['seconds'] / 60:.0f} minutes at {r['commit']}"
        for seed, r in results[name].items()
      )
      lines += [f"{ran}.", "", *table(FIGURES, values, name)]
      if len(results[name]) == len(SEEDS):
        lines += ["", *textwrap.wrap(variant.verdict, 88)]
    else:
      lines.append("Not run yet.")
    sections.append("\n".join(lines) + "\n")
  return "\n".join(sections)


def draw(path: Path, results: dict[str, dict[int, dict]]) -> None:
  """Draws the training loss of every control next to the baseline's."""
  controls = [name for name in results if name != BASELINE]
  figure, axes = plt.subplots(
    *(2, 4), figsize=(13, 5.5), sharex=True, sharey=True, layout="constrained"
  )
  for axis, name in zip(axes.flat, controls, strict=False):
    for side, color in ((BASELINE, "0.6"), (name, "tab:blue")):
      for number, result in enumerate(results.get(side, {}).values()):
        steps, loss = np.array(result["curve"]).T
        smooth = np.convolve(loss, np.ones(9) / 9, mode="valid")
        label = side if number == 0 else None
        axis.plot(steps[4:-4], smooth, color=color, lw=1, label=label)
    axis.set(yscale="log", title=name)
    axis.legend(frameon=False)
  for axis in axes.flat[len(controls) :]:
    axis.axis("off")
  figure.supxlabel("step")
  figure.supylabel("training loss, mean of 9")
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=80)
  plt.close(figure)


def write_page(folder: Path) -> None:
  """Writes the page next to the folder of results, and its image."""
  results = read(folder, VARIANTS)
  sections = page(results), prompts.section(folder / "prompts")
  write(folder.with_suffix(".md"), "\n".join(sections))
  if results:
    draw(folder.parent / "images" / "experiments.png", results)
