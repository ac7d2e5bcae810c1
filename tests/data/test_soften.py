"""Frames that are cropped, blurred and compressed before they are given."""

import numpy as np

from ltx_jax.data.soften import soften
from ltx_jax.pipeline.media import load_frames


def frames(height, width, count=1):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_middle_is_cut_to_the_proportions_of_the_frame():
  wide = frames(16, 40)
  middle = soften(wide[:, :, 8:32], 16, 24, 0)
  np.testing.assert_array_equal(soften(wide, 32, 48, 0), middle)
  assert soften(frames(40, 16), 32, 48, 0).shape == (1, 10, 16, 3)


def test_a_blur_keeps_flat_areas_and_spreads_a_point():
  flat = np.full((1, 8, 8, 3), 128, np.uint8)
  np.testing.assert_array_equal(soften(flat, 8, 8, 0), flat)
  point = np.zeros((1, 7, 7, 3), np.uint8)
  point[0, 3, 3] = 255
  spread = soften(point, 7, 7, 0)[0, 2:5, 2:5, 0]
  taps = np.array([0.27406862, 0.45186276, 0.27406862])
  np.testing.assert_array_equal(spread, np.floor(255 * np.outer(taps, taps)))


def test_compression_is_coarser_with_a_larger_factor_and_even():
  clip = frames(33, 49, 2)
  plain = soften(clip, 33, 49, 0).astype(int)[:, :32, :48]
  errors = []
  for crf in (1, 29, 51):
    soft = soften(clip, 33, 49, crf)
    assert soft.shape == (2, 32, 48, 3) and soft.dtype == np.uint8
    errors.append(np.abs(soft - plain).mean())
  assert errors[0] < errors[1] < errors[2]


def test_media_are_softened_before_they_are_scaled():
  picture = frames(16, 24)
  soft = load_frames(picture, height=32, width=48, crf=29)
  assert soft.shape == (1, 32, 48, 3) and soft.dtype == np.float32
  corner = soften(picture, 32, 48, 29)[0, 0, 0]
  np.testing.assert_allclose(soft[0, 0, 0], corner / 127.5 - 1, rtol=1e-5, atol=1e-6)
  floats = picture.astype(np.float32) / 127.5 - 1
  np.testing.assert_array_equal(soft, load_frames(floats, height=32, width=48, crf=29))
