"""Writes docs/experiments-vae.md from the results, with a verdict for each claim.

A claim rests on a few figures (`Variant.decides`). In each of them the baseline or the
control is better, or they differ by no more than the seeds make likely, as on the
transformer's page. The verdict follows from these words alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from tests.experiments import page
from tests.experiments.page import Figure
from tests.experiments.vae import variants
from tests.experiments.vae.variants import BASELINE, PLAN, SEEDS, VARIANTS, Plan
from tests.verify.runner import write

HIGH_BANDS = ("LLH", "LHL", "LHH", "HLH", "HHL", "HHH")
"""Bands that are high in height or width."""

INTRODUCTION = """\
# Experiments with the Video-VAE

Written by `python -m tests.experiments vae`; do not edit by hand. The paper's claims
about the Video-VAE, each with a control that differs from the baseline in one thing.
All recipes train the shipped small VAE, of the released compression 1:192, further on
9 frames of 128x128 of moving shapes with fine texture, which it has never seen, with
two seeds, on one CPU core. For {first} steps the discriminator learns and the VAE does
not hear it; for {second} more steps it does. It sees every pair in both orders: shown
each in one random order, it was still at chance after 350 steps of 4 clips. What the
shipped VAE had learned, among it to decode noisy latents, is common to all. What holds
here may not hold for a VAE that is a hundred times larger and sees real clips.

The figures are those of {clips} clips whose captions were never trained on; half of
them move at a quarter of the others' speed. The distance in a fixed random VGG16 is no
LPIPS: nobody trained that network. A difference counts if it is larger than twice its
standard error, which is estimated from the two seeds of all recipes. Otherwise the
table says "within noise". Each verdict follows by rule from the figures named in it.
"""
CURVES = """\
![Training and latents of all recipes](images/vae-curves.png)

Means of both seeds. Correlation is that of two channels in use, and the effective rank
is a count of principal components (`ltx_jax/metrics/latents.py`); both are of the
latents of the same held-out clips at checkpoints along training.
"""


def _high(found: Mapping[str, Any], part: str) -> float:
  return sum(found["bands"][band][part] for band in HIGH_BANDS)


def _missed(found: Mapping[str, Any]) -> float:
  return _high(found, "error") / _high(found, "given")


def _energy(found: Mapping[str, Any]) -> float:
  return _high(found, "made") / _high(found, "given")


def _at(sigma: str, pace: str) -> Figure:
  title = f"PSNR of {pace} clips at sigma {sigma}, dB"
  return Figure(title, lambda found: found["psnr_by_sigma"][sigma][pace], 1.0, 1)


def _last(name: str) -> Any:
  return lambda found: found["latents"][-1][name]


FIGURES = (
  Figure("PSNR, dB", lambda found: found["psnr"], 1.0, 1),
  Figure("SSIM", lambda found: found["ssim"], 1.0, 1),
  Figure(variants.HIGH, _missed, 1.0, -1),
  Figure(variants.DETAIL, lambda found: abs(1 - _energy(found)), 1.0, -1),
  Figure(variants.FEATURES, lambda found: found["feature_distance"], 1.0, -1),
  Figure("flicker, levels of 255", lambda found: found["difference_error"], 1.0, -1),
  Figure(
    "motion, distance from the original's",
    lambda found: abs(1 - found["motion_ratio"]),
    *(1.0, -1),
  ),
  Figure(variants.IN_USE, _last("in_use"), 1.0, 1),
  Figure("correlation of channels", _last("correlation"), 1.0, -1),
  Figure("effective rank of the latents", _last("effective_rank"), 1.0, 1),
  *(_at(sigma, pace) for sigma in ("0.05", "0.1") for pace in ("slow", "fast")),
)


def judged(verdicts: Mapping[str, str]) -> str:
  """Returns the verdict on a claim.

  Args:
    verdicts: Result of `page.verdict` for each figure that decides.
  """
  sides = {
    side: [title for title, word in verdicts.items() if word == f"{side} better"]
    for side in ("baseline", "control")
  }
  better, worse = sides["baseline"], sides["control"]
  if not better and not worse:
    return f"Not seen at this scale: no difference beyond noise in {_list(verdicts)}."
  if not worse and len(better) == len(verdicts):
    return f"Confirmed: the baseline is better in {_list(better)}."
  if not worse:
    rest = [title for title in verdicts if title not in better]
    return (
      f"Partly confirmed: the baseline is better in {_list(better)}; there is no "
      f"difference beyond noise in {_list(rest)}."
    )
  if not better:
    return f"Contradicted at this scale: the control is better in {_list(worse)}."
  return (
    f"Mixed: the baseline is better in {_list(better)}, the control in {_list(worse)}."
  )


def beside(verdicts: Mapping[str, str]) -> str:
  """Returns a sentence on what the control does better; "" if there is nothing.

  Args:
    verdicts: Result of `page.verdict` for each figure that does not decide.
  """
  worse = [title for title, word in verdicts.items() if word == "control better"]
  return f" The price: the control is better in {_list(worse)}." if worse else ""


def _list(titles: Mapping[str, str] | list[str]) -> str:
  return " and in ".join(f'"{title}"' for title in titles)


def _ran(results: Mapping[int, Mapping[str, Any]], of: str = "") -> str:
  """Says how long the runs of a recipe took, and what its discriminators tell right."""
  parts = []
  for seed, found in results.items():
    minutes = sum(found[phase] for phase in ("first", "second")) / 60
    right = found["measured"]["discriminator_accuracy"]
    told = "" if right is None else f", discriminator right in {100 * right:.0f} %"
    energy = 100 * _energy(found["measured"])
    parts.append(
      f"seed {seed}: {minutes:.0f} minutes at {found['commit']}, high bands with "
      f"{energy:.0f} % of their energy{told}"
    )
  return "\n".join(textwrap.wrap(of + "; ".join(parts) + ".", 88))


def _section(
  name: str, results: Mapping[str, Mapping[int, Mapping[str, Any]]], values: page.Values
) -> str:
  variant = VARIANTS[name]
  lines = [f"## {variant.claim}", "", f"`python -m tests.experiments vae {name}`", ""]
  if name not in results or BASELINE not in results:
    return "\n".join([*lines, "Not run yet."]) + "\n"
  lines += [_ran(results[name]), "", *page.table(FIGURES, values, name), ""]
  if all(len(results[side]) == len(SEEDS) for side in (name, BASELINE)):
    verdicts = {
      figure.title: page.compared(figure, values[figure.title], name).verdict
      for figure in FIGURES
    }
    deciding = {title: verdicts.pop(title) for title in variant.decides}
    lines += textwrap.wrap(f"{judged(deciding)}{beside(verdicts)}", 88)
  else:
    lines.append("No verdict before both seeds have run.")
  return "\n".join(lines) + "\n"


def _gallery(names: list[str]) -> str:
  """Shows detail of all recipes."""
  rows = [
    f"| {name} | ![{name}](images/vae-{name}.png) |" for name in ("original", *names)
  ]
  return "\n".join(
    [
      "## What the detail looks like",
      "",
      "Seed 1, 32x32 pixels around the shape in the middle frame, enlarged. From the",
      "left: a slow, a fast, a slow and a fast clip from clean latents, then the two",
      "fast ones from latents at sigma 0.1. Texture is not there yet in any of them:",
      "the recipes differ in their figures, not for the eye.",
      "",
      "| recipe | detail |",
      "|---|---|",
      *rows,
      "",
    ]
  )


def text_of(results: Mapping[str, Mapping[int, Mapping[str, Any]]], plan: Plan) -> str:
  """Returns the page in Markdown."""
  values = page.values_of(FIGURES, results)
  introduction = INTRODUCTION.format(
    first=plan.first, second=plan.second, clips=plan.clips
  )
  sections = [introduction]
  if BASELINE in results:
    sections.append(_ran(results[BASELINE], of="The baseline, ") + "\n")
  sections += [_section(name, results, values) for name in VARIANTS if name != BASELINE]
  if results:
    shown = [name for name, seeds in results.items() if SEEDS[0] in seeds]
    sections += [
      "## Training and latents\n",
      CURVES,
      *([_gallery(shown)] if shown else []),
    ]
  return "\n".join(sections)


def _mean_curve(rows: list[list[list[float]]]) -> np.ndarray:
  """Returns [n 2], the mean over seeds of curves with the same steps."""
  length = min(map(len, rows))
  return np.mean([np.array(each[:length], float) for each in rows], axis=0)


def draw(path: Path, results: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> None:
  """Draws training, the discriminators, and the latents along training."""
  figure, axes = plt.subplots(2, 3, figsize=(12, 6), layout="constrained")
  titles = {
    "psnr": "training PSNR, dB",
    "discriminator_accuracy": "discriminator right",
    "in_use": "channels in use",
    "correlation": "correlation of channels",
    "effective_rank": "effective rank",
    "spectrum": "variance by component, at the end",
  }
  for axis, (what, title) in zip(axes.flat, titles.items(), strict=True):
    for name, seeds in results.items():
      rows = [_rows(found, what) for found in seeds.values()]
      if all(rows):
        axis.plot(*_mean_curve(rows).T, lw=1, label=name)
    axis.set(title=title, yscale="log" if what == "spectrum" else "linear")
  axes[0, 0].legend(frameon=False, fontsize=7)
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=70)
  plt.close(figure)


def _rows(found: Mapping[str, Any], what: str) -> list[list[float]]:
  if what in found["curve"]:
    return found["curve"][what]
  latents = found["measured"]["latents"]
  if what == "spectrum":
    return [[i + 1, share] for i, share in enumerate(latents[-1][what])]
  return [[row["step"], row[what]] for row in latents]


def write_page(docs: Path, plan: Plan = PLAN) -> None:
  """Writes the page and its image into the folder of documents."""
  results = page.read(docs / "experiments" / "vae", VARIANTS)
  write(docs / "experiments-vae.md", text_of(results, plan))
  if results:
    draw(docs / "images" / "vae-curves.png", results)
