"""From footage to a training set: what is measured, and which clips are kept.

    python -m train.curate run footage/ --output runs/curated
    python -m train.precompute runs/curated/manifest.jsonl

The numbers of `measures` belong to the pass over the pixels: with others, everything is
measured again. The thresholds of a set of rules are applied to what was measured, in
their order, in seconds:

    python -m train.curate select --output runs/curated --threshold static=0.01

`paper` has what the paper names and nothing more: bars are cropped, what hardly moves
and what is not beautiful goes. `training` adds what most others do: duplicates,
strobes, and slide shows. `fine_tuning` keeps the best of the same measurements, for the
last stage of training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ltx_jax.curation.filters import Duplicates, Filter, Threshold

if TYPE_CHECKING:
  from ltx_jax.curation.measure import Measures

SIZE = Threshold("size", "small", "side", least=256)
LENGTH = Threshold("length", "length", "frames", least=25)
DARK = Threshold("dark", "black", "luma", least=4.0)
FLAT = Threshold("flat", "black", "contrast", least=4.0)
STATIC = Threshold("static", "static", "motion_p90", least=0.005)
SLIDES = Threshold("slides", "slides", "repeated", most=0.8)
STROBE = Threshold("strobe", "strobe", "flashes", most=3.0)
AESTHETIC = Threshold("aesthetic", "aesthetic", "aesthetic", best=0.7)


def measures() -> Measures:
  """Numbers of the measurement, each with its meaning where it is defined."""
  from ltx_jax.curation.measure import Measures  # Its OpenCV is an extra.

  return Measures()


def paper() -> tuple[Filter, ...]:
  """Rules that the paper names; its thresholds are not known, these are ours."""
  return SIZE, LENGTH, DARK, STATIC, AESTHETIC


def training() -> tuple[Filter, ...]:
  """Rules for a training set: cheap ones first."""
  return SIZE, LENGTH, DARK, FLAT, STATIC, SLIDES, STROBE, Duplicates(), AESTHETIC


def fine_tuning() -> tuple[Filter, ...]:
  """Rules for the last stage: best tenth, then the half with the best worst still."""
  best = Threshold("best", "aesthetic", "aesthetic", best=0.1)
  worst = Threshold("worst", "aesthetic", "aesthetic_least", best=0.5)
  return *training()[:-1], best, worst
