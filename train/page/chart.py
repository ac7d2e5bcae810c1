"""A panel as inline SVG: logged values faint, their running mean strong.

Colours come from the page's style, so that one drawing serves light and dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from train.page.markup import NO_ATTRIBUTES, Element, element
from train.page.panels import Panel
from train.page.record import Series

COLOURS = 8
"""Number of colours; later runs repeat them, dashed."""

_POINTS = 1000
_SMOOTHED_OVER = 9
_LEAST_SMOOTHED = 30

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 340, 8, 178


def running_mean(
  values: Float[np.ndarray, "s"], over: int = _SMOOTHED_OVER
) -> Float[np.ndarray, "s"]:
  """Averages each value with its neighbours, with fewer of them near the ends.

  Args:
    over: Number of values to average, including the value itself.
  """
  kernel = np.ones(min(over, len(values)))
  total = np.convolve(values, kernel, mode="same")
  return total / np.convolve(np.ones(len(values)), kernel, mode="same")


def thinned(series: Series, most: int) -> Series:
  """Returns at most `most` points, including the extremes, so that spikes stay."""
  count = len(series.steps)
  if count <= most:
    return series
  kept = []
  for part in np.array_split(np.arange(count), most // 2):
    values = series.values[part]
    kept += [part[np.argmin(values)], part[np.argmax(values)]]
  chosen = np.unique(kept)
  return Series(series.steps[chosen], series.values[chosen])


class _Axis(NamedTuple):
  """The map from values to places on the drawing, and the labelled values."""

  place: Callable[[np.ndarray], np.ndarray]
  ticks: list[float]


class _Frame(NamedTuple):
  """The frame that all lines of a drawing share, with the points per line."""

  x: _Axis
  y: _Axis
  points: int


def _round(low: float, high: float, integer: bool = False) -> list[float]:
  """Returns about five round numbers in a range."""
  from matplotlib.ticker import MaxNLocator  # --help need not wait for it.

  locator = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=integer)
  ticks = locator.tick_values(low, high)
  return [float(tick) for tick in ticks if low <= tick <= high]


def _linear(low: float, high: float, ends: tuple[int, int]) -> _Axis:
  margin = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
  low, high = low - margin, high + margin
  a, b = ends
  return _Axis(lambda x: a + (x - low) / (high - low) * (b - a), _round(low, high))


def _logarithmic(low: float, high: float, ends: tuple[int, int]) -> _Axis:
  from matplotlib.ticker import LogLocator

  decades = math.log10(high / low)
  powers = _linear(math.log10(low), math.log10(high), ends)
  ticks = _round(low, high)
  if decades >= 1:
    subs = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    ticks = LogLocator(subs=subs, numticks=8).tick_values(low, high)
  inside = [float(tick) for tick in ticks if low <= tick <= high]
  return _Axis(lambda x: powers.place(np.log10(x)), inside)


def _horizontal(lines: Sequence[Series]) -> _Axis:
  steps = np.concatenate([line.steps for line in lines])
  low, high = float(steps.min()), float(steps.max())
  scale = (_RIGHT - _LEFT) / (high - low or 1.0)
  return _Axis(lambda x: _LEFT + (x - low) * scale, _round(low, high, integer=True))


def _vertical(panel: Panel, lines: Sequence[Series]) -> _Axis:
  values = np.concatenate([line.values for line in lines])
  low, high = float(values.min()), float(values.max())
  ends = _BOTTOM, _TOP
  if panel.kind.log and low > 0:
    return _logarithmic(low, high, ends)
  return _linear(low, high, ends)


def short(value: float, percent: bool = False) -> str:
  """Writes a number in a few characters."""
  if percent:
    return f"{100 * value:.3g} %"
  for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
    if size <= abs(value) < math.inf:
      return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
  return f"{value:.4g}"


def _polyline(series: Series, frame: _Frame, style: str) -> Element:
  steps, values = thinned(series, frame.points)
  places = zip(frame.x.place(steps), frame.y.place(values), strict=True)
  points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
  return element("polyline", {"class": style, "points": points})


def _grid(panel: Panel, frame: _Frame) -> list[Element]:
  drawn = []
  for tick in frame.y.ticks:
    at = f"{float(frame.y.place(np.array(tick))):.1f}"
    ends = {"x1": f"{_LEFT}", "x2": f"{_RIGHT}", "y1": at, "y2": at}
    drawn.append(element("line", ends))
    place = {"x": f"{_LEFT - 4}", "y": at, "dy": "0.35em", "text-anchor": "end"}
    drawn.append(element("text", place, short(tick, panel.kind.percent)))
  for tick in frame.x.ticks:
    at = f"{float(frame.x.place(np.array(tick))):.1f}"
    ends = {"x1": at, "x2": at, "y1": f"{_TOP}", "y2": f"{_BOTTOM}"}
    drawn.append(element("line", ends))
    place = {"x": at, "y": f"{_BOTTOM + 14}", "text-anchor": "middle"}
    drawn.append(element("text", place, short(tick)))
  return drawn


def _line(panel: Panel, series: Series, frame: _Frame) -> list[Element]:
  """Returns one run's line, with the logged values behind a running mean."""
  shapes = []
  if panel.smoothed and len(series.steps) >= _LEAST_SMOOTHED:
    shapes.append(_polyline(series, frame, "raw"))
    over = max(_SMOOTHED_OVER, len(series.steps) // 50)
    series = Series(series.steps, running_mean(series.values, over))
  if len(series.steps) == 1:
    x, y = frame.x.place(series.steps)[0], frame.y.place(series.values)[0]
    shapes.append(element("circle", {"r": "3", "cx": f"{x:.1f}", "cy": f"{y:.1f}"}))
  return [*shapes, _polyline(series, frame, "line")]


def colour_of(run: int) -> str:
  """Returns the class of a run's colour on the whole page."""
  dashed = " dashed" if run >= COLOURS else ""
  return f"run{run % COLOURS}{dashed}"


def chart(panel: Panel, labels: Sequence[str]) -> Element:
  """Returns a figure with its caption, which counts values that cannot be shown.

  Args:
    labels: Labels of the runs.
  """
  finite = [line and line.finite() for line in panel.lines]
  drawn = {n: line for n, line in enumerate(finite) if line and len(line.steps)}
  logged = sum(len(line.steps) for line in panel.lines if line)
  left_out = logged - sum(len(line.steps) for line in drawn.values())
  note = f" ({left_out} values are NaN or infinite)" if left_out else ""
  caption = element("figcaption", NO_ATTRIBUTES, panel.kind.title + note)
  if not drawn:
    return element("figure", {"class": "panel"}, caption)
  lines = list(drawn.values())
  # Fewer points per run if there are many runs, so that their page stays small.
  points = min(_POINTS, max(100, 2 * _POINTS // len(panel.lines)))
  frame = _Frame(_horizontal(lines), _vertical(panel, lines), points)
  shapes = [
    element(
      "g",
      {"class": colour_of(n)},
      element("title", NO_ATTRIBUTES, labels[n]),
      *_line(panel, line, frame),
    )
    for n, line in drawn.items()
  ]
  words = _in_words(panel, {labels[n]: line for n, line in drawn.items()})
  picture = element(
    "svg",
    {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": words},
    element("g", {"class": "grid"}, *_grid(panel, frame)),
    *shapes,
  )
  return element("figure", {"class": "panel"}, caption, picture)


def _in_words(panel: Panel, lines: dict[str, Series]) -> str:
  """Describes the drawing for readers who do not see it."""
  said = []
  for label, (steps, values) in lines.items():
    first, last = (short(float(values[at]), panel.kind.percent) for at in (0, -1))
    said.append(f"{label} from {first} at step {steps[0]} to {last} at {steps[-1]}")
  return f"{panel.kind.title}: {'; '.join(said)}."
