"""Models by name, with their default sampling settings.

The small model comes with this code. The others are the checkpoints that Lightricks
released. The first use of a name downloads its file, shows its licence, and fetches the
text encoder that all of them were trained with. The config inside a file decides what
it is. A file without a config is recognised by its shapes (`checkpoints.recognize`),
which gives the preset's `config`. No shape shows the noise levels of a distilled model,
so they are taken from the preset.

Recipes are the original's configurations: spatiotemporal guidance and rescaling for the
2B models up to 0.9.6-dev, and guidance by noise level for the 13B dev ones; fresh noise
in every step of 0.9.6-distilled; two passes with an upscaler for 13B and for 2B 0.9.8.
For the last ones, the original has only the two passes. Here they are `Recipe.passes`,
for `MultiScale`; `Recipe.sampling` is a single pass that needs no upscaler: the first
pass with its last steps, or all levels of a distilled model. The default sizes are the
most common ones of the models, and the default negative prompt is empty.

Source: the configurations and release notes of Lightricks/LTX-Video.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
from typing import NamedTuple

from ltx_jax.checkpoints.recognize import LINEAR_QUADRATIC, SHIFTED, describe
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  ModelConfig,
  VAEConfig,
)
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.pipeline.recipes import Recipe

ASSETS = pathlib.Path(__file__).parent.parent / "assets"
REPOSITORY = "Lightricks/LTX-Video"
TEXT_ENCODER = "PixArt-alpha/PixArt-XL-2-1024-MS"
"""The repository whose `text_encoder` and `tokenizer` are T5-XXL as released."""
TEXT_ENCODER_LICENCE = "Apache License 2.0 (T5 v1.1 XXL, by Google)"


class HubFile(NamedTuple):
  """A file on the hub.

  Attributes:
    repository: Name of the repository, as organisation/name.
    name: Name of the file in it.
    licence: Its name, a short summary, and where it is.
  """

  repository: str
  name: str
  licence: str


@dataclasses.dataclass(frozen=True)
class Preset:
  """A model by name: where its files are, and its recipe.

  Attributes:
    files: A folder with `model.safetensors`, `text_encoder/` and `tokenizer/`, or the
      checkpoint on the hub.
    recipe: Default sampling settings.
    summary: One line for users who choose a model.
    config: Config of the checkpoint, used if the file has none.
  """

  files: pathlib.Path | HubFile
  recipe: Recipe
  summary: str
  config: ModelConfig | None = None


_DISTILLED_LEVELS = (1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.4219)
_DEV_2B = Recipe(
  sampling=Sampling(steps=40, guidance=3.0, stg=1.0, stg_blocks=(19,), rescale=0.7),
  captions="paragraphs",
)
_DISTILLED = Recipe(
  sampling=Sampling(sigmas=_DISTILLED_LEVELS, guidance=1.0), captions="paragraphs"
)
_STOCHASTIC = dataclasses.replace(
  _DISTILLED, sampling=dataclasses.replace(_DISTILLED.sampling, stochastic=True)
)

_DEV_13B = Sampling(
  steps=30,
  guidance_sigmas=(1.0, 0.996, 0.9933, 0.985, 0.9767, 0.9008, 0.618),
  guidance=(1.0, 1.0, 6.0, 8.0, 6.0, 1.0, 1.0),
  cfg_star=True,
  stg=(0.0, 0.0, 4.0, 4.0, 4.0, 2.0, 1.0),
  stg_blocks=((), (11, 25, 35, 39), (22, 35, 39), (28,), (28,), (28,), (28,)),
  rescale=(1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0),
)
_DEV_PASSES = TwoPasses(
  first=dataclasses.replace(_DEV_13B, skip_final=3),
  second=Sampling(
    steps=30, skip_initial=17, guidance=1.0, cfg_star=True, stg=1.0, stg_blocks=(27,)
  ),
)


def _distilled_passes(tone_map: float = 0.0) -> TwoPasses:
  first, second = _DISTILLED_LEVELS[:-1], _DISTILLED_LEVELS[-3:]
  return TwoPasses(
    Sampling(sigmas=first, guidance=1.0),
    Sampling(sigmas=second, guidance=1.0, tone_map=tone_map),
  )


def _two_passes(version: str, sampling: Sampling, passes: TwoPasses) -> Recipe:
  """Returns the recipe of a release that has an upscaler of its own."""
  upscaler = f"ltxv-spatial-upscaler-{version}"
  return Recipe(
    sampling=sampling, passes=passes, upscaler=upscaler, captions="paragraphs"
  )


_TRANSFORMERS = {
  "2b": dataclasses.replace(TRANSFORMER_2B, causal_temporal_positioning=True),
  "13b": TRANSFORMER_13B,
}


def _licence(name: str, file: str, terms: str) -> str:
  return f"{name}, {terms} (https://huggingface.co/{REPOSITORY}/blob/main/{file})"


def _beside(file: str) -> str:
  """Returns the licence of the releases that have one next to each file."""
  text = file.replace("-fp8", "").replace(".safetensors", ".license.txt")
  terms = "commercial use with conditions, restrictions on use"
  return _licence("LTXV Open Weights License", text, terms)


_RESEARCH = _licence("RAIL-M", "License.txt", "research and academic use")
_OPEN_RAIL = _licence(
  "OpenRAIL-M", "ltx-video-2b-v0.9.5.license.txt", "restrictions on use"
)
_OPEN_WEIGHTS = _licence(
  "LTX-Video Open Weights License",
  "LTX-Video-Open-Weights-License-0.X.txt",
  "commercial use with conditions, one of them on revenue; restrictions on use",
)


def _older(file: str, vae: VAEConfig, summary: str) -> Preset:
  """Returns a preset for 0.9.0 or 0.9.1."""
  config = ModelConfig(TRANSFORMER_2B, vae, SHIFTED)
  return Preset(HubFile(REPOSITORY, file, _RESEARCH), _DEV_2B, summary, config)


def _newer(file: str, licence: str, recipe: Recipe, summary: str) -> Preset:
  """Returns a preset for 0.9.5 or later."""
  config = ModelConfig(
    _TRANSFORMERS["13b" if "13b" in file else "2b"],
    VAE_C,
    LINEAR_QUADRATIC,
    allowed_inference_steps=_DISTILLED_LEVELS if "distilled" in file else None,
  )
  return Preset(HubFile(REPOSITORY, file, licence), recipe, summary, config)


def _pair(name: str, licence: str, recipe: Recipe, summary: str) -> dict[str, Preset]:
  """Returns a release and its float8 file, which is cast when read unless kept."""
  small = f"{summary}; half the download, float8 weights"
  return {
    name: _newer(f"{name}.safetensors", licence, recipe, summary),
    f"{name}-fp8": _newer(f"{name}-fp8.safetensors", licence, recipe, small),
  }


_V097 = "ltxv-13b-0.9.7-{}.safetensors"
_DEV_096 = "ltxv-2b-0.9.6-dev-04-25.safetensors"
_DISTILLED_096 = "ltxv-2b-0.9.6-distilled-04-25.safetensors"

PRESETS = {
  "moving-shapes": Preset(
    files=ASSETS / "moving_shapes",
    recipe=Recipe(
      *(128, 128, 25, 24.0, Sampling(steps=25, guidance=5.0, cfg_star=True)),
      captions="moving shapes",
      cache=0.1,
    ),
    summary="small, trained by this code, ships with it; draws moving shapes",
  ),
  "ltxv-2b-0.9.0": _older(
    "ltx-video-2b-v0.9.safetensors", VAE_A, "the first release, 2B"
  ),
  "ltxv-2b-0.9.1": _older(
    "ltx-video-2b-v0.9.1.safetensors", VAE_B, "2B, a decoder that denoises"
  ),
  "ltxv-2b-0.9.5": _newer(
    "ltx-video-2b-v0.9.5.safetensors", _OPEN_RAIL, _DEV_2B, "2B, a deeper VAE"
  ),
  "ltxv-2b-0.9.6-dev": _newer(
    _DEV_096, _beside(_DEV_096), _DEV_2B, "2B, the best of its size that takes guidance"
  ),
  "ltxv-2b-0.9.6-distilled": _newer(
    _DISTILLED_096, _beside(_DISTILLED_096), _STOCHASTIC, "2B, 8 steps, no guidance"
  ),
  **_pair(
    "ltxv-2b-0.9.8-distilled",
    _OPEN_WEIGHTS,
    _two_passes("0.9.8", _DISTILLED.sampling, _distilled_passes()),
    "2B, 8 steps",
  ),
  **_pair(
    "ltxv-13b-0.9.7-dev",
    _beside(_V097.format("dev")),
    _two_passes("0.9.7", _DEV_13B, _DEV_PASSES),
    "13B",
  ),
  **_pair(
    "ltxv-13b-0.9.7-distilled",
    _beside(_V097.format("distilled")),
    _two_passes("0.9.7", _DISTILLED.sampling, _distilled_passes()),
    "13B, 8 steps",
  ),
  **_pair(
    "ltxv-13b-0.9.8-dev",
    _OPEN_WEIGHTS,
    _two_passes("0.9.8", _DEV_13B, _DEV_PASSES),
    "13B, for long videos too",
  ),
  **_pair(
    "ltxv-13b-0.9.8-distilled",
    _OPEN_WEIGHTS,
    _two_passes("0.9.8", _DISTILLED.sampling, _distilled_passes(tone_map=0.6)),
    "13B, 8 steps",
  ),
}

UPSCALERS = {
  name: HubFile(REPOSITORY, f"{name}.safetensors", licence)
  for name, licence in (
    ("ltxv-spatial-upscaler-0.9.7", _beside("ltxv-spatial-upscaler-0.9.7.safetensors")),
    (
      "ltxv-temporal-upscaler-0.9.7",
      _beside("ltxv-temporal-upscaler-0.9.7.safetensors"),
    ),
    ("ltxv-spatial-upscaler-0.9.8", _OPEN_WEIGHTS),
  )
}
"""Networks that enlarge latents between two passes (`Recipe.upscaler`)."""


def suggestion(name: str) -> str:
  """Returns words that suggest the nearest preset, or list all of them."""
  near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
  if near:
    return f"did you mean {near[0]!r}?"
  return f"presets are {', '.join(PRESETS)}."


def named_like(file: str) -> str | None:
  """Returns the preset whose file on the hub has this name, or None."""
  for name, preset in PRESETS.items():
    if isinstance(preset.files, HubFile) and preset.files.name == file:
      return name
  return None


def completed(config: ModelConfig, name: str | None) -> ModelConfig:
  """Returns a checkpoint's config, completed by what a preset knows.

  The preset adds its name, which selects the recipe, and the noise levels of a
  distilled model. A checkpoint that names itself, or holds other networks than the
  preset, is left unchanged: it is a fine-tune, whatever its file is called.

  Args:
    config: Config in the checkpoint.
    name: Name of the preset that it was recognised as; None for no preset.
  """
  if name is None or config.name is not None or PRESETS[name].config is None:
    return config
  known = PRESETS[name].config
  for part in ("transformer", "vae"):
    found, expected = getattr(config, part), getattr(known, part)
    if found is None or describe(found) != describe(expected):
      return config
  steps = config.allowed_inference_steps or known.allowed_inference_steps
  return dataclasses.replace(config, name=name, allowed_inference_steps=steps)


def recipe_for(config: ModelConfig) -> Recipe:
  """Returns the recipe of the preset whose name is in a checkpoint's metadata.

  Without a preset, a distilled model uses the levels that it was trained for, without
  guidance; any other model uses its own scheduler, 40 steps and guidance 3. Size and
  rate are those in the metadata, or else the most common ones of released models.
  """
  recipe = Recipe()
  if config.name in PRESETS:
    recipe = PRESETS[config.name].recipe
  elif config.allowed_inference_steps:
    sigmas = tuple(sorted(config.allowed_inference_steps, reverse=True))
    recipe = Recipe(sampling=Sampling(sigmas=sigmas, guidance=1.0))
  frames, height, width = config.default_size or recipe.size
  fps = config.default_fps or recipe.fps
  return dataclasses.replace(recipe, frames=frames, height=height, width=width, fps=fps)
