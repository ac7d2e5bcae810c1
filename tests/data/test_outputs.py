"""Outputs of every kind, and names that cannot be written to."""

import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes import world

CLIP = world.clip(world.EXAMPLES[0], 0, 9, 64, 96)


@pytest.mark.parametrize(
  ("name", "clip", "fps", "named"),
  [
    ("a.bmp", CLIP, 24.0, "'.bmp'; what can be written is .mp4 .mov .webm .gif"),
    ("a.jpg", CLIP, 24.0, "is not written: .jpg holds one frame, but there are 9"),
    ("a.mp4", CLIP[:0], 24.0, "is empty"),
    ("a.mp4", CLIP, 0.0, "fps must be positive, found 0"),
    ("a.mp4", CLIP, float("nan"), "found nan"),
  ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, clip, fps, named):
  with pytest.raises(ValueError) as error:
    video.write(tmp_path / name, clip, fps)
  assert named in str(error.value) and str(tmp_path / name) in str(error.value)
  assert not list(tmp_path.iterdir())


def test_a_folder_has_a_numbered_png_for_each_frame(tmp_path):
  video.write(tmp_path / "frames", CLIP, 24.0)
  names = sorted(path.name for path in (tmp_path / "frames").iterdir())
  assert names == [f"{i:05d}.png" for i in range(9)]
  for name, frame in zip(names, CLIP, strict=True):
    np.testing.assert_array_equal(video.read(tmp_path / "frames" / name)[0][0], frame)
  with pytest.raises(ValueError, match="frames is a folder that exists already"):
    video.write(tmp_path / "frames", CLIP, 24.0)
  (tmp_path / "empty").mkdir()
  video.write(tmp_path / "empty", CLIP[:2], 24.0)
  assert len(list((tmp_path / "empty").iterdir())) == 2
  assert len(list(tmp_path.iterdir())) == 2  # No half-written file is left.


def test_one_frame_may_be_a_jpeg(tmp_path):
  video.write(tmp_path / "a.jpg", CLIP[:1], 24.0)
  found, fps = video.read(tmp_path / "a.jpg")
  assert fps == 0 and np.abs(found.astype(int) - CLIP[:1]).mean() < 3


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_folder_that_has_no_name_of_its_own_is_none_for_pngs(
  tmp_path, monkeypatch, name
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="is a folder that exists already; give a file"):
    video.write(name, CLIP, 24.0)
