"""Clips are made comparable, and nothing of them but motion and look tells whose."""

import hashlib
import os

import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from train.evaluate.study import clips
from train.evaluate.study.clips import Facts, Shape

CAPTION = "a large red circle moving right on a black background"


def fact(frames, fps, height=32, width=48):
  return Facts(frames, fps, height, width, True, False)


def test_an_item_has_the_shortest_length_and_the_smallest_size():
  of = {"a": fact(49, 24.0), "b": fact(49, 25.0, 64, 96), "c": fact(20, 8.0)}
  assert clips.common(of, 25.0) == Shape(49 / 25, 32 * 48, 25.0)


@pytest.mark.parametrize(
  ("frames", "fps", "rate", "expected"),
  [
    (6, 8.0, 24.0, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]),
    (6, 24.0, 24.0, [0, 1, 2, 3, 4, 5]),
    (8, 24.0, 12.0, [0, 2, 4, 6]),
    (5, 24.0, 25.0, [0, 0, 1, 2, 3]),
  ],
)
def test_a_clip_keeps_its_motion_in_a_container_of_another_rate(
  frames, fps, rate, expected
):
  shape = Shape(frames / fps, 1, rate)
  assert clips.chosen(frames, fps, shape).tolist() == expected


def test_sizes_are_even_never_larger_and_keep_their_aspect():
  assert clips.size(512, 768, 512 * 768) == (512, 768)
  assert clips.size(720, 1280, 512 * 768) == (470, 836)
  assert clips.size(32, 48, 10**9) == (32, 48)
  assert clips.size(64, 96, 32 * 48) == (32, 48)


def test_a_clip_is_cut_and_scaled():
  frames = world.clip(CAPTION, 0, 17, 64, 96)
  out = clips.shaped(frames, 24.0, Shape(0.5, 32 * 48, 24.0))
  assert out.shape == (12, 32, 48, 3)
  same = clips.shaped(frames, 24.0, Shape(17 / 24, 64 * 96, 24.0))
  assert np.array_equal(same, frames)


def test_damage_is_seen_or_not_done():
  moving = world.clip(CAPTION, 0, 9, 64, 64)
  for how in ("blurred", "frozen"):
    copy = clips.damaged(moving, how)
    assert copy.shape == moving.shape and copy.dtype == np.uint8
    apart = np.abs(copy.astype(float) - moving).max(-1)
    assert (apart > 16).mean() >= 0.02
  still = np.repeat(moving[:1], 9, 0)
  assert clips.damaged(still, "frozen") is None
  assert clips.damaged(np.full_like(moving, 9), "blurred") is None


def test_files_have_one_age_names_by_chance_and_no_metadata(tmp_path):
  frames = world.clip(CAPTION, 0, 9, 32, 32)
  first, second = (clips.keep(tmp_path, frames, 24.0) for _ in range(2))
  assert first.media != second.media
  paths = [tmp_path / f"{clip.media}.mp4" for clip in (first, second)]
  # Not those of each other: newer encoders need not write the same twice.
  hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
  assert [first.sha256, second.sha256] == hashes
  assert len({os.stat(path).st_mtime_ns for path in paths}) == 1
  assert video.read(paths[0])[1] == 24.0
  assert CAPTION.encode() not in paths[0].read_bytes()


def test_facts_of_a_clip(tmp_path):
  path = tmp_path / "a.mp4"
  video.write(path, world.clip(CAPTION, 0, 9, 32, 48), 24.0, comment="by secret")
  assert clips.facts(path) == Facts(9, 24.0, 32, 48, True, False)
  video.write(path, np.zeros((9, 32, 48, 3), np.uint8), 24.0)
  assert clips.facts(path) == Facts(9, 24.0, 32, 48, False, True)
  video.write(tmp_path / "a.png", np.zeros((1, 8, 8, 3), np.uint8), 24.0)
  with pytest.raises(ValueError, match="still image"):
    clips.facts(tmp_path / "a.png")
