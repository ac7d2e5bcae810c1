"""The paper's claims, each with the figures that speak for or against it here.

Nothing is trained: the figures are those of `tests.experiments`, whose results lie in
docs/experiments. A figure is the control's less the baseline's, with twice its standard
error, from two seeds of each recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.experiments import page, variants
from tests.experiments.page import Figure
from tests.experiments.vae import page as vae_page
from tests.experiments.vae import variants as vae_variants

NAME = "The paper's claims, as far as small models and drawn clips can say"
COMMAND = "python -m tests.verify claims"

RESULTS = Path(__file__).resolve().parent.parent.parent / "docs" / "experiments"

COSTS_NOTHING = ("no-dropping", "text-only")
"""Controls whose claim is that the baseline loses nothing."""

DECIDES = {"one-size": ("loss, unseen size",)}
"""Figures that decide on a claim about the transformer, where these are not the losses
at both sizes."""

WORDS = {
  "baseline better": "holds here",
  "control better": "does not hold here",
  "within noise": "no difference here",
}
UNTRIED = {
  "people prefer its clips (win rates from text and from images)": "rivals' clips and "
  "raters; `train.evaluate.study` makes and runs the survey",
  "people prefer the decoder's last step of denoising": "raters; `python -m "
  "tests.experiments study` makes the survey",
  "a clip of 5 seconds in 2 seconds on an H100": "a GPU; `python -m sample.benchmark "
  "device` measures it",
}


def row(figure: str, value: str) -> dict[str, Any]:
  """Returns a row of the page; a claim has no target."""
  return {"figure": figure, "value": value, "unit": "", "target": "", "ok": True}


def verdict(name: str, said: str) -> str:
  """Says what a figure means for the claim that a control is of."""
  if name in COSTS_NOTHING and said != "control better":
    return "holds here"
  return WORDS[said]


def compared(
  name: str, claim: str, figures: Sequence[Figure], results: Any, witnesses: str
) -> list[dict[str, Any]]:
  """Returns a row for each figure that decides on a claim.

  Args:
    name: The control.
    claim: The claim.
    figures: What decides.
    results: Results by recipe and seed.
    witnesses: What the figures are of.
  """
  rows, values = [], page.values_of(figures, results)
  for figure in figures:
    found = page.compared(figure, values[figure.title], name)
    change = f"{found.change:+.2g} ± {found.noise:.1g}"
    words = f"{claim}: {figure.title}, control less baseline {change}, {witnesses}"
    rows.append(row(words, verdict(name, found.verdict)))
  return rows


def of_transformer() -> list[dict[str, Any]]:
  """Rows for the claims about the transformer and its training."""
  results = page.read(RESULTS, variants.VARIANTS)
  figures = {figure.title: figure for figure in page.FIGURES}
  clips, losses = "2 seeds, 81 captions of moving shapes", tuple(figures)[:2]
  rows = []
  for name, variant in variants.VARIANTS.items():
    if variant.claim:
      decide = [figures[title] for title in DECIDES.get(name, losses)]
      rows += compared(name, variant.claim, decide, results, clips)
  return rows


def of_vae() -> list[dict[str, Any]]:
  """Rows for the claims about the Video-VAE."""
  results = page.read(RESULTS / "vae", vae_variants.VARIANTS)
  figures = {figure.title: figure for figure in vae_page.FIGURES}
  clips = "2 seeds, 24 clips of textured moving shapes"
  rows = []
  for name, variant in vae_variants.VARIANTS.items():
    if variant.claim:
      decide = [figures[title] for title in variant.decides]
      rows += compared(name, variant.claim, decide, results, clips)
  return [*rows, decorrelation(results[vae_variants.BASELINE])]


def decorrelation(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
  """Returns the row for the correlation of channels along training."""
  first, last = (
    np.array([run["measured"]["latents"][at]["correlation"] for run in runs.values()])
    for at in (0, -1)
  )
  words = (
    f"latents decorrelate in training: mean correlation of two channels "
    f"{first.mean():.3f} at the first checkpoint and {last.mean():.3f} at the last, "
    f"{len(runs)} seeds"
  )
  return row(words, "holds here" if (last < first).all() else "does not hold here")


def run() -> list[dict[str, Any]]:
  """Returns the rows of all claims."""
  untried = [
    row(f"{claim}: needs {what}", "not tested") for claim, what in UNTRIED.items()
  ]
  return [*of_vae(), *of_transformer(), *untried]
