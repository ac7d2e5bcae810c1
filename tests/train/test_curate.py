"""Curation from the command line: footage goes in, a manifest and a report come out."""

import json

import numpy as np
import pytest
from rich.console import Console

from tests.curation.test_scenes import pan, video
from tests.data import media_case
from tests.program import program
from train import curate


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
  """Two scenes in one file, a frozen one in another, and a file that is broken."""
  folder = tmp_path_factory.mktemp("footage")
  frames = video(pan(1, 40), pan(2, 40)).repeat(4, 1).repeat(4, 2)
  media_case.write(folder / "two.mp4", frames, 25)
  media_case.write(folder / "frozen.mp4", np.repeat(frames[:1], 30, 0), 25)
  (folder / "broken.mp4").write_bytes(b"\0" * 1000)
  return folder


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_from_footage_to_manifest_on_ray(footage, tmp_path):
  for module in ("cv2", "ray"):
    pytest.importorskip(module)
  program("train.curate", "run", footage, "--output", tmp_path, "--workers.count", 2)
  kept = rows(tmp_path / "manifest.jsonl")
  assert [row["id"] for row in kept] == ["two.mp4@0", "two.mp4@1680"]
  reasons = {
    row["id"]: row["decision"]["reason"] for row in rows(tmp_path / "decisions.jsonl")
  }
  assert reasons == {"broken.mp4": "unreadable", "frozen.mp4@0": "static"}
  assert b"frozen.mp4" in (tmp_path / "report.html").read_bytes()


def test_what_is_missing_is_said(tmp_path, capsys):
  for command, words in (
    (["select", "--output", str(tmp_path)], "has no clips.jsonl"),
    (["write", "--output", str(tmp_path)], "has no selection"),
    (["caption", "--output", str(tmp_path)], "Captions need a writer"),
    (["select", "--rules", "papers"], "did you mean paper?"),
    (["run", str(tmp_path)], "has no video and no image"),
  ):
    with pytest.raises(SystemExit) as end:
      curate.main(command)
    assert end.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(("address", "asked"), [(None, "local"), ("auto", "auto")])
def test_without_an_address_no_cluster_is_joined(monkeypatch, address, asked):
  ray, found = pytest.importorskip("ray"), []
  monkeypatch.setattr(ray, "init", lambda where, **options: found.append(where))
  monkeypatch.setattr(ray, "shutdown", lambda: None)
  with curate.ray_pool(curate.Workers(address), Console()):
    assert found == [asked]
