"""LTX-Video in JAX and Flax: text and images to video, and the training of the models.

model = ltx_jax.load("moving-shapes")
videos = model.generate("a large red circle moving right on a navy background")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from ltx_jax.config import (
    ModelConfig,
    SchedulerConfig,
    TextEncoderConfig,
    TransformerConfig,
    VAEConfig,
  )
  from ltx_jax.diffusion.conditioning import Condition, Reference
  from ltx_jax.diffusion.sampling import Sampling, TwoPasses
  from ltx_jax.pipeline.model import LTXVideo
  from ltx_jax.pipeline.multiscale import MultiScale
  from ltx_jax.pipeline.windows import LongVideo
  from ltx_jax.releases.loading import load, load_text_encoder, load_upscaler, save
  from ltx_jax.text.encoder import TextEncoder

__all__ = [
  "Condition",
  "LTXVideo",
  "LongVideo",
  "ModelConfig",
  "MultiScale",
  "Reference",
  "Sampling",
  "SchedulerConfig",
  "TextEncoder",
  "TextEncoderConfig",
  "TransformerConfig",
  "TwoPasses",
  "VAEConfig",
  "load",
  "load_text_encoder",
  "load_upscaler",
  "save",
]

_PLACES = {
  "Condition": "diffusion.conditioning",
  "LTXVideo": "pipeline.model",
  "LongVideo": "pipeline.windows",
  "MultiScale": "pipeline.multiscale",
  "Reference": "diffusion.conditioning",
  "Sampling": "diffusion.sampling",
  "TextEncoder": "text.encoder",
  "TwoPasses": "diffusion.sampling",
  "load": "releases.loading",
  "load_text_encoder": "releases.loading",
  "load_upscaler": "releases.loading",
  "save": "releases.loading",
}


def __getattr__(name: str) -> Any:
  # Imported on demand: a program's --help needs neither Flax nor models.
  if name not in __all__:
    raise AttributeError(f"module 'ltx_jax' has no attribute {name!r}")
  module = importlib.import_module(f"ltx_jax.{_PLACES.get(name, 'config')}")
  globals()[name] = getattr(module, name)
  return globals()[name]


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
