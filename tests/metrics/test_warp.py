import numpy as np
import pytest

from ltx_jax.metrics.warp import Motion, flicker, ratio, warp_error, warp_errors
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.flow import flow

RNG = np.random.default_rng(0)
SIZE = 17, 64, 64


def noise(frames=4, height=6, width=8):
  return RNG.integers(0, 256, (2, frames, height, width, 3), np.uint8)


def test_flicker_is_the_mean_change_of_neighbours():
  video = noise()
  expected = abs(np.diff(video.astype(float), axis=1)).mean((1, 2, 3, 4)) / 255
  np.testing.assert_allclose(flicker(video), expected, atol=1e-6)
  assert flicker(np.repeat(video[:, :1], 3, 1)).tolist() == [0, 0]


def test_without_flow_the_error_is_the_change_of_what_is_visible():
  video = noise()
  visible = RNG.uniform(size=(2, 3, 6, 8)) < 0.5
  change = (np.diff(video.astype(float), axis=1) / 255) ** 2
  expected = [c.mean(-1)[v].mean() for c, v in zip(change, visible, strict=True)]
  found = warp_error(video, np.zeros((2, 3, 6, 8, 2), np.float32), visible)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_shift_by_the_flow_has_no_error_also_between_pixels():
  ramp = np.zeros((1, 2, 6, 9, 3), np.uint8)
  ramp[0, 0] = 20 * np.arange(9)[:, None]
  ramp[0, 1] = 20 * np.arange(9)[:, None] - 10 * (np.arange(9) > 0)[:, None]
  moved = np.zeros((1, 1, 6, 9, 2), np.float32)
  moved[..., 1] = 0.5
  visible = np.ones((1, 1, 6, 9), bool)
  visible[..., 0] = False
  # What would leave the frame, the last column, is not counted.
  assert warp_error(ramp, moved, visible)[0] == pytest.approx(0, abs=1e-10)
  assert warp_error(ramp, -moved, visible)[0] > 1e-3
  down = np.swapaxes(ramp, 2, 3)
  found = warp_error(
    down, np.swapaxes(moved, 2, 3)[..., ::-1], np.swapaxes(visible, 2, 3)
  )
  assert found[0] == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("caption", world.captions()[5::180])
def test_the_exact_flow_of_moving_shapes_takes_motion_away(caption):
  """The bar: under 5 % of the difference without flow."""
  video = world.clip(caption, 0, *SIZE)[None]
  moved, visible = (x[None] for x in flow(caption, 0, *SIZE))
  plain = warp_error(video, np.zeros_like(moved), np.ones_like(visible))
  assert warp_error(video, moved, visible)[0] < 0.05 * plain[0]
  assert visible.mean() > 0.6
  frozen = np.repeat(video[:, :1], SIZE[0], 1)
  assert flicker(frozen)[0] == 0
  unmoved = warp_error(video, np.zeros_like(moved), visible)
  assert warp_error(video, -moved, visible)[0] > unmoved[0] > 0


def test_two_frames_at_a_time_give_the_error_of_the_whole_clip():
  caption, rng = world.captions()[9], np.random.default_rng(1)
  video = world.clip(caption, 0, *SIZE)
  noisy = np.clip(video + rng.normal(0, 9, video.shape), 0, 255).astype(np.uint8)
  moved, visible = flow(caption, 0, *SIZE)
  both = np.stack([video, noisy])
  same = (np.stack([x, x]) for x in (moved, visible))
  found = warp_errors([video, noisy], map(Motion, moved, visible))
  np.testing.assert_allclose(found, warp_error(both, *same), rtol=1e-5)
  assert np.isnan(
    warp_errors([video], map(Motion, moved, np.zeros_like(visible)))
  ).all()


def test_nothing_visible_has_no_error():
  assert np.isnan(
    warp_error(noise(), np.zeros((2, 3, 6, 8, 2), "f4"), np.zeros((2, 3, 6, 8), bool))
  ).all()


def test_a_ratio_is_one_for_equal_and_infinite_where_only_the_original_is_still():
  found = ratio(np.array([2.0, 0, 3, 0]), np.array([4.0, 0, 0, 5]))
  np.testing.assert_array_equal(found, [0.5, 1, np.inf, 0])
