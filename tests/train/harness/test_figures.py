"""Figures of many clips."""

import numpy as np
import pytest

from train.harness import figures


def test_spread():
  assert figures.spread(["a", "b", "c", "d"], 2) == ["a", "c"]
  assert figures.spread(["a", "b"], 5) == ["a", "b", "a", "b", "a"]
  with pytest.raises(ValueError, match="At least 1 clip is needed, found 0"):
    figures.spread(["a"], 0)


def test_decibels_pool_errors():
  found = figures.decibels([20.0, 30.0])
  assert found["mean"] == 25 and found["lowest"] == 20
  assert found["pooled"] == pytest.approx(-10 * np.log10((0.01 + 0.001) / 2))


def test_shares_count_five_words_and_what_else_was_compared():
  right = dict.fromkeys(figures.WORDS, True)
  found = figures.shares(
    [right | {"other": False}, right | {"color": False, "other": 1}]
  )
  assert list(found) == [*figures.WORDS, "all five", "other"]
  assert found["color"] == found["all five"] == found["other"] == 0.5
  assert found["shape"] == 1
