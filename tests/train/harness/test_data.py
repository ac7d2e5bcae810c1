"""The data that a run trains on, and the clips that it holds out."""

import dataclasses
import json

import numpy as np
import pytest

from configs import tiny
from ltx_jax.config.runs import AutoBuckets, Bucket, Stage
from ltx_jax.data import video
from ltx_jax.data.loader import Loader
from ltx_jax.moving_shapes import world
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
  assert np.flatnonzero(data.held_out(IDS, scores, 20)).tolist() == [3, 9]


def test_others_are_held_out_by_their_ids_whatever_their_order():
  chosen = data.held_out(IDS, None, 5)
  assert chosen.sum() == 5
  names = {IDS[row] for row in np.flatnonzero(chosen)}
  backwards = data.held_out(IDS[::-1], np.full(40, np.nan), 5)
  assert {IDS[::-1][row] for row in np.flatnonzero(backwards)} == names
  assert data.held_out(IDS, None, 0).sum() == 0


def test_to_hold_out_everything_is_refused():
  with pytest.raises(ValueError, match="40 clips, of which 40 would be held out"):
    data.held_out(IDS, None, 40)


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


def test_videos_and_shapes_are_mixed(manifest):
  run = dataclasses.replace(
    tiny.vae(), data=("moving-shapes", manifest), data_weights=(1.0, 2.0)
  )
  trained = data.open_clips(run).trained
  assert trained.weights == (1.0, 2.0) and len(trained.sources) == 2


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
