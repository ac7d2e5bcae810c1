import json

import numpy as np
import pytest

from ltx_jax.data import video
from train import curves


def run(folder, rows, cut=""):
  folder.mkdir()
  text = "".join(json.dumps(row) + "\n" for row in rows) + cut
  (folder / "metrics.jsonl").write_text(text)
  return folder


def refused(capsys, *argv):
  with pytest.raises(SystemExit) as end:
    curves.main([str(argument) for argument in argv])
  assert end.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  return line


def test_each_run_is_a_row_and_each_metric_a_panel(tmp_path, capsys):
  rows = [{"step": n, "loss": 1 / n, "psnr": 20.0 + n} for n in range(1, 30)]
  # The last step was skipped, and its line cut off by a kill.
  one = run(tmp_path / "one", [*rows, {"step": 30, "skipped": 1.0}], '{"step": 3')
  two = run(tmp_path / "two", [{"step": 5, "loss": 0.5}])
  output = tmp_path / "new" / "curves.png"
  curves.main([str(one), str(two), "--output", str(output)])
  assert capsys.readouterr().out == f"Wrote {output}\n"
  (picture,) = video.read(output)[0]
  height, width = picture.shape[:2]
  # One run has two panels, the other one; where it has none, nothing is drawn.
  assert picture[: height // 2, width // 2 :].min() < 128
  assert picture[height // 2 :, : width // 2].min() < 128
  assert picture[height // 2 :, width // 2 :].min() == 255
  assert [path.name for path in output.parent.iterdir()] == ["curves.png"]


def test_running_mean_keeps_a_constant_and_averages_neighbours():
  np.testing.assert_allclose(curves.running_mean(np.full(20, 3.0)), 3.0)
  np.testing.assert_allclose(curves.running_mean(np.arange(20.0))[4:-4], range(4, 16))
  assert curves.running_mean(np.arange(20.0))[0] == 2.0  # Of itself and four others.
  np.testing.assert_allclose(curves.running_mean(np.float64([7])), 7)


def test_what_cannot_be_drawn_is_said_in_words(tmp_path, capsys):
  output = "--output", tmp_path / "curves.png"
  for folder in (tmp_path, run(tmp_path / "empty", []), run(tmp_path / "a", [{}])):
    line = refused(capsys, folder, *output)
    assert line.startswith(
      f"{folder} has no curves: a run's folder has a metrics.jsonl"
    )
  assert "There is no run to draw" in refused(capsys)
  line = refused(capsys, "--outptu", "x")
  assert line.startswith("Unknown option --outptu; did you mean --output?")
  assert not (tmp_path / "curves.png").exists()
