"""Images and clips that are given, and two passes, against the original, live."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from ltx_video.pipelines import crf_compressor

import ltx_jax
from ltx_jax.data.soften import soften
from ltx_jax.moving_shapes import world
from ltx_jax.platforms import CPU
from tests import tasks_case as case
from tests.models.transformer_case import relative_error
from tests.oracle import make_golden_tasks as theirs
from tests.pipeline.test_conditions import run_task
from tests.pipeline.test_multiscale import run_passes, scales  # noqa: F401

CAPTION = "a large red circle moving right on a navy background"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def original():
  return theirs.pipeline()


@pytest.mark.parametrize("name", case.TASKS)
def test_what_is_given(original, name):
  task = case.TASKS[name]
  model = ltx_jax.LTXVideo(case.CONFIG, case.params(), CPU)
  ours, drawn = run_task(model, task)
  latents, names = theirs.run_task(original, task)
  error = relative_error(ours, latents)
  print(f"{name}: {error:.1e}")
  assert error < 1e-4
  assert sorted(drawn) == sorted(names)


@pytest.mark.parametrize("name", case.PASSES)
def test_two_passes(original, scales, name):  # noqa: F811
  passes = case.PASSES[name]
  ours, video, drawn = run_passes(scales, passes)
  latents, expected, names = theirs.run_passes(original, passes)
  errors = relative_error(ours, latents), relative_error(video, expected)
  print(f"{name}: latents {errors[0]:.1e}, video {errors[1]:.1e}")
  assert errors[0] < 1e-4 and errors[1] < 1e-3
  assert sorted(drawn) == sorted(names)


def test_softened_media():
  """The original's compressor, after a blur that stands in for torchvision's."""
  picture = world.clip(CAPTION, 3, 1, 90, 128)
  image = torch.tensor(picture[0, :, 19:109]).moveaxis(-1, 0)[None] / 255
  taps = torch.exp(-0.5 * torch.arange(-1, 2) ** 2)
  kernel = (torch.outer(taps, taps) / taps.sum() ** 2).expand(3, 1, 3, 3)
  padded = torch.nn.functional.pad(image, [1] * 4, mode="reflect")
  blurred = torch.nn.functional.conv2d(padded, kernel, groups=3)
  expected = crf_compressor.compress(blurred[0].moveaxis(0, -1), 29) * 255
  ours = soften(picture, 64, 64, 29)[0]
  assert ours.shape == expected.shape
  assert np.abs(ours - expected.numpy()).mean() < 0.5
