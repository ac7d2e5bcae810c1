"""Two passes with an upscaler between them."""

import dataclasses
import pathlib

import numpy as np
import pytest

import ltx_jax
from ltx_jax import Condition, MultiScale, Sampling, TwoPasses
from ltx_jax.checkpoints.upsampler import save_upsampler
from ltx_jax.config import VAEConfig
from ltx_jax.pipeline import multiscale
from ltx_jax.pipeline.media import fit, stretch
from ltx_jax.planning import memory
from ltx_jax.sizes import Canvas
from tests import pipeline_case as base
from tests import tasks_case as case
from tests.models import upsampler_case
from tests.models.transformer_case import relative_error
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tasks.npz"


@pytest.fixture(scope="module")
def scales():
  model = ltx_jax.LTXVideo(case.CONFIG, case.params(), QUICK)
  params = upsampler_case.random_params(case.UPSAMPLER)
  return MultiScale(model, multiscale.Upscaler(case.UPSAMPLER, params))


def run_passes(scales, passes):
  """Returns our latents, video in [0, 1], and the draws' names."""
  names = []

  def draws(name, shape):
    names.append(name)
    return base.draws(name, shape)

  frames, height, width = case.LARGE
  text, negative = base.texts()
  latents = scales.denoise(
    text,
    width=width,
    height=height,
    frames=frames,
    fps=base.FPS,
    passes=passes,
    conditions=[Condition(case.media("large", 1, height, width))],
    negative=negative,
    draws=draws,
  )
  last = passes.second
  video = scales.model.decode(
    latents,
    last.decode_sigma,
    last.decode_noise,
    draws=lambda name, shape: draws(f"second/{name}", shape),
    tone_map=last.tone_map,
  )
  return latents, (stretch(video, height, width) + 1) / 2, names


@pytest.mark.parametrize("name", case.PASSES)
def test_two_passes_are_the_originals(scales, name):
  golden = np.load(GOLDEN)
  latents, video, _ = run_passes(scales, case.PASSES[name])
  assert latents.shape == (2, 2, 6, 6, 6)
  assert relative_error(latents, golden[name]) < 1e-4
  assert relative_error(video[:, ::2, ::4, ::4], golden[f"{name}/video"]) < 1e-3


def test_media_of_other_proportions_are_cropped_as_in_one_pass(scales):
  frames, height, width = case.LARGE
  tall = Condition(case.media("tall", 1, 2 * height, width))
  cropped = fit(tall, Canvas.of(scales.model.config.vae, frames, height, width))
  text, negative = base.texts()
  made = [
    scales.denoise(
      text,
      width=width,
      height=height,
      frames=frames,
      fps=base.FPS,
      passes=next(iter(case.PASSES.values())),
      conditions=[item],
      negative=negative,
    )
    for item in (tall, cropped)
  ]
  np.testing.assert_array_equal(*made)


def test_sizes_are_those_of_the_original():
  vae = VAEConfig()
  for asked, first in (
    ((704, 1216), (448, 800)),
    ((512, 768), (320, 480)),
    ((480, 704), (288, 448)),
  ):
    second = tuple(2 * side for side in first)
    assert multiscale.sizes(vae, *asked, 0.6666666) == (first, second)
  with pytest.raises(ValueError, match="64x32 is too small .* at least 49 pixels"):
    multiscale.sizes(vae, 32, 64, 0.6666666)


def test_generate_makes_what_is_asked_for(scales):
  passes = TwoPasses(
    Sampling(steps=1, guidance=1.0), Sampling(sigmas=(0.5,), guidance=1.0)
  )
  text, _ = base.texts()
  options = {"width": 45, "height": 40, "frames": 8, "passes": passes}
  one, again, other = (
    scales.generate(text, **options, seed=seed) for seed in (3, 3, 4)
  )
  assert one.shape == (2, 8, 40, 45, 3) and one.dtype == np.uint8
  np.testing.assert_array_equal(one, again)
  assert not np.array_equal(one, other)
  with pytest.raises(ValueError, match="recipe has one pass; give passes="):
    scales.generate(text, **options | {"passes": None})


def test_both_passes_are_planned(scales, monkeypatch):
  planned, plans = [], []

  def check(model, clips, canvas, sampling, conditions):
    planned.append((clips, canvas.used, sampling.branches, conditions))
    plans.append(memory.Plan(0, 0, case.VAE.latent_shape(*canvas.used)))
    return plans[-1]

  monkeypatch.setattr(ltx_jax.LTXVideo, "check_memory", check)
  passes = TwoPasses(Sampling(steps=2), Sampling(steps=2, guidance=1.0))
  given = [Condition(case.media("large", 1))]
  plan = scales.check_memory(3, Canvas.of(case.VAE, *case.LARGE), passes, given)
  assert plan is plans[1]  # Whose latents are decoded.
  assert planned == [(3, (9, 24, 24), 2, given), (3, (9, 48, 48), 1, given)]


def test_upscalers_that_do_not_fit_are_refused(scales, tmp_path):
  for kind, changes, message in (
    ("temporal", {}, "adds frames; two passes need"),
    ("spatial", {"in_channels": 9}, "takes 9 channels, but the VAE's latents have 6"),
  ):
    config = dataclasses.replace(upsampler_case.config(kind), **changes)
    with pytest.raises(ValueError, match=message):
      MultiScale(scales.model, multiscale.Upscaler(config, {}))
  with pytest.raises(ValueError, match="no upscaler 'up'; give one of ltxv-spatial"):
    ltx_jax.load_upscaler("up")
  path = tmp_path / "up.safetensors"
  save_upsampler(path, case.UPSAMPLER, scales.upscaler.params)
  assert ltx_jax.load_upscaler(path).config.mid_channels == 64


def test_a_scale_that_is_none_is_refused():
  with pytest.raises(
    ValueError, match="scale is 0.0; it must be above 0 and at most 1"
  ):
    TwoPasses(Sampling(), Sampling(), scale=0.0)
