"""A figure as it is reported: with its interval, its number of clips, and its recipe.

    psnr 31.42 dB, 95 % interval 30.87 to 31.97, 48 clips of 12 sources; PSNR of the
    error of a whole clip, 8 bits, 17 frames of 256x256 at 24 fps

A number without these cannot be compared with another one. What cannot be measured, for
want of weights, says so and what to do; it is never 0 and never left out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ltx_jax.metrics.estimates import Estimate, clustered_mean


class Figure(NamedTuple):
  """One figure of a report.

  Attributes:
    name: Name, including what the number depends on, such as `lpips-vgg16`.
    value: The number; None if there is none.
    low: Lower end of the interval; None if there is none.
    high: Upper end.
    n: Number of clips.
    sources: Number of independent sources of them.
    recipe: How it was measured, in one line.
    unit: Unit of the number.
    missing: Sentence on why there is no number; empty if there is one.
  """

  name: str
  value: float | None
  low: float | None
  high: float | None
  n: int
  sources: int
  recipe: str
  unit: str = ""
  missing: str = ""

  @property
  def shown(self) -> str:
    """The number for a table's cell."""
    if self.value is None:
      return "no weights"
    return f"{self.value:.4g}{' ' if self.unit else ''}{self.unit}"

  @property
  def line(self) -> str:
    """The figure in one line."""
    if self.value is None:
      return f"{self.name}: {self.shown}. {self.missing}"
    span = "no interval"
    if self.low is not None and self.high is not None:
      span = f"95 % interval {self.low:.4g} to {self.high:.4g}"
    clips = f"{self.n} clip{'s' * (self.n != 1)}"
    if self.sources != self.n:
      clips += f" of {self.sources} source{'s' * (self.sources != 1)}"
    return f"{self.name} {self.shown}, {span}, {clips}; {self.recipe}"

  def as_json(self) -> dict[str, Any]:
    """Returns the figure as JSON holds it."""
    return self._asdict()


def figure(
  name: str,
  values: Float[np.ndarray, "n"],
  recipe: str,
  unit: str = "",
  sources: Shaped[np.ndarray, "n"] | None = None,
) -> Figure:
  """Returns the mean of one number a clip.

  Args:
    name: Name of the figure.
    values: The numbers.
    recipe: How they were measured, in one line.
    unit: Their unit.
    sources: Label of the source video of each clip; None takes every clip as its own.
  """
  found = clustered_mean(values, sources)
  independent = len(values) if sources is None else len(np.unique(sources))
  return of_estimate(name, found, recipe, unit, (len(values), independent))


def of_estimate(
  name: str, found: Estimate, recipe: str, unit: str, counts: tuple[int, int]
) -> Figure:
  """Returns a figure with an interval of its own, such as an FVD's.

  Args:
    name: Name of the figure.
    found: The number.
    recipe: How it was measured, in one line.
    unit: Its unit.
    counts: Number of clips, and of independent sources.
  """
  ends = (float(x) if math.isfinite(x) else None for x in (found.low, found.high))
  return Figure(name, float(found.value), *ends, *counts, recipe, unit)


def no_weights(name: str, weights: str, remedy: str) -> Figure:
  """Returns a figure that needs a file which is not part of the installation.

  Args:
    name: Name of the figure, such as `lpips-vgg16`.
    weights: What it needs, such as "the weights of VGG16".
    remedy: What to do, as an imperative without a full stop.
  """
  missing = f"{name} needs {weights}, which this install does not have; {remedy}."
  return Figure(name, None, None, None, 0, 0, "", missing=missing)
