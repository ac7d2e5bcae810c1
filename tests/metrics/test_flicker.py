import math

import numpy as np
import pytest

from ltx_jax.metrics.flicker import difference_error_by_frame, motion_ratio

RNG = np.random.default_rng(0)
REFERENCE = RNG.integers(0, 200, (4, 5, 6, 3), np.uint8)


def test_a_steady_error_is_no_flicker():
  steady = REFERENCE + np.uint8(40)
  np.testing.assert_array_equal(difference_error_by_frame(steady, REFERENCE), 0)
  assert motion_ratio(steady, REFERENCE) == 1


def test_an_error_in_one_frame_counts_when_it_comes_and_when_it_goes():
  flashed = REFERENCE.copy()
  flashed[2] += 30
  np.testing.assert_array_equal(
    difference_error_by_frame(flashed, REFERENCE), [0, 30, 30]
  )


def test_the_ratio_compares_absolute_changes_of_the_whole_clip():
  slow = REFERENCE.astype(np.float32) / 4
  assert motion_ratio(slow, REFERENCE) == pytest.approx(0.25)
  changes = [
    np.abs(np.diff(clip.astype(float), axis=0)).mean()
    for clip in (REFERENCE[::-1, ::-1], REFERENCE)
  ]
  assert motion_ratio(REFERENCE[::-1, ::-1], REFERENCE) == pytest.approx(
    changes[0] / changes[1]
  )


def test_clips_that_stand_still_and_single_frames_have_a_ratio():
  still = np.repeat(REFERENCE[:1], 4, axis=0)
  assert motion_ratio(still, still) == 1
  assert motion_ratio(REFERENCE, still) == math.inf
  assert motion_ratio(still, REFERENCE) == 0
  assert motion_ratio(REFERENCE[:1], still[:1]) == 1
  assert difference_error_by_frame(REFERENCE[:1], still[:1]).shape == (0,)
