import json

import numpy as np
import pytest

from ltx_jax.metrics.bands import BANDS
from ltx_jax.metrics.psnr import psnr
from ltx_jax.metrics.reconstruction import measure

RNG = np.random.default_rng(0)
REFERENCE = RNG.integers(0, 256, (3, 12, 14, 3), np.uint8)


def test_figures_of_frames_and_of_the_clip_go_into_json():
  video = np.clip(REFERENCE + RNG.normal(0, 9, REFERENCE.shape), 0, 255)
  video, seen = video.astype(np.uint8), []
  figures = measure(video, REFERENCE, seen.append)
  assert seen == [0, 1, 2]
  assert figures.psnr[1] == pytest.approx(psnr(video[1:2], REFERENCE[1:2], 255.0))
  found = json.loads(json.dumps(figures.as_json()))
  assert found["clip"]["psnr"] == pytest.approx(psnr(video, REFERENCE, 255.0))
  assert found["clip"]["ssim"] == pytest.approx(np.mean(found["frames"]["ssim"]))
  assert list(found["bands"]) == list(BANDS)
  lengths = {name: len(values) for name, values in found["frames"].items()}
  assert lengths == {"psnr": 3, "ssim": 3, "difference_error": 2}


def test_what_is_infinite_is_null_and_one_frame_is_enough():
  found = measure(REFERENCE[:1], REFERENCE[:1]).as_json()
  assert found["clip"] == {
    "psnr": None,
    "ssim": pytest.approx(1),
    "difference_error": 0,
    "motion_ratio": 1,
  }
  json.dumps(found, allow_nan=False)
