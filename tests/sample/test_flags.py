"""The flags of `sample.generate` that say how a video is sampled."""

import dataclasses

import numpy as np
import pytest

import ltx_jax
from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from sample.flags import SamplingFlags
from tests.sample.test_generate import PROMPT, SIZE

FLAGS = [
  (("--steps", "7"), {"steps": 7}),
  (("--guidance", "2.5"), {"guidance": 2.5}),
  (("--cfg-star", "on"), {"cfg_star": True}),
  (("--stg", "1.5"), {"stg": 1.5}),
  (("--stg-mode", "attention_skip"), {"stg_mode": "attention_skip"}),
  (("--stg-blocks", "0,1"), {"stg_blocks": (0, 1)}),
  (("--rescale", "0.4"), {"rescale": 0.4}),
  (
    ("--guidance-sigmas", "1", "0.5", "--guidance", "1", "4", "--stg", "0", "2")
    + ("--rescale", "1", "0.5", "--stg-blocks", "none", "0,1"),
    {
      "guidance_sigmas": (1.0, 0.5),
      "guidance": (1.0, 4.0),
      "stg": (0.0, 2.0),
      "rescale": (1.0, 0.5),
      "stg_blocks": ((), (0, 1)),
    },
  ),
  (
    ("--schedule", "linear-quadratic"),
    {"schedule": SchedulerConfig(sampler="LinearQuadratic")},
  ),
  (("--sigmas", "1", "0.4"), {"sigmas": (1.0, 0.4), "steps": None}),
  (("--skip-initial", "2"), {"skip_initial": 2}),
  (("--skip-final", "2"), {"skip_final": 2}),
  (("--stochastic", "on"), {"stochastic": True}),
  (("--cache", "0.1"), {"cache": 0.1}),
  (("--condition-noise", "0.3"), {"condition_noise": 0.3}),
  (("--decode-sigma", "0.1"), {"decode_sigma": 0.1}),
  (("--decode-noise", "0.2"), {"decode_noise": 0.2}),
  (("--tone-map", "0.6"), {"tone_map": 0.6}),
  (("--tiling", "off"), {"tiling": "off"}),
  (("--tiling", "512"), {"tiling": 512}),
  (("--tiling", "512x65"), {"tiling": (512, 65)}),
]


@pytest.mark.parametrize(("arguments", "changes"), FLAGS)
def test_flags_change_how_it_is_sampled_and_decoded(
  program, monkeypatch, arguments, changes
):
  """Checks what both stages receive; other tests check what they do with it."""
  base = Sampling(steps=5, guidance=1.0, stg_blocks=(1,))
  recipe = Recipe(40, 32, 5, 24.0, base)
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)
  told = []

  def denoise(model, text, *, sampling, **rest):
    told.append(sampling)
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  def to_pixels(model, latents, sampling, **rest):
    told.append(sampling)
    return np.zeros((1, 5, 32, 40, 3), np.uint8)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  monkeypatch.setattr(ltx_jax.LTXVideo, "to_pixels", to_pixels)
  code, _, err = program(PROMPT, *arguments, "--output", "a.png")
  assert (code, err) == (0, "")
  assert told == [dataclasses.replace(base, **changes)] * 2
  assert told[0] != base


def test_every_flag_of_sampling_is_among_those():
  tested = {argument for arguments, _ in FLAGS for argument in arguments}
  for field in dataclasses.fields(SamplingFlags):
    assert "--" + field.name.replace("_", "-") in tested


def test_a_flag_turns_off_what_the_recipe_has_on():
  recipe = Sampling(stochastic=True, cfg_star=True)
  off = SamplingFlags(stochastic="off", cfg_star="off").apply(recipe)
  assert off == Sampling()
  assert SamplingFlags().apply(recipe) == recipe


def test_steps_and_noise_levels_replace_one_another():
  distilled = Sampling(sigmas=(1.0, 0.5), guidance=1.0)
  assert SamplingFlags(steps=3).apply(distilled) == Sampling(steps=3, guidance=1.0)
  planned = Sampling(steps=30)
  assert SamplingFlags(sigmas=(0.9,)).apply(planned) == Sampling(sigmas=(0.9,))
  with pytest.raises(ValueError, match="3 steps are asked for, but 1 noise levels"):
    SamplingFlags(steps=3, sigmas=(0.9,)).apply(planned)


def test_noise_levels_and_a_schedule_replace_one_another():
  scheduler = SchedulerConfig(sampler="LinearQuadratic")
  distilled = Sampling(sigmas=(1.0, 0.5), guidance=1.0)
  spaced = SamplingFlags(schedule="linear-quadratic").apply(distilled)
  assert spaced == Sampling(steps=2, schedule=scheduler, guidance=1.0)
  spaced = SamplingFlags(schedule="linear-quadratic", steps=2).apply(distilled)
  assert spaced == Sampling(steps=2, schedule=scheduler, guidance=1.0)
  planned = Sampling(steps=30, schedule=scheduler)
  assert SamplingFlags(sigmas=(0.9,)).apply(planned) == Sampling(sigmas=(0.9,))


def test_several_devices_work_on_a_video(program, monkeypatch):
  meshes = []

  def denoise(model, text, **rest):
    meshes.append(model.policy.mesh)
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  def to_pixels(model, latents, sampling, **rest):
    kernel = model.params["vae"]["decoder"]["conv_in"]["kernel"]
    assert len(kernel.devices()) == 4
    return np.zeros((1, 5, 32, 40, 3), np.uint8)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  monkeypatch.setattr(ltx_jax.LTXVideo, "to_pixels", to_pixels)
  code, out, err = program(PROMPT, *SIZE, "--mesh", "data=2,tensor=2")
  assert (code, err) == (0, "")
  assert "float32 on 4 cpu devices (data=2,tensor=2)" in out
  assert meshes[0].shape == {"data": 2, "context": 1, "fsdp": 1, "tensor": 2}
