"""Estimated motion agrees with the true one where it is trusted."""

import numpy as np
import pytest

from ltx_jax.metrics.warp import warp_errors
from tests.curation.test_scenes import texture

pytest.importorskip("cv2")
from ltx_jax.metrics import optical_flow

SIDE = 96, 128


def shifted(step, frames=4):
  """A wide texture that moves by `step` (down, right) pixels a frame."""
  wide = texture(0)
  rows, columns = (16 - np.rint(k * np.arange(frames)).astype(int) for k in step)
  return np.stack(
    [wide[y : y + SIDE[0], x : x + SIDE[1]] for y, x in zip(rows, columns, strict=True)]
  ).astype(np.uint8)


@pytest.mark.parametrize("step", [(0, 0), (3, 0), (0, -4), (2, 5)])
def test_a_moving_texture_has_its_motion_down_and_right(step):
  for flow, visible in optical_flow.motions(shifted(step)):
    assert visible[16:-16, 16:-16].mean() > 0.97
    inner = flow[16:-16, 16:-16][visible[16:-16, 16:-16]]
    np.testing.assert_allclose(np.median(inner, 0), step, atol=0.1)


def test_the_estimate_takes_motion_away():
  video = shifted((2, 5))
  noisy = video.astype(float) + np.random.default_rng(0).normal(0, 8, video.shape)
  noisy = np.clip(noisy, 0, 255).astype(np.uint8)
  own, worse = warp_errors([video, noisy], optical_flow.motions(video))
  unmoved = np.square(np.diff(video / 255, axis=0)).mean()
  assert own < 0.05 * unmoved and worse > 5 * own


def test_what_is_covered_next_is_not_counted():
  """A square before a texture: what it covers next does not come back."""
  video = shifted((0, 0), 2)
  ink = texture(5)[:40, :40]
  video[0, 30:70, 30:70], video[1, 30:70, 38:78] = ink, ink
  ((_, visible),) = optical_flow.motions(video)
  assert visible[34:66, 34:66].mean() > 0.9
  assert visible[34:66, 71:77].mean() < 0.5


def test_frames_too_small_to_search_show_nothing():
  ((flow, visible),) = optical_flow.motions(np.zeros((2, 8, 40, 3), np.uint8))
  assert flow.shape == (8, 40, 2) and not visible.any()
