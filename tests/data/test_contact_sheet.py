import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.moving_shapes import world

CAPTIONS = world.captions()[::200]
CLIPS = [world.clip(caption, 0, 9, 64, 64) for caption in CAPTIONS]


def test_a_sheet_shows_first_and_last_frames_and_labels(tmp_path):
  path = tmp_path / "sheet.png"
  contact_sheet(path, CLIPS, CAPTIONS, columns=1, frames=3, height=64)
  sheet = video.read(path)[0][0]
  np.testing.assert_array_equal(sheet[6:70, 6:70], CLIPS[0][0])
  np.testing.assert_array_equal(sheet[6:70, 138:202], CLIPS[0][-1])
  below = sheet[72:88, 6:202]
  assert below.min() < 60 and below.max() == 255  # Ink on paper.


def test_marked_labels_are_red(tmp_path):
  for marked in (False, True):
    contact_sheet(
      tmp_path / "sheet.png", CLIPS[:1], CAPTIONS[:1], marked=[marked], height=64
    )
    below = video.read(tmp_path / "sheet.png")[0][0][72:].astype(int)
    assert ((below[..., 0] - below[..., 1]).max() > 100) == marked


def test_clips_of_several_sizes_and_lengths_fit(tmp_path):
  clips = [CLIPS[0][:1], CLIPS[1][:, :32], CLIPS[2][:, :, :40], CLIPS[3]]
  contact_sheet(tmp_path / "sheet.png", clips, CAPTIONS, columns=3, height=48)
  assert video.read(tmp_path / "sheet.png")[0].shape[0] == 1


def test_no_clips_and_missing_labels_are_refused(tmp_path):
  with pytest.raises(ValueError, match="found 0 clips and 0 labels"):
    contact_sheet(tmp_path / "sheet.png", [], [])
  with pytest.raises(ValueError, match="found 4 clips and 1 labels"):
    contact_sheet(tmp_path / "sheet.png", CLIPS, ["one"])
