"""Windows: a crop has the same ones, and only what lies in the whole is a crop."""

import functools

import numpy as np
import pytest

from ltx_jax.curation import windows
from ltx_jax.curation.windows import COUNT, RULE
from tests.curation.test_scenes import texture

picture = functools.lru_cache(texture)  # It takes a while to draw.


def still(seed, top=20, bottom=164, left=40, right=296):
  return picture(seed)[top:bottom, left:right].clip(0, 255).astype(np.uint8)


def seen(*stills):
  """The windows of one clip of these stills."""
  return np.concatenate([windows.windows(image[None]) for image in stills])[None]


def likeness(whole, crop):
  return int(windows.shared(seen(whole), seen(crop)).sum())


CROPS = [(26, 160, 44, 290), (20, 164, 40, 250), (40, 164, 60, 296)]


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_shares_windows_with_the_whole(crop):
  found = [likeness(still(k), still(k, *crop)) for k in range(6)]
  assert np.mean(np.array(found) >= RULE.likeness) > 0.8


def test_the_whole_is_no_crop_of_its_crop():
  assert all(likeness(still(k, *CROPS[2]), still(k)) < RULE.likeness for k in range(6))


def test_a_crop_may_have_another_size_and_light():
  small = still(1, *CROPS[0])[::2, ::2]
  dark = (still(1, *CROPS[0]) * 0.8 + 10).astype(np.uint8)
  assert likeness(still(1), small) >= RULE.likeness
  assert likeness(still(1), dark) >= RULE.likeness


def placed(*sides):
  """Windows of one still with hashes of their own, at places in 63rds."""
  hashes = np.random.default_rng(0).integers(0, 2**40, len(sides), np.uint64)
  shifts = np.array([18, 12, 6, 0])
  places = (np.array(sides, np.int64) << shifts).sum(1).astype(np.uint64)
  return ((hashes << np.uint64(24)) | places)[None, None]


def test_windows_that_place_the_crop_elsewhere_do_not_count():
  whole = placed((20, 20, 40, 40), (10, 20, 40, 50), (20, 20, 40, 40))
  assert windows.shared(whole, whole) == 3 * (RULE.bits + 1)
  crop = placed((20, 20, 40, 40), (10, 20, 40, 50), (10, 20, 40, 40))
  assert windows.shared(whole, crop) == 2 * (RULE.bits + 1)


def test_windows_at_the_same_place_that_differ_speak_against_a_crop():
  whole = placed((20, 20, 40, 40), (10, 20, 40, 50), (20, 20, 50, 50))
  crop = whole.copy()
  crop[0, 0, 2] ^= np.uint64(0xFF << 24)
  assert windows.shared(whole, crop) == (2 - 1) * (RULE.bits + 1)
  # Elsewhere they say nothing.
  crop[0, 0, 2] += np.uint64((8 << 18) + (8 << 6))
  assert windows.shared(whole, crop) == 2 * (RULE.bits + 1)


def test_other_mirrored_and_shifted_pictures_are_no_crops():
  for k in range(6):
    assert likeness(still(k), still(k + 1)) < RULE.likeness
    assert likeness(still(k), still(k)[:, ::-1]) < RULE.likeness
    # A camera that turned by an eighth of its view.
    assert likeness(still(k), still(k, left=72, right=328)) < RULE.likeness


def test_a_window_is_as_wide_as_its_two_spots_are_apart():
  image = np.full((64, 64, 3), 100, np.uint8)
  image[14:18, 10:14] = image[34:38, 42:46] = 250
  for y, x in (
    (26, 20),
    (20, 36),
    (40, 30),
    (8, 28),
  ):  # Fainter, so that it says something.
    image[y : y + 4, x : x + 4] = 130
  first = int(windows.windows(image[None])[0, 0])
  sides = [(first >> shift & 63) / 63 for shift in (18, 12, 6, 0)]
  # From 12 to 44, and as high about the spots' middle, 26.
  np.testing.assert_allclose(sides, np.array([12, 10, 44, 42]) / 64, atol=0.02)


def test_pictures_without_detail_have_no_windows():
  ramp = np.tile(np.arange(252, 0, -4, dtype=np.uint8)[None, :, None], (40, 1, 3))
  assert not windows.windows(np.stack([ramp, np.zeros_like(ramp)])).any()
  assert not windows.windows(np.zeros((1, 3, 200, 3), np.uint8)).any()


def test_windows_are_written_and_read():
  found = windows.windows(np.stack([still(0), still(1)]))
  found[0, 5:] = 0
  text = windows.to_text(found)
  assert [len(each) for each in text] == [16 * 5, 16 * (found[1] > 0).sum()]
  read = np.frombuffer(windows.from_text(text), "<u8").reshape(2, COUNT)
  np.testing.assert_array_equal(read, found)
  assert windows.from_text(()) == b""
  for wrong in ("xyz", "00" * 7, "00" * 8 * (COUNT + 1)):
    with pytest.raises(ValueError, match=r"windows '.* up to 12 numbers of 64 bits"):
      windows.from_text([wrong])


def corpus():
  """Windows of 20 clips of three stills, and crops of every fourth of them."""
  whole = [[still(k, left=x, right=x + 256) for x in (20, 40, 60)] for k in range(20)]
  crops = [[image[6:138, 8:240] for image in clip] for clip in whole[::4]]
  return np.concatenate([seen(*clip) for clip in (*whole, *crops)])


def test_crops_are_found_among_others_in_any_order():
  clips = corpus()
  expected = {(4 * k, 20 + k) for k in range(5)}
  for seed in range(3):
    order = np.random.default_rng(seed).permutation(len(clips))
    one, other = windows.cropped(clips[order], 2)
    found = {tuple(sorted(pair)) for pair in zip(order[one], order[other], strict=True)}
    assert found == expected


def test_enough_windows_of_enough_stills_must_be_the_same():
  clips = corpus()[[0, 20]]
  assert len(windows.cropped(clips, 3)[0]) == 1
  clips[1, 0] = 0
  assert len(windows.cropped(clips, 3)[0]) == 0
  assert len(windows.cropped(clips, 2)[0]) == 1
  assert len(windows.cropped(clips, 2, RULE._replace(likeness=49))[0]) == 0


def test_windows_that_many_clips_share_say_nothing():
  clips = np.repeat(corpus()[:1], 9, axis=0)
  assert len(windows.cropped(clips, 2, RULE._replace(crowd=9))[0]) == 36
  assert len(windows.cropped(clips, 2, RULE._replace(crowd=8))[0]) == 0


def test_none_is_no_pair():
  for clips in (0, 1):
    assert len(windows.cropped(np.zeros((clips, 3, COUNT), np.uint64), 2)[0]) == 0
