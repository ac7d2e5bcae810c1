import json

import numpy as np
import pytest

from ltx_jax.metrics.figure import figure, no_weights

VALUES = np.array([30.0, 31, 33, 34])


def test_a_line_has_the_number_its_interval_its_clips_and_its_recipe():
  found = figure("psnr", VALUES, "8 bits, 17 frames of 64x64", "dB")
  assert found.line == (
    "psnr 32 dB, 95 % interval 29.09 to 34.91, 4 clips; 8 bits, 17 frames of 64x64"
  )
  assert json.loads(json.dumps(found.as_json()))["n"] == 4


def test_clips_of_one_source_widen_the_interval():
  sources = np.array(["a", "a", "b", "b"])
  found = figure("psnr", VALUES, "8 bits", sources=sources)
  assert "4 clips of 2 sources" in found.line
  assert found.low < figure("psnr", VALUES, "8 bits").low


def test_one_clip_has_no_interval_and_says_so():
  assert figure("ssim", VALUES[:1], "8 bits").line == (
    "ssim 30, no interval, 1 clip; 8 bits"
  )


def test_absent_weights_give_a_sentence_and_no_number():
  found = no_weights("lpips-vgg16", "the weights of VGG16", "name a file")
  assert (found.value, found.shown) == (None, "no weights")
  assert found.line == (
    "lpips-vgg16: no weights. lpips-vgg16 needs the weights of VGG16, which this "
    "install does not have; name a file."
  )


def test_a_number_that_is_not_finite_is_refused():
  with pytest.raises(ValueError, match="Observation 1 is inf"):
    figure("psnr", np.array([30, np.inf]), "8 bits")
