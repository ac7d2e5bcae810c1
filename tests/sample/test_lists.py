"""A list of prompts becomes a folder of videos that others read."""

import json

import numpy as np
import pytest

from ltx_jax.data import video
from sample import lists, settings
from train.evaluate.study import making

PROMPT = "a large red circle moving right on a navy background"
OTHER = "a small blue square moving up on a gray background"
SIZE = ("--width", "32", "--height", "32", "--frames", "9", "--steps", "1")


def put(folder, *rows):
  lines = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "prompts.jsonl").write_text(lines)


@pytest.fixture
def listed(tmp_path):
  first = np.full((1, 32, 32, 3), 90, np.uint8)
  video.write(tmp_path / "first.png", first, 1.0)
  put(
    tmp_path,
    {"id": "one", "prompt": PROMPT},
    {"id": "two", "prompt": OTHER, "seed": 3},
    {"id": "three", "prompt": PROMPT, "image": "first.png"},
  )
  return tmp_path


def command(*options):
  return (*SIZE, "--prompts", "prompts.jsonl", "--output", "clips/ours", *options)


def test_each_line_is_the_video_that_its_own_command_makes(program, listed):
  code, out, _ = program(*command("--batch", "2", "--seed", "1"))
  assert code == 0 and "3 videos, 0 of them there" in out
  folder = listed / "clips" / "ours"
  assert {p.name for p in folder.iterdir()} == {"one.mp4", "two.mp4", "three.mp4"}
  lines = (listed / "clips" / "ours.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  assert {row["id"]: row["seed"] for row in rows} == {"one": 1, "two": 3, "three": 1}
  for row in rows:
    path = folder / f"{row['id']}.mp4"
    assert settings.read_arguments(path) == row["arguments"]
    code, *_ = program(*row["arguments"], "--output", "alone.mp4", "--no-sheet")
    assert code == 0
    alone, made = (video.read(p)[0].astype(int) for p in ("alone.mp4", path))
    # The first frames: newer encoders do not write later ones twice in the same way.
    assert abs(alone[0] - made[0]).max() <= 8
  one, two = (video.read(folder / f"{n}.mp4")[0].astype(int) for n in ("one", "two"))
  assert abs(one[0] - two[0]).max() > 30
  (listed / "theirs").mkdir()
  found = making.find_clips([folder, listed / "theirs"])
  assert set(found["ours"]) == {"one", "two", "three"}


def test_a_run_goes_on_where_it_was(program, listed):
  program(*command())
  folder = listed / "clips" / "ours"
  before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
  (folder / "two.mp4").unlink()
  (folder / ".three-0123abcd.mp4").write_bytes(b"torn")
  code, out, _ = program(*command())
  assert code == 0 and "3 videos, 2 of them there" in out
  after = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
  assert set(after) == set(before)
  assert [name for name in after if after[name] != before[name]] == ["two.mp4"]
  code, out, _ = program(*command())
  assert "3 videos, 3 of them there" in out and "load" not in out


def test_other_settings_and_strange_videos_are_refused(program, listed):
  program(*command())
  code, _, err = program(*command("--guidance", "2"))
  assert code == 2 and "was made with other settings" in err
  (listed / "clips" / "ours" / "mine.mp4").write_bytes(b"x")
  code, _, err = program(*command())
  assert code == 2 and "also holds mine.mp4, of no item of --prompts" in err


FOUR = ("--mesh", "data=2,context=2")


@pytest.fixture
def frames(monkeypatch):
  """The frames of each video as they were given to the encoder, by its path."""
  written, write = {}, video.write

  def keep(path, clip, *how, **more):
    written[str(path)] = np.asarray(clip, int)
    write(path, clip, *how, **more)

  monkeypatch.setattr(lists.video, "write", keep)
  return written


def row_of(line):
  """What a manifest says of a video, without the hash of its file."""
  row = json.loads(line)
  assert row.pop("sha256")
  return row


def test_several_devices_make_the_same_folder(program, listed, frames):
  for folder, mesh in (("one", ()), ("four", FOUR)):
    code, out, err = program(
      *SIZE, "--prompts", "prompts.jsonl", "--batch", "2", "--output", folder, *mesh
    )
    assert (code, err) == (0, "") and "3 of 3" in out
  one, four = ((listed / f"{name}.jsonl").read_text() for name in ("one", "four"))
  assert [*map(row_of, one.splitlines())] == [*map(row_of, four.splitlines())]
  for name in ("one", "two", "three"):
    alone, shared = frames[f"one/{name}.mp4"], frames[f"four/{name}.mp4"]
    assert abs(alone - shared).max() <= 1 and alone.std() > 1
    assert (listed / "four" / f"{name}.mp4").is_file()


def test_a_run_goes_on_with_another_number_of_devices(program, listed, monkeypatch):
  keep, kept = lists.keep, []

  def interrupted(folder, prompt, *rest):
    if kept:
      raise KeyboardInterrupt
    kept.append(prompt.id)
    return keep(folder, prompt, *rest)

  monkeypatch.setattr(lists, "keep", interrupted)
  code, *_ = program(*command(*FOUR))
  assert code == 130
  monkeypatch.setattr(lists, "keep", keep)
  manifest = listed / "clips" / "ours.jsonl"
  (first,) = manifest.read_text().splitlines()
  code, out, _ = program(*command("--mesh", "data=2"))
  assert code == 0 and "3 videos, 1 of them there" in out
  code, out, _ = program(*command())
  assert code == 0 and "3 videos, 3 of them there" in out
  lines = manifest.read_text().splitlines()
  assert lines[0] == first and json.loads(first)["id"] == kept[0]
  assert sorted(row_of(line)["id"] for line in lines) == ["one", "three", "two"]


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ((PROMPT, "--output", "clips"), "leave out prompts on the command line"),
    (("--output", "clips", "--seed", "1", "2"), "leave out several seeds"),
    (("--output", "clips.mp4"), "with --prompts it is a folder"),
    (("--output", "clips", "--batch", "0"), "--batch is 0"),
    (("--output", "clips", "--image", "first.png"), "both name a first frame"),
  ],
)
def test_what_a_list_leaves_no_room_for_is_refused(program, listed, options, words):
  code, _, err = program(*options, "--prompts", "prompts.jsonl", *SIZE)
  assert code == 2 and words in err


@pytest.mark.parametrize("name", ["a/b", ".hidden", "x" * 300])
def test_items_are_names_of_files(program, tmp_path, name):
  put(tmp_path, {"id": name, "prompt": PROMPT})
  code, _, err = program(*command())
  assert code == 2 and "is no name of a file" in err
