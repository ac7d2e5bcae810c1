"""All files that break pipelines, beside good ones, in one run."""

import collections
import contextlib
import dataclasses
import json
import math

import pytest

from tests.curation.faults import shelf
from tests.train.curation.driver import one_by_one

pytest.importorskip("cv2")
pytest.importorskip("ray")
from ltx_jax.data.manifest import read_manifest
from train import curate
from train.curation import workers
from train.curation.workers import Child, Limits

SICK = Limits(seconds=3)


@pytest.fixture
def pool(monkeypatch):
  """Workers in this process; some files hang or kill their decoder, change, or go."""
  monkeypatch.setitem(
    workers._children, SICK, Child(SICK, "tests.train.curation.sick_child")
  )

  def treated(work, doing):
    for piece in map(json.loads, work):
      if doing == "measuring":
        path = shelf.Path(piece["source"]["path"])
        if path.name == "changes.mp4":
          path.write_bytes(b"something else")
        if path.name == "goes.mp4":
          path.unlink()
      elif piece["id"] in ("hangs.mp4", "dies.mp4"):
        piece["limits"] = dataclasses.asdict(SICK)
      yield json.dumps(piece).encode()

  @contextlib.contextmanager
  def ray_pool(options, console):
    yield lambda work, doing: one_by_one(treated(work, doing), doing)

  monkeypatch.setattr(curate, "ray_pool", ray_pool)
  yield
  workers._children[SICK].close()


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_each_file_gets_its_reason_and_the_good_ones_are_unharmed(tmp_path, pool):
  footage, output = tmp_path / "footage", tmp_path / "curated"
  footage.mkdir()
  shelf.write(footage)
  command = ["run", str(footage), "--output", str(output), "--threshold", "size=40"]
  curate.main(command)  # Or it would raise SystemExit.
  clips, dropped = rows(output / "clips.jsonl"), rows(output / "decisions.jsonl")
  reasons = {row["id"]: row["decision"]["reason"] for row in dropped}
  found = collections.defaultdict(set)
  for clip in clips:
    found[clip["source"]].add(reasons.get(clip["id"]))
  for row in rows(output / "refused.jsonl"):
    found[row["id"]].add(row["decision"]["reason"])
  expected = {
    name.replace("\n", r"\n"): set(allowed)
    for name, (_, allowed) in shelf.FILES.items()
  }
  assert dict(found) == expected
  kept = read_manifest(output / "manifest.jsonl")
  refused = rows(output / "refused.jsonl")
  assert len(kept) + len(dropped) == len(clips) + len(refused)
  assert set(reasons).isdisjoint(clip.id for clip in kept)
  good = [clip for clip in kept if clip.path.rpartition("/")[2] in shelf.GOOD]
  assert len(good) == 10
  for clip in good:
    assert (clip.start, clip.end, clip.frames, clip.fps) == (0, 2, 50, 25)
    assert clip.crop is None and all(map(math.isfinite, clip.scores.values()))
  report = (output / "report.html").read_text()
  assert f"{len(kept)} of {len(clips)} clips are kept" in report
