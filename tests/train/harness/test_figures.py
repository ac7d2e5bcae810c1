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
