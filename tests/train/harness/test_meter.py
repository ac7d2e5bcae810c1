"""Rates of a run: what is counted, what is waited for, and what is left out."""

import types

import pytest

from train.harness import meter


@pytest.fixture
def clock(monkeypatch):
  """A clock that advances only when a test says so."""
  clock = types.SimpleNamespace(now=100.0)
  monkeypatch.setattr(meter.time, "monotonic", lambda: clock.now)
  return clock


def test_rates_are_those_since_the_last_reading(clock):
  counted = meter.Meter(peak=1000.0)
  for _ in range(4):
    with counted.waiting():
      clock.now += 0.5
    clock.now += 1.5
    counted.add(meter.Work(clips=2, tokens=30, flops=500))
  assert counted.read() == {
    "steps_per_second": 0.5,
    "data_wait": 0.25,
    "clips_per_second": 1.0,
    "tokens_per_second": 15.0,
    "utilisation": 0.25,
  }
  clock.now += 10
  assert counted.read() == {"steps_per_second": 0.0, "data_wait": 0.0}


def test_time_that_is_spent_apart_does_not_count(clock):
  counted = meter.Meter(peak=None)
  with counted.apart():
    clock.now += 60
  clock.now += 2
  counted.add(meter.Work(1, 1, 1))
  rates = counted.read()
  assert rates["steps_per_second"] == 0.5
  assert "utilisation" not in rates
