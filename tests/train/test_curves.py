import pytest

from ltx_jax.data import video
from tests.train.page.page_case import lines, panels, parsed, run
from train import curves


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
  # A single point makes no line, so it gets a dot in the line's blue.
  panel = picture[height // 2 :, : width // 2].astype(int)
  assert (panel[..., 2] - panel[..., 0] > 100).sum() > 20
  assert picture[height // 2 :, width // 2 :].min() == 255
  assert [path.name for path in output.parent.iterdir()] == ["curves.png"]


def test_the_page_is_what_is_written_where_nothing_else_is_said(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  rows = [{"step": n, "loss": 1 / n} for n in range(1, 30)]
  folders = [run(tmp_path / name, rows) for name in ("one", "two")]
  curves.main([str(folder) for folder in folders])
  assert capsys.readouterr().out == f"Wrote {tmp_path / 'curves.html'}\n"
  assert set(lines(panels(parsed(tmp_path / "curves.html"))["Loss"])) == {"one", "two"}


def test_the_page_of_one_run_is_in_its_folder(tmp_path, capsys):
  folder = run(tmp_path / "one", [{"step": 1, "loss": 1.0}])
  curves.main([str(folder)])
  assert capsys.readouterr().out == f"Wrote {folder / 'curves.html'}\n"
  assert (folder / "curves.html").is_file()


def test_what_cannot_be_drawn_is_said_in_words(tmp_path, capsys):
  folders = tmp_path, run(tmp_path / "empty", []), run(tmp_path / "a", [{}])
  for suffix in (".png", ".html"):
    for folder in folders:
      line = refused(capsys, folder, "--output", tmp_path / f"curves{suffix}")
      assert line.startswith(
        f"{folder} has no curves: a run's folder has a metrics.jsonl"
      )
  assert "There is no run to draw" in refused(capsys)
  line = refused(capsys, "--outptu", "x")
  assert line.startswith("Unknown option --outptu; did you mean --output?")
  line = refused(capsys, tmp_path / "a", "--output", "curves.svg")
  assert line.startswith("curves.svg has the suffix '.svg'; give an .html file for")
  link = tmp_path / "link.html"
  link.symlink_to(tmp_path / "a" / "metrics.jsonl")
  line = refused(capsys, tmp_path / "a", "--output", link)
  assert line.startswith(f"The output {link} would replace what RUN reads")
  assert not list(tmp_path.glob("curves.*"))
