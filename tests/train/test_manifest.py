"""The program that makes manifests: what it writes, lists and refuses."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.data import survey
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.manifest import read_manifest
from tests.data import media_case
from train import manifest


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / "clips"
  folder.mkdir()
  for number, width in enumerate((64, 96)):
    media_case.write(folder / f"{number}.mp4", media_case.levels(12, 64, width))
    (folder / f"{number}.txt").write_text(f"caption {number}")
  Image.new("RGB", (32, 48)).save(folder / "still.png")
  return folder


def test_it_measures_the_clips_and_writes_what_training_reads(folder, capsys):
  manifest.main([str(folder)])
  clips = read_manifest(folder / "manifest.jsonl")
  found = [(c.id, c.caption, c.width, c.height, c.frames, c.fps) for c in clips]
  assert found == [
    ("0.mp4", "caption 0", 64, 64, 12, 24.0),
    ("1.mp4", "caption 1", 96, 64, 12, 24.0),
    ("still.png", "", 32, 48, 1, None),
  ]
  with Image.open(folder / "manifest.png") as picture:
    assert picture.size[0] > 1000
  said = " ".join(capsys.readouterr().out.split())
  for words in (
    "2 videos and 1 picture",
    "sizes: 32x48 (1), 64x64 (1), 96x64 (1)",
    "1 clip without a caption: a VAE can be trained on it, a transformer cannot. Write",
    "into NAME.txt next to NAME.mp4, remove the manifest, and run this again",
    "no caption: still.png",
    "manifest.jsonl: 3 clips",
    "Train small networks of your own: python -m train.vae own_clips --data ",
  ):
    assert words in said
  assert not list(folder.glob("*faults*"))


def test_what_it_wrote_is_not_read_as_a_clip(folder):
  manifest.main([str(folder)])
  (folder / "manifest.jsonl").unlink()
  manifest.main([str(folder)])
  assert len(read_manifest(folder / "manifest.jsonl")) == 3


def test_faults_and_copies_are_listed(folder, capsys):
  shutil.copy(folder / "0.mp4", folder / "copy.mp4")
  (folder / "copy.txt").write_text("caption 0")
  (folder / "broken.mp4").write_bytes(b"words")
  (folder / "alone.txt").write_text("words")
  manifest.main([str(folder)])
  said = " ".join(capsys.readouterr().out.split())
  for words in (
    "2 clips have the caption 'caption 0'",
    "copy.mp4 is the same clip as 0.mp4",
    "left out: alone.txt: it is a text without a clip of the same name next to it",
    "manifest.jsonl: 4 clips, 2 faults left out",
  ):
    assert words in said
  lines = (folder / "manifest.faults.jsonl").read_text().splitlines()
  reasons = {row["where"]: row["reason"] for row in map(json.loads, lines)}
  assert set(reasons) == {"alone.txt", "broken.mp4"}
  assert "cannot be read as a video" in reasons["broken.mp4"]


def test_the_list_of_faults_goes_once_they_are_mended(folder):
  (folder / "alone.txt").write_text("words")
  manifest.main([str(folder)])
  assert (folder / "manifest.faults.jsonl").exists()
  (folder / "alone.txt").unlink()
  (folder / "manifest.jsonl").unlink()
  manifest.main([str(folder)])
  assert not (folder / "manifest.faults.jsonl").exists()


def test_clips_without_captions_are_named_with_the_fields_they_have(folder, capsys):
  rows = [{"path": f"{n % 2}.mp4", "id": f"part {n}", "words": "x"} for n in range(12)]
  rows[0]["text"] = "a caption"
  path = folder / "list.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  manifest.main([str(path)])
  said = capsys.readouterr().out
  assert "11 clips without a caption" in said and "and 1 more" in said
  named = [f"no caption: part {number}\n" for number in range(12)]
  assert [line in said for line in named] == [0 < n < 11 for n in range(12)]
  assert (
    "captions are in a field caption, text or prompt; these rows have words" in said
  )


def test_a_manifest_is_never_written_over(folder, capsys):
  (folder / "manifest.jsonl").write_text("edited")
  with pytest.raises(SystemExit), errors_in_words():
    manifest.main([str(folder)])
  assert "may hold captions that were edited" in capsys.readouterr().err
  assert (folder / "manifest.jsonl").read_text() == "edited"
  with pytest.raises(ValueError, match="a manifest is a .jsonl file"):
    manifest.main([str(folder), "--output", str(folder / "m.csv")])


def test_lists_of_paths_and_captions_are_joined_by_their_lines(folder, tmp_path):
  (tmp_path / "paths.txt").write_text("clips/1.mp4\nclips/0.mp4\n")
  (tmp_path / "words.txt").write_text("one\nzero\n")
  output = tmp_path / "out" / "m.jsonl"
  arguments = ["--captions", str(tmp_path / "words.txt"), "--output", str(output)]
  manifest.main([str(tmp_path / "paths.txt"), *arguments])
  clips = read_manifest(output)
  assert [(c.id, c.caption) for c in clips] == [
    ("clips/1.mp4", "one"),
    ("clips/0.mp4", "zero"),
  ]
  assert all(clip.path.endswith(clip.id) for clip in clips)


def test_nothing_that_can_be_used_is_said(tmp_path):
  (tmp_path / "a.mp4").write_bytes(b"words")
  with pytest.raises(ValueError, match="None of the clips of .* can be used"):
    manifest.main([str(tmp_path)])
  assert not (tmp_path / "manifest.jsonl").exists()


def test_two_parts_of_a_file_are_no_copies(tmp_path):
  (tmp_path / "a.mp4").write_bytes(b"a")
  path = str(tmp_path / "a.mp4")
  parts = [Clip("1", path, start=0.0, end=1.0), Clip("2", path, start=1.0, end=2.0)]
  assert survey.copies(Clips(parts)) == []
  again = Clip("3", path, start=1.0, end=2.0)
  assert survey.copies(Clips([*parts, again])) == [("3", "2")]
