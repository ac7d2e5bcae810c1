"""Bars of a histogram: as tall as their counts, and thresholds in their places."""

import numpy as np
import pytest

from tests.train.page.page_case import words
from train.page import bars


def drawn(values, strong=(), marks=()):
  return bars.figure(bars.bars_of("Speed", values, strong, "kept", marks))


def boxes(figure, style):
  """The bars as (left, right, height)."""
  found = []
  for node in figure.iter("rect"):
    if node.get("class") == style:
      x, wide, tall = (float(node.get(name)) for name in ("x", "width", "height"))
      found.append((x, x + wide, tall))
  return found


def test_bars_are_as_tall_as_their_counts():
  values = [0.5] * 10 + [1.5] * 5 + [2.5]
  one, two, three = boxes(drawn(values), "faint")
  assert one[2] == pytest.approx(2 * two[2], abs=0.1)
  assert one[2] == pytest.approx(10 * three[2], abs=0.1)
  assert one[1] < two[0] and two[1] < three[0]


def test_the_strong_ones_lie_over_all():
  figure = drawn([0.5] * 10 + [1.5] * 5, [1.5] * 5)
  (strong,) = boxes(figure, "strong")
  assert strong == boxes(figure, "faint")[-1]


def test_a_threshold_stands_between_the_bars_that_it_parts():
  values = np.repeat(np.arange(20) + 0.5, 3)
  figure = drawn(values, marks=[(5.0, "at least 5")])
  (line,) = [m for m in figure.iter("line") if m.find("title") is not None]
  at = float(line.get("x1"))
  faint = boxes(figure, "faint")
  assert sum(right <= at for _, right, _ in faint) == 5
  assert words(figure.find("figcaption")) == "Speed: at least 5"


def test_a_threshold_far_outside_is_said_but_not_drawn():
  figure = drawn([1.0, 2.0, 3.0], marks=[(1e6, "at most 1e+06")])
  assert not [m for m in figure.iter("line") if m.find("title") is not None]
  assert len(boxes(figure, "faint")) == 3
  assert "at most 1e+06" in figure.find("svg").get("aria-label")


def test_values_far_out_do_not_stretch_the_others():
  values = np.concatenate([np.linspace(0, 1, 1000), [1e6]])
  faint = boxes(drawn(values), "faint")
  assert len(faint) > 10


@pytest.mark.parametrize("values", [[], [0.0], [3.0] * 4, [-1.0, 1.0], [1e-9, 1e9]])
def test_few_values(values):
  figure = drawn(values, marks=[(0.5, "at least 0.5")])
  places = [float(n.get(a)) for n in figure.iter("rect") for a in ("x", "y", "height")]
  assert np.isfinite(places).all() and all(0 <= p <= 360 for p in places)
  assert "nan" not in figure.find("svg").get("aria-label")
