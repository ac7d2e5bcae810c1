"""Workers outlive what footage does to decoders, and say what it was."""

import json

import pytest

from ltx_jax.curation import frames
from ltx_jax.curation.clip import Decision, Span, to_json
from ltx_jax.data import decoding
from train.curation import workers
from train.curation.folder import Folder
from train.curation.workers import Child, Limits


@pytest.fixture
def child():
  found = Child(Limits(seconds=8), "tests.train.curation.sick_child")
  yield found
  found.close()


def asked(child, name):
  return child.ask(json.dumps({"id": name}).encode())


@pytest.mark.parametrize(
  "name, reason, value",
  [
    ("hangs", "timeout", 8),
    ("dies", "crashed", "its decoder died of SIGSEGV"),
    ("killed", "crashed", "its decoder died of SIGKILL"),
    ("eats", "crashed", "its decoder took more than 2 GB of memory"),
    ("fails", "crashed", "KeyError: 'a'"),
  ],
)
def test_a_file_that_breaks_its_decoder_gets_its_reason_and_the_next_goes_on(
  child, name, reason, value
):
  assert asked(child, "well")["decision"]["reason"] == "small"
  found = asked(child, name)
  assert isinstance(found, Decision)
  assert (found.reason, found.value) == (reason, value)
  assert asked(child, "well")["decision"]["reason"] == "small"


def test_work_that_somebody_killed_is_done_once_more(child, monkeypatch):
  answers = iter([frames.refused("crashed", "its decoder died of SIGKILL"), {"a": 1}])
  monkeypatch.setattr(child, "_answer", lambda work: next(answers))
  assert asked(child, "well") == {"a": 1}


def test_a_child_that_does_not_start_ends_the_run():
  child = Child(Limits(), "tests.train.curation.no_such_module")
  with pytest.raises(RuntimeError, match="no_such_module .* did not start"):
    asked(child, "well")


def test_a_child_conceals_damage_as_one_thread_does(tmp_path, monkeypatch):
  """With several, what a frame looks like depends on their number and timing."""
  pytest.importorskip("cv2")
  from tests.curation.faults.test_containers import case, damaged

  path = damaged(tmp_path / "a.mp4", 1)
  child = Child(Limits())
  span = Span(frames.probe(path, "a"))
  answer = child.ask(workers.measuring(Folder(tmp_path), span, Limits()))
  child.close()
  monkeypatch.setattr(decoding, "THREADS", 1)
  _, clips = case.measured(path)
  assert clips[0].scores["corrupt"] > 0
  assert answer["clips"] == [to_json(clip) for clip in clips]


def test_a_probe_that_crashes_is_a_row_with_its_reason(monkeypatch):
  limits = Limits(seconds=8)
  sick = Child(limits, "tests.train.curation.sick_child")
  monkeypatch.setattr(workers, "_children", {limits: sick})
  row = json.loads(workers.perform(workers.probing("/gone.mp4", "dies", limits)))
  assert (row["id"], row["path"], row["bytes"]) == ("dies", "/gone.mp4", -1)
  assert row["decision"]["reason"] == "crashed"
  sick.close()
