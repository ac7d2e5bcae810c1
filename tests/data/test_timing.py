"""Rates by time stamps, and frames repeated and left out for a constant one."""

import numpy as np
import pytest

from ltx_jax.data.timing import HIGHEST_RATE, HeldTooLong, at_constant_rate, rate_of


def _jittered(rate, count, amount, seed=0):
  drawn = np.random.default_rng(seed).uniform(-amount, amount, count)
  return np.sort((np.arange(count) + drawn) / rate)


def test_a_declared_rate_that_explains_the_times_holds_exactly():
  ntsc = 30000 / 1001
  rounded = np.round(np.arange(900) / ntsc, 3)  # As Matroska stores them.
  assert rate_of(rounded, [ntsc]) == ntsc
  assert rate_of(rounded, [25.0, ntsc]) == ntsc
  assert rate_of([5.0 + i / 24 for i in range(9)], [24.0]) == 24.0


def test_the_typical_rate_is_that_of_the_footage_where_it_moves():
  moves = np.arange(100) / 30
  assert rate_of([*moves, *(moves + 9)], [21.5]) == pytest.approx(30)
  # The declared rate is exact if it is close to the typical one.
  assert rate_of([*moves, *(moves + 9)], [21.5, 30.0]) == 30.0
  assert rate_of(_jittered(30, 500, 0.1)) == pytest.approx(30, rel=0.03)
  assert rate_of([0.0, 0.3, 0.4]) == pytest.approx(10)


def test_single_frames_and_impossible_rates():
  assert rate_of([], [25.0]) == rate_of([3.0], [0.0, 25.0]) == 25.0
  assert rate_of([3.0]) == 0.0
  assert rate_of(np.arange(50) / 1000) == HIGHEST_RATE


def test_frames_last_as_long_as_they_were_shown():
  shown = [(2.0, 0.1, "a"), (2.1, 0.1, "b"), (2.5, 0.1, "c"), (2.52, 0.3, "d")]
  assert "".join(at_constant_rate(shown, 10.0)) == "abbbbddd"
  assert "".join(at_constant_rate(shown[:1], 10.0)) == "a"
  assert "".join(at_constant_rate(shown, 0.0)) == "abcd"
  assert list(at_constant_rate([], 10.0)) == []


@pytest.mark.parametrize("amount", [0.0, 0.4])
def test_jitter_of_less_than_half_a_frame_changes_nothing(amount):
  times = _jittered(24, 2000, amount)
  times[0] = 0
  shown = ((float(time), 0.0, i) for i, time in enumerate(times))
  assert list(at_constant_rate(shown, 24.0)) == list(range(2000))


def test_a_frame_is_not_repeated_without_end():
  with pytest.raises(HeldTooLong, match="holds one frame for 1000 seconds"):
    list(at_constant_rate([(0.0, 0.1, "a"), (1000.0, 0.1, "b")], 25.0))
