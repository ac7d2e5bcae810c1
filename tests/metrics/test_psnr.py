import numpy as np
import pytest

from ltx_jax.metrics.psnr import (
  psnr,
  psnr_inside,
  psnr_of_clip,
  psnr_of_frames,
  squared_error,
)

RNG = np.random.default_rng(0)
REFERENCE = RNG.integers(0, 256, (3, 8, 10, 3), np.uint8)


def test_a_constant_error_has_the_ratio_of_its_formula():
  video = np.zeros((2, 4, 4, 3), np.float32)
  assert psnr(video + 0.2, video, 2.0) == pytest.approx(20.0, abs=1e-4)
  assert psnr(video, video, 2.0) == float("inf")


def test_bytes_do_not_wrap():
  assert psnr(np.full_like(REFERENCE, 255), np.zeros_like(REFERENCE), 255.0) == 0


def test_scaling_pixels_and_peak_changes_nothing():
  noisy = np.clip(REFERENCE + RNG.normal(0, 9, REFERENCE.shape), 0, 255)
  scaled = psnr(noisy / 127.5 - 1, REFERENCE / 127.5 - 1, 2.0)
  assert psnr(noisy, REFERENCE, 255.0) == pytest.approx(scaled, abs=1e-4)


def test_the_error_is_pooled_before_the_logarithm():
  video = np.zeros((2, 4, 4, 3), np.float32)
  other = video.copy()
  other[1] = 0.2
  assert psnr(other, video, 1.0) == pytest.approx(10 * np.log10(2 / 0.04), abs=1e-4)


def test_only_pixels_inside_the_boxes_count():
  boxes = [(slice(i, i + 3), slice(2, 4 + i)) for i in range(3)]
  video = REFERENCE.astype(np.float32)
  for frame, box in zip(video, boxes, strict=True):
    inside = frame[box] + 5
    frame[:] = 0
    frame[box] = inside
  expected = 20 * np.log10(255 / 5)
  assert psnr_inside(video, REFERENCE, boxes, 255.0) == pytest.approx(expected)
  whole = [(slice(None), slice(None))] * 3
  assert psnr_inside(video, REFERENCE, whole, 255.0) == pytest.approx(
    psnr(video, REFERENCE, 255.0), abs=1e-4
  )


def by_frame(levels):
  """A clip of frames of one level above the reference's, and the reference."""
  video = np.stack([np.full((4, 6, 3), 100 + level, np.uint8) for level in levels])
  return video[None], np.full((1, len(levels), 4, 6, 3), 100, np.uint8)


def test_one_level_is_48_decibels_by_both_conventions():
  error = squared_error(*by_frame([1, 1, 1]))
  assert psnr_of_clip(error) == pytest.approx([48.1308], abs=1e-4)
  assert psnr_of_frames(error) == pytest.approx([48.1308], abs=1e-4)


def test_the_mean_of_frames_is_above_the_decibels_of_the_clip():
  error = squared_error(*by_frame([1, 10]))
  level = 20 * np.log10(255)
  assert psnr_of_clip(error) == pytest.approx([level - 10 * np.log10(50.5)], abs=1e-4)
  assert psnr_of_frames(error) == pytest.approx([level - 10], abs=1e-4)


def test_one_number_a_clip_and_equal_clips_have_100_decibels():
  clip = np.stack([REFERENCE, REFERENCE])
  other = clip.copy()
  other[1, 2] ^= 1
  error = squared_error(other, clip)
  assert error.shape == (2, 3)
  assert psnr_of_clip(error)[0] == 100 > psnr_of_clip(error)[1]
  # One frame of three is wrong, and the two others do not make the mean infinite.
  assert psnr_of_frames(error)[1] == pytest.approx((200 + 48.1308) / 3, abs=1e-3)


def test_the_clips_decibels_are_those_of_the_first_function():
  noisy = np.clip(REFERENCE + RNG.normal(0, 9, REFERENCE.shape), 0, 255)
  noisy = noisy.astype(np.uint8)
  found = psnr_of_clip(squared_error(noisy[None], REFERENCE[None]))
  assert found == pytest.approx([psnr(noisy, REFERENCE, 255.0)], abs=1e-4)
