"""The stages one after another: whatever is killed or shuffled, the same bytes."""

import json
import random

import numpy as np
import pytest

from tests.curation.test_scenes import pan, video
from tests.data import media_case

pytest.importorskip("cv2")
from configs import curation
from ltx_jax.data.manifest import read_manifest
from train.curation import folder as folders
from train.curation import planning, selecting, writing
from train.curation.folder import Folder
from train.curation.workers import Limits, perform

LIMITS = Limits()


def together(work, doing):
  yield from map(perform, work)


def shuffled(work, doing):
  work = list(work)
  random.Random(1).shuffle(work)
  yield from map(perform, work)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
  """Four files that can be read, one of them frozen, and one that is none."""
  folder = tmp_path_factory.mktemp("footage")
  large = {"a.mp4": [1, 2], "deep/b.mp4": [3], "c.mkv": [4, 5]}
  for name, seeds in large.items():
    (folder / name).parent.mkdir(exist_ok=True)
    frames = video(*(pan(seed, 40, 1.0) for seed in seeds))
    media_case.write(folder / name, frames.repeat(4, 1).repeat(4, 2), 25)
  still = video(pan(6, 1)).repeat(4, 1).repeat(4, 2)
  media_case.write(folder / "frozen.mp4", np.repeat(still, 30, 0), 25)
  (folder / "page.mp4").write_text("<html>not found</html>")
  return folder


def measured(root, footage, pool=together):
  """A folder with all that is measured, and how many pieces of work that took."""
  folder, done = Folder(root), []

  def counted(work, doing):
    done.append((doing, len(work)))
    yield from pool(work, doing)

  with folders.locked(folder):
    sources = planning.plan(folder, planning.footage(footage), counted, LIMITS)
    missing = planning.remaining(folder, sources)
    list(counted(planning.work_of(folder, missing, LIMITS), "measuring"))
    selecting.merge(folder, sources)
  return folder, dict(done)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, footage):
  folder, done = measured(tmp_path_factory.mktemp("curated"), footage)
  assert done == {"looking at files": 5, "measuring": 4}
  return folder


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_scene_is_a_row_and_every_refusal_too(whole):
  found = rows(whole.clips)
  assert [row["source"] for row in found] == [
    "a.mp4", "a.mp4", "c.mkv", "c.mkv", "deep/b.mp4", "frozen.mp4"
  ]  # fmt: skip
  assert all(row["scores"]["motion"] >= 0 and row["hashes"] for row in found)
  (refused,) = rows(whole.refused)
  assert refused["id"] == "page.mp4"
  assert refused["decision"]["reason"] == "unreadable"
  stills = {name for row in found for name in row["stills"]}
  assert stills == {path.name for path in whole.root.glob("stills/*/*.jpg")}


def test_a_second_run_opens_no_file(whole, footage):
  before = whole.clips.read_bytes()
  _, done = measured(whole.root, footage)
  assert done == {"looking at files": 0, "measuring": 0}
  assert whole.clips.read_bytes() == before


def test_any_order_and_any_loss_give_the_same_bytes(whole, footage, tmp_path):
  folder, _ = measured(tmp_path, footage, shuffled)
  lost = sorted(tmp_path.glob("parts/*/*.jsonl"))[1:3]
  for path in lost:
    path.unlink()
  # What a killed worker leaves behind.
  lost[0].with_name(f".{lost[0].name}-0.partial").write_text("{")
  # A kill while a line was written.
  lines = folder.probed.read_bytes()
  folder.probed.write_bytes(lines[:-20])
  _, done = measured(tmp_path, footage)
  assert done == {"looking at files": 1, "measuring": 2}
  for name in ("clips.jsonl", "refused.jsonl", "sources.jsonl"):
    found = (tmp_path / name).read_bytes().replace(bytes(tmp_path), bytes(whole.root))
    assert found == (whole.root / name).read_bytes(), name


def test_a_file_that_changed_is_looked_at_again(footage, tmp_path):
  own = tmp_path / "own"
  own.mkdir()
  media_case.write(own / "a.mp4", media_case.levels(30), 25)
  root = tmp_path / "out"
  measured(root, own)
  media_case.write(own / "a.mp4", media_case.levels(31), 25)
  _, done = measured(root, own)
  assert done["looking at files"] == 1


def test_selection_says_why_and_adds_up(whole, tmp_path):
  filters = selecting.with_thresholds(curation.training(), ["size=72"])
  selection = selecting.decide(whole, tmp_path, filters)
  kept, dropped = rows(tmp_path / "selected.jsonl"), rows(tmp_path / "decisions.jsonl")
  assert len(kept) + len(dropped) == len(selection.dropped) + 1
  reasons = {row["id"]: row["decision"]["reason"] for row in dropped}
  assert reasons == {"page.mp4": "unreadable", "frozen.mp4@0": "static"}
  known = {row["id"]: row for row in rows(whole.clips)}["frozen.mp4@0"]
  frozen = next(row for row in dropped if row["id"] == "frozen.mp4@0")
  names = "path", "start", "end"
  assert [frozen[name] for name in names] == [known[name] for name in names]
  rules = {row["name"]: row for row in rows(tmp_path / "rules.jsonl")}
  assert rules["size"]["least"] == 72 and "off" not in rules["size"]
  off = rules["aesthetic"]
  assert off["off"] == "off: no clip has the score aesthetic" and "least" not in off
  writing.write(whole, tmp_path, filters)
  assert rows(tmp_path / "decisions.jsonl") == dropped
  clips = read_manifest(tmp_path / "manifest.jsonl")
  assert [clip.id for clip in clips] == [row["id"] for row in kept]
  assert clips[0].fps == 25 and clips[0].frames == 38


def test_thresholds_are_numbers_or_shares():
  named = ["static=0.02", "strobe=5", "aesthetic=30%", "luma=1"]
  found = selecting.with_thresholds(curation.training(), named[:3])
  by_name = {each.name: each for each in found}
  assert by_name["static"].least == 0.02 and by_name["strobe"].most == 5
  assert (by_name["aesthetic"].best, by_name["aesthetic"].least) == (0.3, None)
  with pytest.raises(ValueError, match="'luma'"):
    selecting.with_thresholds(curation.training(), named)
  with pytest.raises(ValueError, match="write a rule and its number"):
    selecting.with_thresholds(curation.training(), ["static"])
  with pytest.raises(ValueError, match="'duplicates'"):
    selecting.with_thresholds(curation.training(), ["duplicates=3"])


def test_scores_of_stills_become_those_of_clips(whole, tmp_path):
  clips = list(selecting.read_clips(whole).clips)
  one = next(clip for clip in clips if clip.source == "a.mp4")
  names = one.stills
  scored = [{"still": name, "score": float(k)} for k, name in enumerate(names)]
  whole.scores.write_text("".join(json.dumps(row) + "\n" for row in scored))
  table = selecting.read_clips(whole)
  found = {clip.id: clip.scores for clip in table.clips}
  selecting.decide(whole, tmp_path, [])
  whole.scores.unlink()
  selected = {row["id"]: row["scores"] for row in rows(tmp_path / "selected.jsonl")}
  assert selected == found
  assert found[one.id]["aesthetic"] == (len(names) - 1) / 2
  assert found[one.id]["aesthetic_least"] == 0
  assert "aesthetic" not in found["frozen.mp4@0"]


def test_another_run_in_the_folder_is_refused(whole):
  with folders.locked(whole), pytest.raises(ValueError, match="Another run works"):
    with folders.locked(whole):
      pass


def test_other_numbers_are_refused(tmp_path):
  folder = Folder(tmp_path)
  folders.check_fingerprint(folder, {"measures": {"clips": {"trim": 2}}})
  folders.check_fingerprint(folder, {"measures": {"clips": {"trim": 2}}})
  with pytest.raises(ValueError, match="measures.clips.trim 2, and now it is 3"):
    folders.check_fingerprint(folder, {"measures": {"clips": {"trim": 3}}})


def test_what_measurements_depend_on_is_noted(tmp_path):
  found = folders.fingerprint(curation.measures())
  assert found["measures"]["scenes"]["least"] == curation.measures().scenes.least
  folders.check_fingerprint(Folder(tmp_path), found)
  folders.check_fingerprint(Folder(tmp_path), found)
