"""Dots and their lines: where they stand, open ends, and what they say in words."""

import re

import pytest

from train.page.intervals import Interval, drawing, svg, written
from train.page.markup import written as html

ROWS = [
  Interval("ours", 0.75, 0.5, 1.0),
  Interval("theirs", 0.25, None, 0.5),
  Interval("a model with a very long name", None, None, None),
]


def test_numbers_stand_where_they_belong():
  picture = svg("Rates", ROWS, 0.5, (0.0, 1.0), percent=True)
  dots = [float(dot.get("cx")) for dot in picture.iter("circle")]
  assert dots == pytest.approx([110 + 0.75 * 230, 110 + 0.25 * 230])
  lines = [line.get("points") for line in picture.iter("polyline")]
  first, second = (re.findall(r"([\d.]+),", line) for line in lines)
  assert [*map(float, first)] == pytest.approx([225, 340])
  assert [*map(float, second)] == pytest.approx([110, 225])  # Open at its left end.


def test_it_is_said_in_words_and_long_names_are_cut():
  text = html(drawing("Rates", ROWS, 0.5, percent=True)).decode()
  assert "ours 75 % (50 % to 100 %)" in text
  assert "theirs 25 % (open to 50 %)" in text
  assert "a model with a v…</text>" in text and "very long name none" in text


def test_numbers_without_intervals():
  assert written(Interval("a", 0.5, None, None)) == "0.5"
  assert written(Interval("a", None, None, None)) == "none"
  assert written(Interval("a", 1.0, 0.5, None)) == "1 (0.5 to open)"
