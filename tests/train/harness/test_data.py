"""The data that a run trains on, and the clips that it holds out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from configs import tiny
from ltx_jax.config.runs import AutoBuckets, Bucket, Stage
from ltx_jax.data import video
from ltx_jax.data.loader import Loader
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import FAINT, WORLDS
from train.harness import data, dry_run

IDS = [f"clip-{number}" for number in range(40)]


@pytest.fixture
def manifest(tmp_path):
  """Six clips of two sizes, one of them held out."""
  rows = []
  for number in range(6):
    size = (9, 32, 48) if number % 2 else (5, 48, 32)
    name = f"{number}.mp4"
    clip = world.clip(world.captions()[number], number, *size)
    video.write(tmp_path / name, clip, 24.0)
    rows.append({"id": name, "path": name, "caption": f"number {number}"})
  rows[3]["scores"] = {"held_out": 1.0}
  path = tmp_path / "manifest.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def test_clips_that_say_so_are_held_out():
  scores = np.full(40, np.nan)
  scores[[3, 9]] = 1.0
  chosen, notes = data.held_out(IDS, scores, 20)
  assert np.flatnonzero(chosen).tolist() == [3, 9] and not notes


def test_others_are_held_out_by_their_ids_whatever_their_order():
  chosen, notes = data.held_out(IDS, None, 5)
  assert chosen.sum() == 5 and not notes
  names = {IDS[row] for row in np.flatnonzero(chosen)}
  backwards, _ = data.held_out(IDS[::-1], np.full(40, np.nan), 5)
  assert {IDS[::-1][row] for row in np.flatnonzero(backwards)} == names
  assert data.held_out(IDS, None, 0)[0].sum() == 0


@pytest.mark.parametrize(
  ("clips", "held", "said"),
  [
    (8, 2, "8 clips: 2 are held out, not 8 (--held-out)"),
    (5, 1, "5 clips: 1 is held out, not 8"),
    (2, 1, "2 clips: 1 is held out, not 8"),
    (1, 0, "1 clip: none is held out, not 8"),
  ],
)
def test_of_few_clips_at_most_a_quarter_is_held_out(clips, held, said):
  chosen, (note,) = data.held_out(IDS[:clips], None, 8)
  assert chosen.sum() == held and note.startswith(said)


def test_to_hold_out_everything_is_refused():
  with pytest.raises(ValueError, match="All 40 clips have the score held_out"):
    data.held_out(IDS, np.ones(40), 8)


def test_a_vae_trains_on_the_clips_of_a_manifest(manifest):
  buckets = Bucket(9, 32, 48), Bucket(5, 48, 32)
  run = dataclasses.replace(
    tiny.vae(), data=(manifest,), stages=(Stage(3, buckets, 24),)
  )
  clips = data.open_clips(run)
  loader = Loader(clips.trained, run.stages, 0, lambda bucket: 6)
  assert loader.clips(0) == [2, 3]  # The one that is held out is of the first size.
  batch = loader.batch(0)
  assert batch["video"].shape[0] == 4 and batch["video"].dtype == np.uint8
  (ids, _) = clips.held_out.assign(buckets)
  assert len(ids) == 1


def test_a_run_says_that_fewer_clips_are_held_out_than_asked_for(manifest):
  rows = [json.loads(line) for line in Path(manifest).read_text().splitlines()]
  rows = [row | {"scores": {}} for row in rows]
  Path(manifest).write_text("".join(json.dumps(row) + "\n" for row in rows))
  clips = data.open_clips(dataclasses.replace(tiny.vae(), data=(manifest,)))
  (note,) = clips.notes
  assert note.startswith("6 clips: 1 is held out, not 8")
  assert len(clips.held_out.clips) == 1


def test_videos_and_shapes_are_mixed(manifest):
  run = dataclasses.replace(
    tiny.vae(), data=("moving-shapes", manifest), data_weights=(1.0, 2.0)
  )
  trained = data.open_clips(run).trained
  assert trained.weights == (1.0, 2.0) and len(trained.sources) == 2


@pytest.mark.parametrize("name", WORLDS)
def test_no_small_world_trains_on_a_caption_that_is_held_out(name):
  clips = data.open_clips(dataclasses.replace(tiny.vae(), data=(name,)))
  (trained,) = clips.trained.sources
  assert trained.name == clips.held_out.name == name
  assert not any(map(world.is_held_out, trained.captions))
  assert all(map(world.is_held_out, clips.held_out.captions))
  assert (len(trained.captions) < len(world.train_captions())) == (name == FAINT)


def test_buckets_are_found_where_a_recipe_names_none(manifest):
  stages = (Stage(3, AutoBuckets(shapes=2, lengths=1), 24),)
  run = dataclasses.replace(tiny.vae(), data=(manifest,), stages=stages)
  run = data.with_buckets(run, data.open_clips(run).trained, tiny.VAE)
  shapes = {(b.height, b.width) for b in run.stages[0].buckets}
  assert shapes == {(32, 48), (48, 32)}


def test_a_dry_run_shows_buckets_and_parameters(manifest, capsys):
  buckets = Bucket(9, 32, 48), Bucket(5, 48, 32)
  stage = Stage(3, buckets, 24)
  run = dataclasses.replace(tiny.vae(), data=(manifest,), stages=(stage,))
  loader = Loader(data.open_clips(run).trained, run.stages, 0, lambda bucket: 6)
  dry_run.show(run, loader, {"vae": {"kernel": np.zeros((3, 700))}})
  printed = capsys.readouterr().out
  assert "vae: 2,100 parameters" in printed and '"seed": 0' in printed
  rows = [line.split() for line in printed.splitlines() if "50.0 %" in line]
  numbers = [[word for word in row if word.isdecimal()] for row in rows]
  assert numbers == [
    ["9", "32", "48", "6", "2", "4"],
    ["5", "48", "32", "6", "3", "4"],
  ]
