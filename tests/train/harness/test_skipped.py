"""A run reports the clips that it skips, from its first line to its end."""

import dataclasses
import json

import pytest

from configs import tiny
from ltx_jax.config.data import VideoConfig
from ltx_jax.config.runs import OutputConfig, Stage
from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.harness import data, skipped
from train.trainers import vae

# The recipe's second stage, so that its programs exist from other tests.
STAGE = Stage(8, (tiny.CLIP,), tokens=64)


@pytest.fixture
def manifest(tmp_path):
  """16 clips: one too short, one that cannot be opened, one that cannot be decoded."""
  size = {"width": 32, "height": 32, "frames": 5, "fps": 24.0}
  rows = []
  for number in range(16):
    name = f"{number:02}.mp4"
    clip = world.clip(world.captions()[number], number, 5, 32, 32)
    video.write(tmp_path / name, clip[:3] if number == 3 else clip, 24.0)
    rows.append({"id": name, "path": name} | (size if number != 3 else {}))
  for row in rows[-4:]:
    row["scores"] = {"held_out": 1.0}
  for number in (6, 9):
    (tmp_path / f"{number:02}.mp4").write_bytes(b"words")
  rows[6] = {"id": "06.mp4", "path": "06.mp4"}
  path = tmp_path / "manifest.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


@pytest.fixture
def program(manifest, tmp_path, monkeypatch, capsys):
  """Trains a VAE; returns exit code, output, errors, and the list that it wrote."""

  def run(most, log_every=1):
    output = OutputConfig(str(tmp_path / "run"), log_every, save_every=8)
    config = dataclasses.replace(
      tiny.vae(),
      data=(str(manifest),),
      stages=(STAGE,),
      video=VideoConfig(max_faulty=most),
      output=output,
      mesh=case.SINGLE,
    )
    monkeypatch.setattr(vae, "policy_of", lambda _: QUICK)
    code = 0
    try:
      vae.start_run(config)
    except SystemExit as end:
      code = end.code
    out, err = capsys.readouterr()
    path = tmp_path / "run" / skipped.FILE
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return code, out.splitlines(), err, {row["id"]: row["reason"] for row in rows}

  return run


@pytest.mark.slow
def test_clips_are_skipped_said_counted_and_listed_up_to_a_share(program, tmp_path):
  code, out, err, listed = program(0.2)
  assert (code, err) == (0, "") and any(line.startswith("Wrote ") for line in out)
  # Known before the first step: clips that are too short, or cannot be opened.
  assert out[0] == "skipped 03.mp4: it has 3 frames, but every bucket needs 5"
  assert out[1].startswith("skipped 06.mp4: ") and "cannot be read as a video" in out[1]
  assert out[2] == "skipped so far: 2 of 16 clips"
  # Found while training, and said once.
  (found,) = (line for line in out[3:] if "skipped 09.mp4" in line)
  assert found.startswith("Step ") and "cannot be read as a video" in found
  path = tmp_path / "run" / skipped.FILE
  (last,) = (line for line in out[3:] if "skipped so far" in line)
  assert last.endswith(f"skipped so far: 3 of 16 clips ({path})")
  assert list(listed) == ["03.mp4", "06.mp4", "09.mp4"]
  assert listed["09.mp4"] in found


@pytest.mark.slow
def test_a_run_stops_above_the_share_and_lists_what_it_found(program):
  code, out, err, listed = program(0.1, log_every=8)
  assert code == 2 and len(err.splitlines()) == 1
  sentence = "2 of 16 clips cannot be read, more than the share of 0.1 that max_faulty"
  assert sentence in err
  assert list(listed) == ["03.mp4", "06.mp4", "09.mp4"]
  assert any("skipped 09.mp4" in line for line in out)
  assert not any(line.startswith("Wrote") for line in out)


def test_many_are_named_in_part_and_counted_in_full(manifest):
  clips = [json.loads(line) for line in manifest.read_text().splitlines()]
  short = [row | {"frames": 2} for row in clips[1:] if "frames" in row]
  manifest.write_text("".join(json.dumps(row) + "\n" for row in [clips[0], *short]))
  run = dataclasses.replace(tiny.vae(), data=(str(manifest),), stages=(STAGE,))
  found = skipped.Skipped(data.open_clips(run), run.stages)
  lines = found.news()
  assert len(short) == 13 and len(lines) == 12 and lines[-2] == "and 3 more"
  assert lines[-1] == "skipped so far: 13 of 14 clips" and found.news() == []


def test_a_manifest_of_which_no_clip_is_left_on_one_side_is_refused(manifest):
  clips = [json.loads(line) for line in manifest.read_text().splitlines()]
  broken = [{"id": "06.mp4", "path": "06.mp4"}]
  half = VideoConfig(max_faulty=0.5)
  for rows, part in (
    ([clips[-1], *broken], "trained on"),
    ([clips[1], broken[0] | {"scores": {"held_out": 1.0}}], "held out"),
  ):
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = dataclasses.replace(tiny.vae(), data=(str(manifest),), video=half)
    with pytest.raises(ValueError, match=f"None of the clips of .* are to be {part}"):
      data.open_clips(run)


def test_records_say_how_many_clips_they_were_made_without(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "dropped.jsonl").write_text('{"id": "1"}\n{"id": "2"}\n')
  folders = [str(tmp_path / name) for name in "ab"]
  (line,) = skipped.dropped(folders)
  assert line.startswith(f"{folders[0]} was made without 2 of its clips (")
