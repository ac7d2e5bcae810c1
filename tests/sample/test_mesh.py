"""`sample.generate` makes the same video on several devices as on one."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.checkpoints.upsampler import save_upsampler
from ltx_jax.data import video
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from tests import pipeline_case as case
from tests.checkpoints.test_lora import as_file, pairs
from tests.models import upsampler_case
from tests.sample.test_generate import PROMPT, SIZE

SLOW = pytest.mark.slow
WAYS = {
  "loras": ("--lora", "a.safetensors:2"),
  "windows": ("--frames", "9", "--window", "5", "--overlap", "1"),
  "two passes": ("--multi-scale", "--guidance", "1"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
  """A LoRA, and an upscaler that the recipe names."""
  width = case.TRANSFORMER.width
  name = "transformer_blocks.0.attn1.to_q"
  halves = pairs({name: (width, width)}, rank=width)
  as_file(tmp_path / "a.safetensors", "diffusion_model.", ("lora_A", "lora_B"), halves)
  config = upsampler_case.config("spatial")
  params = upsampler_case.random_params(config)
  save_upsampler(tmp_path / "up.safetensors", config, params)
  base = Sampling(steps=2, guidance=3.0)
  passes = TwoPasses(base, Sampling(sigmas=(0.9, 0.4), guidance=1.0))
  recipe = Recipe(48, 40, 5, 24.0, base, passes=passes, upscaler="up.safetensors")
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)


@pytest.mark.parametrize(
  "way",
  ["loras", *(pytest.param(way, marks=SLOW) for way in ("windows", "two passes"))],
)
def test_several_devices_make_the_video_of_one(program, files, way):
  shown = []
  four = ("--mesh", "data=2,context=2")
  for mesh, where in (((), "on cpu\n"), (four, "on 4 cpu devices")):
    code, out, err = program(PROMPT, *SIZE, *WAYS[way], *mesh, "--output", "a.png")
    assert (code, err) == (0, "") and where in out
    shown.append(video.read("a.png")[0].astype(int))
  one, several = shown
  assert np.abs(several - one).max() <= 1
  assert one.std() > 1
