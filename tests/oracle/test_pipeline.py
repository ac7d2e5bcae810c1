"""Whole sampling runs against the PyTorch original's pipeline, live."""

import numpy as np
import pytest

pytest.importorskip("torch")

import ltx_jax
from ltx_jax.platforms import CPU
from tests import pipeline_case as case
from tests.models.transformer_case import relative_error
from tests.oracle.make_golden_pipeline import original, original_one_by_one

pytestmark = pytest.mark.filterwarnings("ignore")


def compare(name, run, latents, video, names):
  model = ltx_jax.LTXVideo(case.config(run.scheduler), case.params(), CPU)

  drawn = []

  def draws(name, shape):
    drawn.append(name)
    return case.draws(name, shape)

  ours = case.denoise(model, run, draws=draws)
  sampling = run.sampling
  decoded = model.decode(
    ours,
    sampling.decode_sigma,
    sampling.decode_noise,
    draws=draws,
    tone_map=sampling.tone_map,
  )
  errors = relative_error(ours, latents), relative_error((decoded + 1) / 2, video)
  print(f"{name}: latents {errors[0]:.1e}, video {errors[1]:.1e}")
  assert errors[0] < 1e-4
  assert errors[1] < 1e-3
  assert 0.01 < np.mean((video > 0) & (video < 1))
  assert sorted(drawn) == sorted(names)


@pytest.mark.parametrize("name", case.RUNS)
def test_latents_and_video(name):
  compare(name, case.RUNS[name], *original(name))


@pytest.mark.parametrize("name", case.GUIDED)
def test_a_batch_is_what_the_original_makes_of_each_clip(name):
  """Guidance of the original is right for one clip at a time; ours for any number."""
  compare(name, case.GUIDED[name], *original_one_by_one(name))
