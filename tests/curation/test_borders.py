"""Borders: exact on every side, none in dark images, split where they change."""

import numpy as np
import pytest

from ltx_jax.curation import borders
from ltx_jax.curation.borders import BorderRule, Profiles

H, W = 96, 160


def profiles(*frames):
  *lines, luma = zip(*map(borders.profile, frames), strict=True)
  return Profiles(*map(np.stack, lines), np.array(luma), 8 * np.arange(len(frames)))


def image(seed, low=60):
  return np.random.default_rng(seed).integers(low, 236, (H, W), dtype=np.uint8)


def padded(seed, top=0, bottom=0, left=0, right=0, low=60):
  frame = image(seed, low)
  frame[:top], frame[H - bottom :] = 16, 16
  frame[:, :left], frame[:, W - right :] = 16, 16
  return frame


def test_profiles_are_percentiles_of_lines():
  luma = image(0)[:, :120]
  rows, columns, mean = borders.profile(luma)
  assert mean == luma[::2, ::2].mean()
  for found, axis in ((rows, 1), (columns, 0)):
    expected = np.percentile(luma, [95, 75, 50], axis=axis, method="nearest")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  "sides",
  [
    {},
    {"top": 12, "bottom": 12},
    {"left": 7},
    {"top": 3, "bottom": 30, "left": 20, "right": 41},
  ],
)
def test_the_crop_is_exact_on_every_side(sides):
  found = borders.crop(profiles(*(padded(n, **sides) for n in range(10))))
  x, y = sides.get("left", 0), sides.get("top", 0)
  width, height = W - x - sides.get("right", 0), H - y - sides.get("bottom", 0)
  assert found == (x, y, width, height)


def test_a_subtitle_in_the_bar_does_not_hide_the_bar():
  frames = [padded(n, bottom=20) for n in range(10)]
  for frame in frames:
    frame[-10:-6, 76:82] = 235
  assert borders.crop(profiles(*frames)) == (0, 0, W, H - 20)


def test_a_dark_scene_with_a_bright_spot_is_not_cropped():
  frames = []
  for n in range(10):
    frame = np.full((H, W), 18, np.uint8)
    frame[40:56, 70 + n : 90 + n] = 235
    frames.append(frame)
  assert borders.crop(profiles(*frames)) == (0, 0, W, H)


def test_a_bar_into_which_compression_bleeds_is_cropped_whole():
  frames = [padded(n, top=12, low=200) for n in range(10)]
  for n, frame in enumerate(frames):
    frame[8:12] = np.array([22, 26, 30, 34 + n % 2])[:, None]
  assert borders.crop(profiles(*frames)) == (0, 12, W, H - 12)
  for frame in frames:
    frame[12:20] = 60  # The image begins darkly.
  assert borders.crop(profiles(*frames)) == (0, 12, W, H - 12)


def test_a_gray_edge_is_no_bar():
  frames = [padded(n, low=200) for n in range(10)]
  for frame in frames:
    frame[:10] = 50  # As dark as lines into which an image bleeds, but no bar behind.
  assert borders.crop(profiles(*frames)) == (0, 0, W, H)


def test_an_image_that_grows_dark_slowly_has_no_bar():
  ramp = np.clip(np.arange(H) - 10, 0, None)[:, None]
  frames = [(16 + ramp + image(n, 60) % 4).astype(np.uint8) for n in range(10)]
  assert borders.crop(profiles(*frames)) == (0, 0, W, H)


def test_long_lines_have_the_percentiles_of_a_part_of_their_pixels():
  luma = np.random.default_rng(0).integers(0, 256, (300, 500), dtype=np.uint8)
  luma[:100] //= 4
  for found, axis in zip(borders.profile(luma)[:2], (1, 0), strict=True):
    expected = np.percentile(luma, [95, 75, 50], axis=axis)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 12


def test_a_planet_in_space_is_not_cropped():
  y, x = np.mgrid[:H, :W]
  planet = (y - H / 2) ** 2 + (x - W / 2) ** 2 < (0.4 * H) ** 2
  frames = [np.where(planet, image(n), 16).astype(np.uint8) for n in range(10)]
  assert borders.crop(profiles(*frames)) == (0, 0, W, H)


def test_dark_moments_do_not_vote():
  dark = np.full((H, W), 16, np.uint8)
  frames = [padded(n, top=10) for n in range(5)] + [dark] * 20
  assert borders.crop(profiles(*frames)) == (0, 10, W, H - 10)


def test_borders_too_narrow_or_too_wide_are_kept():
  assert borders.crop(profiles(padded(0, top=1))) == (0, 0, W, H)
  assert borders.crop(profiles(padded(0, left=80))) == (0, 0, W, H)


def test_a_letterbox_that_comes_and_goes_splits_the_clip():
  plain, boxed = ([padded(n, top=t, bottom=t) for n in range(6)] for t in (0, 14))
  found = profiles(*plain, *boxed, *plain)
  assert borders.changes(found) == [48, 96]
  assert borders.changes(profiles(*plain)) == []
  # A moment alone is no letterbox.
  assert borders.changes(profiles(*plain, boxed[0], *plain)) == []


def test_every_number_of_the_rule_matters():
  frames = profiles(*(padded(n, top=12) for n in range(10)))
  darker = {"dark": 10, "bleed": 10}
  for changed in (darker, {"least": 20}, {"most": 0.05}, {"vote": 250.0}):
    assert borders.crop(frames, BorderRule(**changed)) == (0, 0, W, H)
