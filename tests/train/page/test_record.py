"""Reading a run's folder, however the run ended."""

import numpy as np
import pytest

from tests.train.page.page_case import run
from train.page import record


def test_a_cut_line_and_other_things_than_numbers_are_left_out(tmp_path):
  rows = [{"step": 1, "loss": 2.0, "note": "x", "flag": True}, {"loss": 1.0}, 5]
  folder = run(tmp_path / "one", rows, '{"step": 2, "los')
  (found,) = record.read([folder])
  assert set(found.series) == {"loss"}
  assert found.series["loss"].steps.tolist() == [1]
  assert found.config == {}


def test_numbers_that_are_none_stay_until_they_are_drawn(tmp_path):
  rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan")}]
  (found,) = record.read([run(tmp_path / "one", rows)])
  assert np.isnan(found.series["loss"].values).tolist() == [False, True]
  assert found.series["loss"].finite().steps.tolist() == [1]


def test_of_a_resumed_run_the_later_numbers_count():
  rows = [{"step": step, "loss": 1.0} for step in (10, 20, 30, 40)]
  rows += [{"step": step, "loss": 2.0} for step in (20, 30)]
  series = record.series_of(rows)["loss"]
  assert series.steps.tolist() == [10, 20, 30]
  assert series.values.tolist() == [1.0, 2.0, 2.0]


def test_held_out_numbers_have_names_of_their_own(tmp_path):
  folder = run(
    tmp_path / "one", [{"step": 1, "loss": 1.0}], evaluation=[{"step": 1, "loss": 3.0}]
  )
  (found,) = record.read([folder])
  assert found.series["loss"].values.tolist() == [1.0]
  assert found.series["held_out/loss"].values.tolist() == [3.0]


def test_runs_are_told_apart_and_read_once(tmp_path):
  rows = [{"step": 1, "loss": 1.0}]
  a, b, c = (run(tmp_path / name, rows) for name in ("a/vae", "b/vae", "c"))
  labels = [found.label for found in record.read([a, b, c, a])]
  assert labels == ["a/vae", "b/vae", f"{tmp_path.name}/c"]


def test_differences_are_those_of_the_leaves_but_for_the_folder(tmp_path):
  configs = [
    {"a": {"b": 1, "c": [1, 2]}, "same": "x", "output": {"folder": "runs/a"}},
    {"a": {"b": 1, "c": [1, 3]}, "same": "x", "output": {"folder": "runs/b"}, "d": "y"},
  ]
  rows = [{"step": 1, "loss": 1.0}]
  folders = [
    run(tmp_path / f"{n}", rows, config=config) for n, config in enumerate(configs)
  ]
  found = record.differences(record.read(folders))
  assert found == {"a.c": ["[1, 2]", "[1, 3]"], "d": ["", "y"]}


def test_a_folder_without_numbers_is_refused(tmp_path):
  for folder in (tmp_path, run(tmp_path / "a", []), run(tmp_path / "b", [{"step": 1}])):
    with pytest.raises(ValueError, match="has no curves: a run's folder has a metrics"):
      record.read([folder])
