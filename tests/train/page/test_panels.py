"""Held-out numbers by bucket, and which value is the best."""

import datetime
from pathlib import Path

import numpy as np

from train.page.panels import Kind, best, groups
from train.page.record import Record, Series

NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)


def record_of(**series):
  found = {
    name.replace("__", "/"): Series(np.array(steps), np.array(values, np.float64))
    for name, (steps, values) in series.items()
  }
  return Record("run", Path("run"), {}, found, NOW)


def titles(*records):
  return {
    g.title: ([p.kind.title for p in g.panels], [p.kind.title for p in g.more])
    for g in groups(records)
  }


def test_one_bucket_is_not_told_twice():
  steps = [1, 2], [3.0, 2.0]
  record = record_of(held_out__loss=steps, held_out__b__loss=steps)
  assert titles(record) == {"Held-out clips": (["Loss"], [])}


def test_what_other_losses_are_of_several_buckets_is_their_mean_and_each_aside():
  record = record_of(
    held_out__a__psnr=([1, 2, 3], [10.0, 20.0, 30.0]),
    held_out__b__psnr=([2, 3], [40.0, 50.0]),
  )
  assert titles(record) == {
    "Held-out clips": (["PSNR, dB"], ["PSNR, dB, a", "PSNR, dB, b"])
  }
  (panel,) = groups([record])[0].panels
  (line,) = panel.lines
  assert line.steps.tolist() == [2, 3]
  np.testing.assert_allclose(line.values, [30.0, 40.0])


def test_a_run_without_a_number_has_no_line():
  records = record_of(loss=([1], [1.0])), record_of(psnr=([1], [20.0]))
  (group,) = groups(records)
  lines = {p.kind.title: [line is not None for line in p.lines] for p in group.panels}
  assert lines == {"Loss": [True, False], "PSNR, dB": [False, True]}


def test_the_best_is_the_lowest_or_highest_that_is_a_number():
  series = Series(np.arange(4), np.array([3.0, np.nan, 1.0, 2.0]))
  assert best(Kind("Loss", best="lowest"), series) == (2, 1.0)
  assert best(Kind("PSNR", best="highest"), series) == (0, 3.0)
  assert best(Kind("KL"), series) is None
  assert best(
    Kind("Loss", best="lowest"), Series(np.arange(1), np.array([np.nan]))
  ) is (None)
