"""Motion: speeds whatever the rate, camera and objects apart, repeats, stillness."""

import functools

import numpy as np
import pytest

from tests.curation.test_scenes import texture

pytest.importorskip("cv2")
from ltx_jax.curation import motion as motions
from ltx_jax.curation.motion import Motion

SIDE = 72, 128
DIAGONAL = float(np.hypot(*SIDE))
SPEEDS = np.geomspace(0.004, 0.6, 5)


@functools.cache
def large(seed):
  return texture(seed)


def shown(seed, y, x, side):
  """A part of a texture from a place between pixels; it repeats beyond its edges."""
  image = large(seed)
  rows, columns = np.arange(side[0]) + y, np.arange(side[1]) + x
  i, j = np.floor(rows).astype(int), np.floor(columns).astype(int)
  v, u = (rows - i)[:, None, None], (columns - j)[None, :, None]

  def at(a, b):
    # There and back again, so that no edge appears.
    a, b = (np.abs((n + s) % (2 * s) - s) for n, s in ((a, 215), (b, 383)))
    return image[np.ix_(a, b)]

  top = (1 - u) * at(i, j) + u * at(i, j + 1)
  return (1 - v) * top + v * ((1 - u) * at(i + 1, j) + u * at(i + 1, j + 1))


def clip(speed, fps, what, noise=0.5):
  """A second of a pan, of an object before a still background, or of both."""
  rng, frames = np.random.default_rng(0), []
  for k in range(fps + 1):
    far = speed * DIAGONAL * k / fps
    camera, own = far * ("pan" in what), far * ("object" in what)
    image = shown(1, 40 + 0.3 * camera, 60 + 0.954 * camera, SIDE)
    if "object" in what:
      # To and fro, within the image.
      left = np.abs((own + 20) % 140 - 70)
      x = int(left)
      image[20:52, x : x + 44] = shown(2, 30, 50 - (left - x), (32, 44))
    frames.append(image + rng.normal(0, noise, image.shape))
  return np.stack(frames).round().clip(0, 255).astype(np.uint8), np.arange(
    fps + 1
  ) / fps


def measured(*case):
  return motions.motion(*clip(*case))


@pytest.mark.parametrize("fps", [12, 60])
def test_a_pan_has_its_speed_whatever_the_rate(fps):
  found = [measured(speed, fps, "pan") for speed in SPEEDS]
  np.testing.assert_allclose([m.camera for m in found], SPEEDS, rtol=0.1)
  np.testing.assert_allclose([m.mean for m in found], SPEEDS, rtol=0.1)
  assert max(m.local / m.camera for m in found) < 0.2
  assert all(motions.moving(m) == (True, False) for m in found)


@pytest.mark.parametrize("fps", [12, 60])
def test_an_object_moves_and_the_camera_does_not(fps):
  found = [measured(speed, fps, "object") for speed in SPEEDS[1:4]]
  local = [m.local for m in found]
  np.testing.assert_allclose(local, SPEEDS[1:4], rtol=0.5)
  assert all(motions.moving(m) == (False, True) for m in found)


def test_camera_and_object_move_both():
  found = measured(0.1, 24, "pan object")
  assert motions.moving(found) == (True, True)
  assert found.camera == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize("noise", [0, 0.5, 2])
def test_a_frozen_clip_does_not_move(noise):
  found = motions.motion(*clip(0.0, 24, "pan", noise))
  assert max(found[:4]) < 0.005
  assert motions.moving(found) == (False, False)
  assert (found.repeated == 24 / 25) == (noise == 0)


def test_a_padded_rate_is_seen_through():
  small, seconds = clip(0.1, 24, "pan")
  at = np.arange(61) * 24 // 60
  found = motions.motion(small[at], np.arange(61) / 60)
  plain = motions.motion(small, seconds)
  assert found.rate == pytest.approx(24, rel=0.05)
  assert found.repeated == pytest.approx(0.6, abs=0.03)
  assert found.camera == pytest.approx(plain.camera, rel=0.1)
  assert plain.repeated == 0 and plain.rate == pytest.approx(24)


def test_a_slow_clip_does_not_repeat():
  small, _ = clip(0.004, 60, "pan", 0.0)
  assert motions.repeated(small[..., 1].copy()).mean() < 0.2


def test_variable_rates_are_measured_by_their_times():
  small, seconds = clip(0.1, 24, "pan")
  kept = np.sort(np.random.default_rng(3).permutation(25)[:14])
  found = motions.motion(small[kept], seconds[kept])
  assert found.camera == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_have_no_motion(frames):
  small = np.full((frames, *SIDE, 3), 90, np.uint8)
  found = motions.motion(small, np.arange(frames) / 24)
  assert found == Motion(0.0, 0.0, 0.0, 0.0, (frames - 1) / frames, 0.0)


@pytest.mark.parametrize("what", ["noise", "white", "bars", "cut"])
def test_what_has_no_motion_has_finite_numbers(what):
  rng = np.random.default_rng(5)
  small = rng.integers(0, 256, (13, *SIDE, 3), np.uint8)
  if what == "white":
    small = 254 + small // 255
  elif what == "bars":
    small[:] = np.repeat(np.arange(8) * 32, 16)[:, None]
    small[::2] += 2
  elif what == "cut":
    small[:6], small[6:] = 20, 240
  found = motions.motion(small, np.arange(13) / 12)
  assert np.isfinite(found).all()
  assert max(found[:4]) < 0.05 or what == "noise"
