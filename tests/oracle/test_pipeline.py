"""Whole sampling runs against the PyTorch original's pipeline, live."""

import numpy as np
import pytest

pytest.importorskip("torch")

import ltx_jax
from ltx_jax.platforms import CPU
from tests import pipeline_case as case
from tests.models.transformer_case import relative_error
from tests.oracle.make_golden_pipeline import original

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", case.RUNS)
def test_latents_and_video(name):
  run = case.RUNS[name]
  latents, video, names = original(name)
  model = ltx_jax.LTXVideo(case.config(run.scheduler), case.params(), CPU)

  drawn = []

  def draws(name, shape):
    drawn.append(name)
    return case.draws(name, shape)

  ours = case.denoise(model, run, draws=draws)
  sampling = run.sampling
  decoded = model.decode(
    ours, sampling.decode_sigma, sampling.decode_noise, draws=draws
  )
  errors = relative_error(ours, latents), relative_error((decoded + 1) / 2, video)
  print(f"{name}: latents {errors[0]:.1e}, video {errors[1]:.1e}")
  assert errors[0] < 1e-4
  assert errors[1] < 1e-3
  assert 0.01 < np.mean((video > 0) & (video < 1))
  assert sorted(drawn) == sorted(names)
