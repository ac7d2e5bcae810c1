"""LTX-Video in JAX and Flax: text and images to video, and the training of all of it.

model = ltx_jax.load("moving-shapes")
videos = model.generate("a large red circle moving right on a navy background")
"""

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
