"""Numbers with their intervals as inline SVG: a dot and a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ltx_jax.curation.statistics import round_edges
from train.page.chart import COLOURS, short
from train.page.markup import NO_ATTRIBUTES, Element, element

_WIDTH, _ROW = 360, 26
_LEFT, _RIGHT, _TOP, _BELOW = 110, 340, 14, 24
_TICKS = 5
_LONGEST = 17  # Letters of a name that fit next to its line.


class Interval(NamedTuple):
  """A number to draw.

  Attributes:
    name: What it is of.
    value: The number; None draws nothing but the name.
    low: Lower end of its interval; None is open.
    high: Upper end; None is open.
  """

  name: str
  value: float | None
  low: float | None
  high: float | None


def drawing(
  title: str,
  rows: Sequence[Interval],
  middle: float,
  ends: tuple[float, float] | None = None,
  percent: bool = False,
) -> Element:
  """Returns a figure with its caption.

  Args:
    title: What the numbers are.
    rows: The numbers, from top to bottom.
    middle: Value of a vertical line, such as 0.5 for rates.
    ends: Range of the drawing; None takes that of the numbers.
    percent: Whether to write them in per cent.
  """
  picture = svg(title, rows, middle, ends, percent)
  caption = element("figcaption", NO_ATTRIBUTES, title)
  return element("figure", {"class": "panel"}, caption, picture)


def svg(
  title: str,
  rows: Sequence[Interval],
  middle: float,
  ends: tuple[float, float] | None = None,
  percent: bool = False,
) -> Element:
  """Returns the drawing alone; see `drawing`."""
  low, high = ends or _range(rows, middle)
  bottom = _TOP + _ROW * len(rows)

  def place(value: float) -> float:
    share = (min(max(value, low), high) - low) / (high - low)
    return _LEFT + share * (_RIGHT - _LEFT)

  grid = []
  for tick in round_edges(np.array([low, high]), _TICKS).tolist():
    if low <= tick <= high:
      at = f"{place(tick):.1f}"
      line = {"x1": at, "x2": at, "y1": f"{_TOP}", "y2": f"{bottom}"}
      grid.append(element("line", line))
      spot = {"x": at, "y": f"{bottom + 14}", "text-anchor": "middle"}
      grid.append(element("text", spot, short(tick, percent)))
  at = f"{place(middle):.1f}"
  line = {"x1": at, "x2": at, "y1": f"{_TOP - 4}", "y2": f"{bottom}"}
  drawn = [
    element("g", {"class": "grid"}, *grid),
    element("g", {"class": "marks"}, element("line", line)),
  ]
  for k, row in enumerate(rows):
    y = _TOP + _ROW * (k + 0.5)
    drawn.append(_row(row, y, place, f"run{k % COLOURS}"))
  said = "; ".join(_in_words(row, percent) for row in rows)
  return element(
    "svg",
    {
      "viewBox": f"0 0 {_WIDTH} {bottom + _BELOW}",
      "role": "img",
      "aria-label": f"{title}: {said}.",
    },
    *drawn,
  )


def written(row: Interval, percent: bool = False) -> str:
  """Writes a number with its interval in a few characters."""
  if row.value is None:
    return "none"
  if row.low is None and row.high is None:
    return short(row.value, percent)
  low = "open" if row.low is None else short(row.low, percent)
  high = "open" if row.high is None else short(row.high, percent)
  return f"{short(row.value, percent)} ({low} to {high})"


def _row(row: Interval, y: float, place, colour: str) -> Element:
  name = row.name
  if len(name) > _LONGEST:
    name = f"{name[: _LONGEST - 1]}…"
  spot = {"x": f"{_LEFT - 6}", "y": f"{y:.1f}", "dy": "0.35em", "text-anchor": "end"}
  label = element("g", {"class": "grid"}, element("text", spot, name))
  title = element("title", NO_ATTRIBUTES, row.name)
  if row.value is None:
    return element("g", {"class": colour}, title, label)
  left = _LEFT if row.low is None else place(row.low)
  right = _RIGHT if row.high is None else place(row.high)
  line = {"class": "line", "points": f"{left:.1f},{y:.1f} {right:.1f},{y:.1f}"}
  dot = {"r": "4", "cx": f"{place(row.value):.1f}", "cy": f"{y:.1f}"}
  return element(
    *("g", {"class": colour}, title, label),
    *(element("polyline", line), element("circle", dot)),
  )


def _range(rows: Sequence[Interval], middle: float) -> tuple[float, float]:
  """Returns the range of all numbers and ends, with a margin."""
  known = [x for row in rows for x in (row.value, row.low, row.high) if x is not None]
  low, high = min([middle, *known]), max([middle, *known])
  margin = 0.06 * (high - low) or 1.0
  return low - margin, high + margin


def _in_words(row: Interval, percent: bool) -> str:
  return f"{row.name} {written(row, percent)}"
