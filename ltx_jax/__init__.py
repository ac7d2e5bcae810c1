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
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.loading import load, save
from ltx_jax.model import LTXVideo

__all__ = [
  "Condition",
  "LTXVideo",
  "ModelConfig",
  "Sampling",
  "SchedulerConfig",
  "TextEncoderConfig",
  "TransformerConfig",
  "VAEConfig",
  "load",
  "save",
]
