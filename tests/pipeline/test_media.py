"""Conditions' media: every form a user may give gives the same frames."""

import numpy as np
import pytest
from PIL import Image

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.pipeline.media import fit_all, load_frames, whole_positions
from ltx_jax.sizes import Canvas


@pytest.fixture
def picture():
  return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_paths_pictures_and_arrays_are_the_same(picture, tmp_path):
  Image.fromarray(picture).save(tmp_path / "a.png")
  expected = picture[None].astype(np.float32) / 127.5 - 1
  forms = [
    tmp_path / "a.png",
    str(tmp_path / "a.png"),
    Image.fromarray(picture),
    picture,
    picture[None],
    expected,
    expected[0],
    expected.astype(np.float64),
  ]
  for form in forms:
    frames = load_frames(form, height=24, width=32)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected, atol=1e-6)


def test_pictures_are_turned_the_way_they_are_meant_to_be_seen(picture, tmp_path):
  exif = Image.Exif()
  exif[274] = 6  # Orientation: to be turned clockwise by a quarter.
  Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
  expected = load_frames(np.rot90(picture, -1), height=32, width=24)
  with Image.open(tmp_path / "a.png") as opened:
    for form in (tmp_path / "a.png", opened):
      np.testing.assert_array_equal(load_frames(form, height=32, width=24), expected)


def test_floats_are_scaled_and_cropped_as_bytes_are(picture):
  smooth = np.asarray(Image.fromarray(picture).resize((64, 96)))
  bytes_ = load_frames(smooth, height=20, width=30)
  floats = load_frames(smooth.astype(np.float32) / 127.5 - 1, height=20, width=30)
  assert bytes_.shape == floats.shape == (1, 20, 30, 3)
  assert np.abs(bytes_ - floats).max() < 1.5 / 127.5


def test_frames_are_cut_to_a_number_and_to_whole_positions(picture, caplog):
  clip = np.stack([picture] * 12)
  assert len(load_frames(clip, height=24, width=32, frames=10)) == 10
  frames = load_frames(clip, height=24, width=32)
  assert len(whole_positions(frames, 8)) == 9
  assert "has 12 frames; its first 9 are used" in caplog.text
  assert len(whole_positions(frames[:1], 8)) == 1


def test_one_condition_is_no_list_of_them(unchecked):
  one = Condition(np.zeros((4, 4, 3), np.uint8))
  with pytest.raises(ValueError, match=r"give a list, such as \[condition\]"):
    fit_all(one, Canvas.of(VAEConfig(), 1, 32, 32))


@pytest.mark.parametrize(
  ("media", "message"),
  [
    (np.full((4, 4, 3), 255.0), r"values from 255 to 255; .* \[-1, 1\]"),
    (np.full((4, 4, 3), np.nan), "values from nan"),
    (np.zeros((4, 4), np.float32), r"shape \(4, 4\)"),
    (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
    (np.zeros((2, 4, 4, 3), np.int64), "int64"),
    (np.zeros((0, 4, 4, 3), np.float32), r"shape \(0, 4, 4, 3\)"),
    (None, "NoneType"),
  ],
)
def test_what_is_no_picture_is_refused(media, message):
  with pytest.raises(ValueError, match=message):
    load_frames(media, height=4, width=4)


def test_a_photo_that_loses_much_is_noted_with_a_size_that_shows_it(caplog):
  photo = np.zeros((400, 300, 3), np.uint8)
  load_frames(photo, height=64, width=96)
  assert "50% of an image or clip of 300x400" in caplog.text
  assert "width 64 and height 96 show more" in caplog.text
  load_frames(photo, height=128, width=128)
  assert "25% of an image" in caplog.text and "width 96 and height 128" in caplog.text
  caplog.clear()
  load_frames(photo, height=96, width=64)
  assert not caplog.text
