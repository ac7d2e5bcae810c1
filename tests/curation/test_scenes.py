"""Scenes: cuts are found to the frame, flashes and pans are none, dissolves lie out."""

import colorsys

import numpy as np
import pytest

from ltx_jax.curation import scenes
from ltx_jax.curation.scenes import RULE, Scene

SIDE = 72, 128


def texture(seed):
  """A large image with detail of all sizes, as photographs have."""
  rng = np.random.default_rng(seed)
  found = np.full((216, 384, 3), rng.uniform(60, 200, 3))
  for cell in (96, 48, 24, 12, 6, 3):
    coarse = rng.normal(
      0, 60 * (cell / 96) ** 0.6, (216 // cell + 2, 384 // cell + 2, 3)
    )
    y, x = np.arange(216) / cell, np.arange(384) / cell
    i, j = y.astype(int), x.astype(int)
    v, u = (y - i)[:, None, None], (x - j)[None, :, None]
    top = (1 - u) * coarse[i][:, j] + u * coarse[i][:, j + 1]
    low = (1 - u) * coarse[i + 1][:, j] + u * coarse[i + 1][:, j + 1]
    found += (1 - v) * top + v * low
  return found


def pan(seed, frames, speed=1.0):
  """Frames that move over a texture by `speed` pixels each."""
  image, (h, w) = texture(seed), SIDE
  at = [10 + int(speed * k) for k in range(frames)]
  return np.stack([image[a // 3 : a // 3 + h, a : a + w] for a in at])


def video(*parts):
  return np.concatenate(parts).round().clip(0, 255).astype(np.uint8)


def shown(small, fps=25):
  """When the frames of a video are shown."""
  return np.arange(len(small)) / fps


def test_hsv_is_that_of_the_standard_library():
  rgb = np.random.default_rng(0).integers(0, 256, (200, 3), np.uint8)
  rgb[:2] = [[7, 7, 7], [0, 0, 0]]
  expected = [colorsys.rgb_to_hsv(*pixel / 255) for pixel in rgb]
  np.testing.assert_allclose(scenes.hsv(rgb), 255 * np.array(expected), atol=1e-3)


def test_hue_is_compared_along_the_circle():
  red, purple = [[[255, 0, 4]]], [[[255, 4, 0]]]
  small = np.uint8([red, purple])
  assert scenes.differences(small)[1] < 3


def test_cuts_are_found_to_the_frame():
  small = video(pan(1, 30), pan(2, 11), pan(3, 40, 2.0))
  assert scenes.cuts(small, RULE) == [30, 41]
  assert scenes.scenes(small, shown(small)) == [
    Scene(0, 30, "span"),
    Scene(30, 41, "cut"),
    Scene(41, 81, "cut"),
  ]


def test_differences_do_not_depend_on_how_frames_are_read(monkeypatch):
  small = video(pan(1, 20), pan(2, 20))
  whole = scenes.differences(small)
  monkeypatch.setattr(scenes, "_PART", 7)
  np.testing.assert_array_equal(scenes.differences(small), whole)
  assert whole[0] == 0 and whole[20] == whole.max()


@pytest.mark.parametrize("lasts", [1, 2, 3])
def test_a_flash_is_no_cut(lasts):
  small = pan(1, 60)
  small[30 : 30 + lasts] = 250
  assert scenes.cuts(video(small), RULE) == []


def test_a_whip_pan_is_no_cut():
  fast = pan(1, 40, 0.5)
  image, (h, w) = texture(1), SIDE
  whip = np.stack([image[30 : 30 + h, a : a + w] for a in range(20, 240, 22)])
  assert scenes.cuts(video(fast, whip), RULE) in ([], [40])
  assert not [c for c in scenes.cuts(video(fast, whip), RULE) if c > 40]


@pytest.mark.parametrize("length", [6, 12, 24, 46])
def test_a_dissolve_belongs_to_no_scene(length):
  one, two = pan(4, 40 + length, 0.3), pan(5, 40 + length, 0.3)
  share = np.arange(1, length + 1)[:, None, None, None] / (length + 1)
  blend = (1 - share) * one[40:] + share * two[:length]
  small = video(one[:40], blend, two[length:])
  first, second = scenes.scenes(small, shown(small))
  assert first.start == 0 and second.stop == len(small)
  # To within the two frames that a clip loses next to a transition.
  assert 32 <= first.stop <= 42
  assert 40 + length - 2 <= second.start <= 40 + length + 8
  assert second.begins == "transition"


def test_a_dissolve_ends_where_its_blend_does_and_not_where_windows_see_it():
  one, two = pan(3, 70), pan(8, 70)
  share = np.arange(1, 31)[:, None, None, None] / 31
  small = video(one[:40], (1 - share) * one[40:] + share * two[:30], two[30:])
  assert np.flatnonzero(scenes.dissolved(small, RULE))[-1] < 66, (
    "windows see it to here"
  )
  first, second = scenes.scenes(small, shown(small))
  assert first.stop <= 42 and 68 <= second.start <= 72


@pytest.mark.parametrize("stays", [0, 8])
@pytest.mark.parametrize("length", [10, 20])
def test_a_fade_belongs_to_no_scene_from_its_first_frame_to_its_last(length, stays):
  one, two = pan(4, 40 + length, 0.3), pan(5, 40 + length, 0.3)
  share = np.arange(1, length + 1)[:, None, None, None] / (length + 1)
  black = np.zeros((stays, *SIDE, 3))
  small = video(one[:40], (1 - share) * one[40:], black, share * two[:length], two)
  first, *_, second = scenes.scenes(small, shown(small))
  until = 40 + 2 * length + stays
  assert 34 <= first.stop <= 42
  assert until - 2 <= second.start <= until + 6


@pytest.mark.parametrize("speed", [0.0, 0.5, 2.0])
def test_plain_scenes_have_no_dissolve(speed):
  assert not scenes.dissolved(video(pan(6, 80, speed)), RULE).any()


def test_black_frames_part_scenes():
  small = video(pan(7, 20), np.full((5, *SIDE, 3), 8.0), pan(8, 20))
  dark = scenes.black(*scenes.light(small), RULE)
  assert dark.tolist() == [False] * 20 + [True] * 5 + [False] * 20
  assert scenes.scenes(small, shown(small)) == [
    Scene(0, 20, "span"),
    Scene(25, 45, "transition"),
  ]
  dark = video(np.zeros((9, *SIDE, 3)))
  assert scenes.scenes(dark, shown(dark)) == []


def test_one_frame_is_a_scene():
  alone = video(pan(9, 1))
  assert scenes.scenes(alone, shown(alone)) == [Scene(0, 1, "span")]


@pytest.mark.parametrize("every, expected", [(25, 1.0), (10, 2.5), (4, 6.0)])
def test_flashes_are_counted_in_the_second_around(every, expected):
  mean = np.full(100, 80.0, np.float32)
  mean[10::every] = 200
  found = scenes.flashes(mean, shown(mean))
  assert abs(found[50] - expected) <= 0.5
  np.testing.assert_array_equal(scenes.flashes(mean[:10], shown(mean[:10])), 0)


def test_a_slow_fade_and_noise_are_no_flashes():
  fade = np.linspace(20, 200, 100, dtype=np.float32)
  noise = 100 + np.random.default_rng(0).uniform(-5, 5, 100).astype(np.float32)
  assert scenes.flashes(fade, shown(fade)).max() <= 0.5
  assert scenes.flashes(noise, shown(noise)).max() == 0


def test_a_strobe_has_no_cuts():
  lit = video(pan(10, 75))
  lit[np.arange(75) % 8 < 4] //= 5
  assert len(scenes.scenes(lit, shown(lit, 50))) == 1
