"""Models by name, and how each is sampled where nothing else is asked for."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib

from ltx_jax.config import ModelConfig
from ltx_jax.diffusion.sampling import Sampling

ASSETS = pathlib.Path(__file__).parent / "assets"


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What `generate` takes where an argument is None.

  Attributes:
    width: In pixels.
    height: In pixels.
    frames: Of the clip.
    fps: Frames a second.
    sampling: Noise levels, guidance, noise for the decoder.
    negative_prompt: What guidance leads away from.
  """

  width: int = 768
  height: int = 512
  frames: int = 121
  fps: float = 25.0
  sampling: Sampling = Sampling()
  negative_prompt: str = ""


@dataclasses.dataclass(frozen=True)
class Preset:
  """A model by name: where its files are, and its recipe.

  Attributes:
    folder: Holds `model.safetensors`, `text_encoder/` and `tokenizer/`.
    recipe: How it is sampled.
    summary: One line for those who choose.
  """

  folder: pathlib.Path
  recipe: Recipe
  summary: str


PRESETS = {
  "moving-shapes": Preset(
    folder=ASSETS / "moving_shapes",
    recipe=Recipe(128, 128, 25, 24.0, Sampling(steps=25, guidance=3.0)),
    summary="small, trained by this code, ships with it; draws moving shapes",
  ),
}


def suggestion(name: str) -> str:
  """Returns the words that name the nearest preset, or all of them and what they do."""
  near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
  if near:
    return f"did you mean {near[0]!r}?"
  known = (f"{name!r} ({preset.summary})" for name, preset in PRESETS.items())
  return f"presets are {', '.join(known)}."


def recipe_for(config: ModelConfig) -> Recipe:
  """Returns the recipe of the preset whose name is in a checkpoint's metadata.

  Otherwise the levels that a distilled model was trained for, without guidance; else
  the checkpoint's own scheduler, 40 steps and guidance 3. Either way at the size, the
  length and the rate that released models are mostly used at.
  """
  if config.name in PRESETS:
    return PRESETS[config.name].recipe
  if config.allowed_inference_steps:
    sigmas = tuple(sorted(config.allowed_inference_steps, reverse=True))
    return Recipe(sampling=Sampling(sigmas=sigmas, guidance=1.0))
  return Recipe()
