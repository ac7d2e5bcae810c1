"""Lines and ticks in their places, and notes about values that cannot be drawn."""

import numpy as np
import pytest

from tests.train.page.page_case import lines, words
from train.page import chart
from train.page.panels import Kind, Panel
from train.page.record import Series


def series(values, steps=None):
  values = np.array(values, np.float64)
  return Series(np.arange(len(values)) if steps is None else np.array(steps), values)


def drawn(*values, smoothed=False, **kind):
  panel = Panel(Kind("Loss", **kind), [series(v) for v in values], smoothed)
  return chart.chart(panel, [f"run {n}" for n in range(len(values))])


def ticks(figure, anchor):
  return [t.text for t in figure.iter("text") if t.get("text-anchor") == anchor]


def test_running_mean_keeps_a_constant_and_averages_neighbours():
  np.testing.assert_allclose(chart.running_mean(np.full(20, 3.0)), 3.0)
  np.testing.assert_allclose(chart.running_mean(np.arange(20.0))[4:-4], range(4, 16))
  assert chart.running_mean(np.arange(20.0))[0] == 2.0  # With four other values.
  np.testing.assert_allclose(chart.running_mean(np.float64([7])), 7)


def test_higher_values_stand_higher_and_later_steps_to_the_right():
  (points,) = lines(drawn([1.0, 3.0, 2.0])).values()
  assert points[1][1] < points[2][1] < points[0][1]
  assert points[0][0] < points[1][0] < points[2][0]
  assert all(0 < x < 360 and 0 < y < 200 for x, y in points)


@pytest.mark.parametrize(("low", "drawn_as"), [(1e-3, "log"), (0.0, "linear")])
def test_a_loss_is_drawn_over_decades_where_all_of_it_is_positive(low, drawn_as):
  figure = drawn([10.0, 0.1, low], log=True)
  (points,) = lines(figure).values()
  first, second = points[1][1] - points[0][1], points[2][1] - points[1][1]
  assert (second > 0.9 * first) == (drawn_as == "log")
  assert ("0.1" in ticks(figure, "end")) == (drawn_as == "log")


def test_ticks_are_round_numbers_and_shares_are_percent():
  assert ticks(drawn([0.0, 0.5], percent=True), "end") == [
    "0 %",
    "10 %",
    "20 %",
    "30 %",
    "40 %",
    "50 %",
  ]
  assert ticks(drawn(np.arange(21)), "middle") == ["0", "5", "10", "15", "20"]
  assert 2 <= len(ticks(drawn([0.30, 0.31], log=True), "end")) <= 6


def test_long_runs_are_thinned_and_spikes_stay():
  values = np.ones(50_000)
  values[31_234] = 9.0
  figure = drawn(values, smoothed=True)
  (raw,) = lines(figure, "raw").values()
  assert len(raw) <= 1000 and len(*lines(figure).values()) <= 1000
  (spike,) = [x for x, y in raw if y < 100]
  assert spike == pytest.approx(48 + 292 * 31_234 / 50_000, abs=0.1)
  many = drawn(*[values] * 20)
  assert all(len(points) <= 100 for points in lines(many).values())


def test_few_values_are_drawn_as_they_are():
  values = np.random.default_rng(0).uniform(1, 2, 29)
  assert not lines(drawn(values, smoothed=True), "raw")
  assert len(*lines(drawn(values, smoothed=True)).values()) == 29


def test_one_value_is_a_dot():
  (dot,) = drawn([2.0]).iter("circle")
  assert 0 < float(dot.get("cy")) < 200


def test_values_that_are_not_finite_are_counted_not_drawn():
  figure = drawn([1.0, np.nan, np.inf, 2.0])
  assert words(figure.find("figcaption")) == "Loss (2 values are NaN or infinite)"
  assert len(*lines(figure).values()) == 2
  figure = drawn([np.nan])
  assert figure.find("svg") is None
  assert words(figure) == "Loss (1 values are NaN or infinite)"


def test_the_drawing_is_told_in_words():
  label = drawn([3.0, 2.0], [0.5]).find("svg").get("aria-label")
  assert label == (
    "Loss: run 0 from 3 at step 0 to 2 at 1; run 1 from 0.5 at step 0 to 0.5 at 0."
  )


def test_numbers_are_short():
  numbers = (0.25, 1234.5, 12345, 1_234_567, 2e9, 1e-5, -25000, float("inf"))
  assert [chart.short(number) for number in numbers] == [
    "0.25",
    "1234",
    "12.35k",
    "1.235M",
    "2G",
    "1e-05",
    "-25k",
    "inf",
  ]


def test_runs_beyond_the_colours_are_dashed():
  assert chart.colour_of(1) == "run1"
  assert chart.colour_of(chart.COLOURS + 1) == "run1 dashed"
