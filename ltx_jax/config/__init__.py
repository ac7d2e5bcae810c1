"""Frozen dataclasses: configs of networks here, those of training runs in `runs`."""

from ltx_jax.config.networks import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  ModelConfig,
  SchedulerConfig,
  TextEncoderConfig,
  TransformerConfig,
)
from ltx_jax.config.vae import (
  BLOCK_NAMES,
  VAE_A,
  VAE_B,
  VAE_C,
  Block,
  LatentUpsamplerConfig,
  VAEConfig,
)

__all__ = [
  "BLOCK_NAMES",
  "TRANSFORMER_13B",
  "TRANSFORMER_2B",
  "VAE_A",
  "VAE_B",
  "VAE_C",
  "Block",
  "LatentUpsamplerConfig",
  "ModelConfig",
  "SchedulerConfig",
  "TextEncoderConfig",
  "TransformerConfig",
  "VAEConfig",
]
