"""From a plan to a folder of the suite; each planted fault is found and named."""

import json
import shutil

import numpy as np
import pytest

from ltx_jax.data import prompt_list, video
from ltx_jax.moving_shapes import world
from tests.train.evaluate.vbench import suite_case
from train.evaluate.vbench import checking, exporting, suites
from train.evaluate.vbench.__main__ import main


@pytest.fixture
def made(tmp_path):
  """Two prompts, clips by id, and the folder of the suite."""
  path = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS[:2])
  clips = suites.wanted("short", path)
  suite_case.write_clips(tmp_path / "clips", clips)
  exporting.export("short", clips, tmp_path / "clips", tmp_path / "suite", print)
  return clips, tmp_path / "suite"


def test_the_program_goes_from_prompts_to_a_checked_folder(tmp_path, capsys):
  prompts = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS[:4])
  given = ["short", "--prompts", str(prompts)]
  plan, clips, suite = (str(tmp_path / name) for name in ("p.jsonl", "clips", "suite"))
  main(["plan", *given, "--output", plan])
  rows = prompt_list.read_prompts(tmp_path / "p.jsonl")
  assert len(rows) == 20 and {row.seed for row in rows} == set(range(5))
  suite_case.write_clips(tmp_path / "clips", suites.wanted("short", prompts))
  main(["export", *given, "--clips", clips, "--output", suite])
  main(["check", *given, "--folder", suite])
  out = capsys.readouterr().out
  assert "has all 20 clips of the suite short" in out
  assert "5 names differ from another one only in case" in out
  assert len(list((tmp_path / "suite").iterdir())) == 20
  record = json.loads((tmp_path / "suite.json").read_text())
  bike = record["clips"]["a person is riding a bike-3.mp4"]
  assert bike == {"id": "0000-03", "seed": 3, "text": "a person is riding a bike"}
  (tmp_path / "suite" / ".DS_Store").write_bytes(b"x")
  with pytest.raises(SystemExit) as ended:
    main(["check", *given, "--folder", suite])
  assert ended.value.code == 2
  assert "1 files are no clips: .DS_Store" in capsys.readouterr().out


def test_twenty_prompts_are_exported_with_the_bytes_of_their_clips(tmp_path):
  path = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS)
  clips, suite = suites.wanted("short", path), tmp_path / "suite"
  suite_case.write_clips(tmp_path / "clips", clips)
  exporting.export("short", clips, tmp_path / "clips", suite, print)
  assert len(list(suite.iterdir())) == len(clips) == 5 * 21
  for clip in clips:
    source = tmp_path / "clips" / f"{clip.id}.mp4"
    assert (suite / clip.name).read_bytes() == source.read_bytes()
  assert checking.check("short", clips, suite) == []


def damage(suite, how):
  """Plants a fault; returns the words that name it."""
  first, second = (f"{suite_case.PROMPTS[0]}-{k}.mp4" for k in (0, 1))
  path = suite / first
  clip = world.clip(world.captions()[0], 0, 9, 32, 32)
  if how == "missing":
    path.unlink()
    return f"1 of 10 clips are missing: {first}"
  if how == "stray":
    (suite / "seeds.json").write_text("{}")
    return "1 files are no clips: seeds.json; the suite takes the suffix"
  if how == "suffix":
    path.rename(path.with_suffix(".webm"))
    return "1 files are no clips: a person is riding a bike-0.webm"
  if how == "unknown":
    shutil.copy(path, suite / "a prompt of mine-0.mp4")
    return "1 clips are of no prompt of the suite: a prompt of mine-0.mp4"
  if how == "number":
    shutil.copy(path, suite / f"{suite_case.PROMPTS[0]}-5.mp4")
    return f"1 clips are of no prompt of the suite: {suite_case.PROMPTS[0]}-5.mp4"
  if how == "truncated":
    path.write_bytes(path.read_bytes()[:400])
    return f"1 clips cannot be read: {first}"
  if how == "empty":
    path.write_bytes(b"")
    return f"1 clips cannot be read: {first}"
  if how == "rate":
    video.write(path, clip, 24.0)
    return f"have 25 a second, but not {first} (24 a second)"
  if how == "size":
    video.write(path, np.repeat(clip, 2, axis=2), 25.0)
    return f"have 32x32, but not {first} (64x32)"
  if how == "length":
    video.write(path, np.repeat(clip, 2, axis=0), 25.0)
    return f"have 9 frames, but not {first} (18 frames)"
  if how == "five seconds":
    video.write(path, np.repeat(clip, 14, axis=0)[:125], 25.0)
    return f"1 clips have 5 seconds or more, and are for the suite long: {first}"
  if how == "copy":
    shutil.copy(path, suite / second)
    return "1 clips are copies of another one of their prompt"
  if how == "case":
    path.rename(suite / first.upper())
    return "1 of them have another case than a file that is there"
  if how == "split":
    (suite / "split_clip").mkdir()
    shutil.copy(path, suite / "split_clip" / first)
    return "split_clip is left over from a run of the suite for long clips"
  raise AssertionError(how)


@pytest.mark.parametrize(
  "how",
  [
    *("missing", "stray", "suffix", "unknown", "number", "truncated", "empty"),
    *("rate", "size", "length", "five seconds", "copy", "case", "split"),
  ],
)
def test_a_planted_fault_is_found(made, how):
  clips, suite = made
  words = damage(suite, how)
  faults = checking.check("short", clips, suite)
  assert words in " ".join(faults)


def test_short_clips_are_not_for_the_long_suite(made):
  clips, suite = made
  faults = checking.check("long", clips, suite)
  assert len(faults) == 1 and "10 clips are shorter than 5 seconds" in faults[0]


def test_clips_from_images_have_one_of_four_ratios(tmp_path):
  clips = suites.wanted("i2v", suite_case.images(tmp_path / "info.json"))[:5]
  folder = suite_case.write_clips(tmp_path / "clips", clips, size=(64, 96))
  exporting.export("i2v", clips, folder, tmp_path / "suite", print)
  faults = checking.check("i2v", clips, tmp_path / "suite")
  assert len(faults) == 1 and "5 clips have none of the ratios 1-1, 8-5" in faults[0]
  shutil.rmtree(folder)
  suite_case.write_clips(folder, clips, size=(64, 112))
  exporting.export("i2v", clips, folder, tmp_path / "again", print)
  assert checking.check("i2v", clips, tmp_path / "again") == []


def test_folders_of_dimensions_are_written_and_checked(tmp_path):
  clips = suites.wanted("2.0", suite_case.dimensions(tmp_path / "prompt"))
  folder = suite_case.write_clips(tmp_path / "clips", clips)
  exporting.export("2.0", clips, folder, tmp_path / "suite", print)
  assert checking.check("2.0", clips, tmp_path / "suite") == []
  (tmp_path / "suite" / "Diversity" / "a cat-7.mp4").unlink()
  faults = checking.check("2.0", clips, tmp_path / "suite")
  assert faults == ["1 of 26 clips are missing: Diversity/a cat-7.mp4."]


def test_start_images_are_asked_for_and_named_in_the_plan(tmp_path):
  clips = suites.wanted("i2v", suite_case.images(tmp_path / "info.json"))
  with pytest.raises(ValueError, match="needs --images"):
    exporting.plan(clips, None)
  folder = tmp_path / "7-4"
  folder.mkdir()
  (folder / "a boat, far away.jpg").write_bytes(b"x")
  with pytest.raises(ValueError, match="1 start images are not in"):
    exporting.plan(clips, folder)
  (folder / "a close up of a liquid.jpg").write_bytes(b"x")
  prompts = exporting.plan(clips, folder)
  assert prompts[-1].image == folder / "a boat, far away.jpg"
  plain = suites.wanted("short", suite_case.text(tmp_path / "all.txt", ["a cat"]))
  with pytest.raises(ValueError, match="leave out --images"):
    exporting.plan(plain, folder)


def test_clips_that_are_missing_or_strange_are_not_exported(tmp_path):
  clips = suites.wanted("short", suite_case.text(tmp_path / "all.txt", ["a", "b"]))
  folder = suite_case.write_clips(tmp_path / "clips", clips[:-1])
  with pytest.raises(ValueError, match="1 of 10 clips are not in .*0001-04.mp4"):
    exporting.export("short", clips, folder, tmp_path / "suite", print)
  shutil.copy(folder / "0000-00.mp4", folder / "0001-04.mp4")
  (folder / "notes.txt").write_text("x")
  with pytest.raises(ValueError, match="also holds notes.txt"):
    exporting.export("short", clips, folder, tmp_path / "suite", print)
  (folder / "notes.txt").unlink()
  assert not (tmp_path / "suite").exists()
  exporting.export("short", clips, folder, tmp_path / "suite", print)
  with pytest.raises(ValueError, match="is there already"):
    exporting.export("short", clips, folder, tmp_path / "suite", print)


def test_a_disk_that_takes_both_cases_for_one_is_refused(tmp_path, monkeypatch):
  prompts = suite_case.text(tmp_path / "all.txt", ["a cat", "A cat"])
  clips = suites.wanted("short", prompts)
  folder = suite_case.write_clips(tmp_path / "clips", clips)
  monkeypatch.setattr(exporting, "folds_case", lambda folder: True)
  with pytest.raises(ValueError, match="export to another disk"):
    exporting.export("short", clips, folder, tmp_path / "suite", print)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["all.txt", "clips"]
