"""Curves, sample images and the screen, with a terminal and without one."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboardX.proto import event_pb2

from train.harness import reporting

METRICS = {"loss": 0.25, "steps_per_second": 2.0, "data_wait": 0.0, "seconds": 30.0}


def records(*steps):
  return "".join(json.dumps({"step": s, **METRICS}) + "\n" for s in steps)


def test_without_a_terminal_each_logged_step_is_a_line(tmp_path, capsys):
  with reporting.Report(tmp_path, start=0, steps=7300) as report:
    report.advance(99)
    report.log(100, METRICS)
    report.say("A word [with brackets].")
  assert capsys.readouterr().out.splitlines() == [
    "step 100/7300  loss 0.25  steps_per_second 2  ETA 1:00:00",
    "A word [with brackets].",
  ]


def test_on_a_terminal_there_is_a_bar(tmp_path, monkeypatch):
  screen = io.StringIO()
  monkeypatch.setattr(
    reporting, "Console", lambda: Console(file=screen, force_terminal=True, width=100)
  )
  with reporting.Report(tmp_path, start=20, steps=40) as report:
    report.say("A word [with brackets].")
    report.log(30, METRICS)
    report.advance(31)
  text = screen.getvalue()
  assert "31/40" in text and "loss 0.25" in text and "A word [with brackets]." in text
  assert reporting.read_metrics(tmp_path) == [{"step": 30, **METRICS}]


def test_what_was_logged_beyond_the_start_is_dropped(tmp_path):
  (tmp_path / "metrics.jsonl").write_text(records(2, 4, 6) + '{"step": 8, "los')
  with reporting.Report(tmp_path, start=5, steps=10) as report:
    assert report.seconds == 30.0
    report.log(6, {**METRICS, "loss": 1.0})
  found = [(r["step"], r["loss"]) for r in reporting.read_metrics(tmp_path)]
  assert found == [(2, 0.25), (4, 0.25), (6, 1.0)]


def sessions(folder):
  """The first steps of all sessions in TensorBoard's files, in their order."""
  found = []
  for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    while data:  # A length, its checksum, an event, its checksum.
      (length,) = struct.unpack("<Q", data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      if event.session_log.status == event_pb2.SessionLog.START:
        found.append(event.step)
      data = data[16 + length :]
  return found


@pytest.mark.parametrize("start", [0, 20])
def test_tensorboard_drops_what_comes_after_the_start(tmp_path, start):
  # A run that was killed before its first checkpoint starts again from 0.
  with reporting.Report(tmp_path, start=start, steps=40) as report:
    report.log(start + 1, METRICS)
  assert sessions(tmp_path / "tensorboard") == [start + 1]


def test_pictures_are_written_as_they_are(tmp_path):
  image = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
  with reporting.Report(tmp_path, start=0, steps=10) as report:
    report.pictures(7, {"clip": image})
  with Image.open(tmp_path / "samples" / "clip_000007.png") as written:
    np.testing.assert_array_equal(np.asarray(written), image)
  assert [p.name for p in (tmp_path / "samples").iterdir()] == ["clip_000007.png"]


def test_text_is_replaced_whole(tmp_path, monkeypatch):
  path = tmp_path / "config.json"
  reporting.write_text(path, "old")

  def fail(*_):
    raise OSError("no")

  monkeypatch.setattr(reporting.os, "replace", fail)
  with pytest.raises(OSError, match="no"):
    reporting.write_text(path, "new")
  assert path.read_text() == "old"


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("[1]", r"has \[1\] in line 2; each line is an object with the number of its step"),
    ('{"step": "a"}', "each line is an object"),
    ('{"step": 18446744073709551616}', "each line is an object"),
    ('{"step": 2, "seconds": null}', "seconds in the last line of .* is None"),
  ],
)
def test_curves_that_no_run_wrote_are_refused(tmp_path, line, message):
  text = '{"step": 1, "seconds": 1.0}\n' + line + "\n"
  (tmp_path / "metrics.jsonl").write_text(text)
  with pytest.raises(ValueError, match=message):
    reporting.Report(tmp_path, start=2, steps=3)
  assert (tmp_path / "metrics.jsonl").read_text() == text


def test_a_line_that_is_nested_too_deep_ends_the_curves(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n' + 10_000 * "[" + "\n")
  assert reporting.read_metrics(tmp_path) == [{"step": 1}]
