import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.metrics.frames import check_pair, frames_8bit, plain, remarks, still
from ltx_jax.metrics.psnr import psnr_of_clip, squared_error


def video(frames=3):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (2, frames, 4, 6, 3), np.uint8)


def test_floats_are_rounded_and_bytes_are_kept():
  levels = np.array([-1, -0.001, 0.001, 0.5, 1, 1.7], np.float32)
  floats = np.broadcast_to(levels[:, None], (1, 1, 1, 6, 3))
  np.testing.assert_array_equal(
    frames_8bit(floats)[0, 0, 0, :, 0], [0, 127, 128, 191, 255, 255]
  )
  given = video()
  assert frames_8bit(given) is given
  found = frames_8bit(jnp.asarray(given / 127.5 - 1, jnp.bfloat16))
  assert found.dtype == np.uint8 and abs(found.astype(int) - given).max() <= 1


def test_cutting_off_instead_of_rounding_would_be_seen():
  """A reconstruction that is right to half a level has 100 dB."""
  given = video()
  floats = (given + np.random.default_rng(1).uniform(-0.49, 0.49, given.shape)) / 127.5
  error = squared_error(frames_8bit((floats - 1).astype(np.float32)), given)
  assert psnr_of_clip(error).tolist() == [100, 100]


def test_a_broken_frame_is_named():
  floats = video().astype(np.float32) / 255
  floats[1, 2, 0, 0, 0] = np.nan
  floats[1, 1, 3, 3, 1] = np.inf
  with pytest.raises(
    ValueError, match="Mine holds NaN or infinity in frame 1 of clip 1, and in 1 more"
  ):
    frames_8bit(floats, "Mine")


def test_other_types_are_refused():
  with pytest.raises(ValueError, match="int64; give uint8, or floats"):
    frames_8bit(video().astype(np.int64))


def test_frames_that_do_not_correspond_are_refused_with_both_names():
  one = video()
  check_pair(one, one, fps=(24.0, 24.0))
  with pytest.raises(ValueError, match="a.mp4 has 3 frames of 6x4, b.mp4 has 2 frames"):
    check_pair(one, video(2), ("a.mp4", "b.mp4"))
  with pytest.raises(ValueError, match="a.mp4 has 24 frames per second, b.mp4 25"):
    check_pair(one, one, ("a.mp4", "b.mp4"), (24.0, 25.0))


def test_still_and_plain_clips_are_counted():
  clips = np.concatenate([video(), np.zeros((1, 3, 4, 6, 3), np.uint8)])
  clips[1, :] = clips[1, :1]
  assert still(clips).tolist() == [False, True, True]
  assert plain(clips).tolist() == [False, False, True]
  assert remarks(clips) == [
    "2 of 3 clips do not move.",
    "1 of 3 clips are of one colour.",
  ]
  assert remarks(video()) == []
