"""A histogram as inline SVG: all values faint, some of them strong, thresholds marked.

Colours come from the page's style, as those of charts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ltx_jax.curation.statistics import Histogram, Values, histogram, round_edges
from train.page.chart import short
from train.page.markup import NO_ATTRIBUTES, Element, element

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 340, 22, 178
_BINS = 24
_TICKS = 5
_OUTER = 0.5  # Per cent at each end that the outer bars take in, at least.
_LONG = 4  # Times the median at which a long tail is cut off.


class Bars(NamedTuple):
  """A histogram to draw.

  Attributes:
    title: What the values are.
    found: Number of all values between edges.
    strong: Number of those that stand out, between the same edges.
    strong_are: What those are, in a word or two.
    marks: Thresholds with what they do.
  """

  title: str
  found: Histogram
  strong: Histogram
  strong_are: str
  marks: Sequence[tuple[float, str]] = ()


def bars_of(
  title: str,
  values: Values,
  strong: Values,
  strong_are: str,
  marks: Sequence[tuple[float, str]] = (),
) -> Bars:
  """Counts values between round edges; what lies far out does not stretch them."""
  values = np.asarray(values, np.float64)
  low, high = _range(values) if len(values) else (0.0, 0.0)
  far = high - low
  near = [at for at, _ in marks if low - far <= at <= high + far]
  edges = round_edges(np.array([low, high, *near]), _BINS)
  return Bars(
    title, histogram(values, edges), histogram(strong, edges), strong_are, marks
  )


def _range(values: Float[np.ndarray, "n"]) -> tuple[float, float]:
  """Returns where bars are drawn; the outer ones take in what lies beyond."""
  cuts = [_OUTER, 50, 90, 100 - _OUTER]
  low, middle, most, high = np.percentile(values, cuts).tolist()
  return low, min(high, max(_LONG * middle, most)) if low >= 0 else high


def figure(bars: Bars) -> Element:
  """Returns a figure whose caption names the thresholds."""
  said = "; ".join(words for _, words in bars.marks)
  caption = element(
    "figcaption", NO_ATTRIBUTES, f"{bars.title}: {said}" if said else bars.title
  )
  picture = element(
    "svg",
    {
      "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
      "role": "img",
      "aria-label": _in_words(bars),
    },
    element("g", {"class": "grid"}, *_grid(bars)),
    element("g", {"class": "run0"}, *_columns(bars)),
    element("g", {"class": "marks"}, *_marks(bars)),
  )
  return element("figure", {"class": "panel"}, caption, picture)


def _place(bars: Bars, value: float) -> float:
  low, high = float(bars.found.edges[0]), float(bars.found.edges[-1])
  return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)


def _columns(bars: Bars) -> list[Element]:
  most = max(int(bars.found.counts.max(initial=0)), 1)
  drawn = []
  for style, counts in (
    ("faint", bars.found.counts),
    ("strong", bars.strong.counts),
  ):
    for k, count in enumerate(counts.tolist()):
      if count:
        left, right = (_place(bars, float(e)) for e in bars.found.edges[k : k + 2])
        # One clip among thousands is still seen.
        tall = max(count / most * (_BOTTOM - _TOP), 1.0)
        drawn.append(
          element(
            "rect",
            {
              "class": style,
              "x": f"{left + 0.5:.1f}",
              "y": f"{_BOTTOM - tall:.1f}",
              "width": f"{max(right - left - 1, 0.5):.1f}",
              "height": f"{tall:.1f}",
            },
          )
        )
  return drawn


def _grid(bars: Bars) -> list[Element]:
  most = int(bars.found.counts.max(initial=0))
  drawn = []
  for tick in round_edges(np.array([0, max(most, 1)]), 4).tolist():
    if tick <= max(most, 1) and tick == int(tick):
      at = f"{_BOTTOM - tick / max(most, 1) * (_BOTTOM - _TOP):.1f}"
      ends = {"x1": f"{_LEFT}", "x2": f"{_RIGHT}", "y1": at, "y2": at}
      drawn.append(element("line", ends))
      place = {"x": f"{_LEFT - 4}", "y": at, "dy": "0.35em", "text-anchor": "end"}
      drawn.append(element("text", place, short(tick)))
  ends = bars.found.edges[[0, -1]]
  for tick in round_edges(ends, _TICKS).tolist():
    if ends[0] <= tick <= ends[1]:
      at = f"{_place(bars, tick):.1f}"
      place = {"x": at, "y": f"{_BOTTOM + 14}", "text-anchor": "middle"}
      drawn.append(element("text", place, short(tick)))
  return drawn


def _marks(bars: Bars) -> list[Element]:
  drawn = []
  for value, words in bars.marks:
    if bars.found.edges[0] <= value <= bars.found.edges[-1]:
      x = _place(bars, value)
      at = f"{x:.1f}"
      ends = {"x1": at, "x2": at, "y1": f"{_TOP - 6}", "y2": f"{_BOTTOM}"}
      drawn.append(element("line", ends, element("title", NO_ATTRIBUTES, words)))
      anchor = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
      place = {"x": at, "y": f"{_TOP - 10}", "text-anchor": anchor}
      drawn.append(element("text", place, short(value)))
  return drawn


def _in_words(bars: Bars) -> str:
  """Describes the drawing for readers who do not see it."""
  count, edges = int(bars.found.counts.sum()), bars.found.edges.tolist()
  if not count:
    return f"{bars.title}: no values."
  most = int(bars.found.counts.argmax())
  said = (
    f"{bars.title}: {count:,} values, {int(bars.strong.counts.sum()):,} of them "
    f"{bars.strong_are}; most of them from {short(edges[most])} to "
    f"{short(edges[most + 1])}"
  )
  return "; ".join([said, *(words for _, words in bars.marks)]) + "."
