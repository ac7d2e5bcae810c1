import numpy as np
import pytest

from ltx_jax.metrics.psnr import psnr, psnr_inside

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
