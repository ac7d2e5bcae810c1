"""The small model "moving-shapes": the released architecture at a small width.

    python -m train.tokenizer --output ltx_jax/assets/moving_shapes/tokenizer
    python -m train.vae moving_shapes_images
    python -m train.vae moving_shapes_clips
    python -m train.vae moving_shapes
    python -m train.precompute moving-shapes --model runs/vae/vae.safetensors \\
      --text-encoder none --tokenizer ltx_jax/assets/moving_shapes/tokenizer \\
      --buckets 25x128x128 9x64x64 1x128x128 --output runs/moving_shapes_records
    python -m train.transformer moving_shapes

Hardware: two CPU cores. The resulting figures are in the model card, next to the
weights.
"""

from __future__ import annotations

import dataclasses

from ltx_jax.config import (
  Block,
  SchedulerConfig,
  TextEncoderConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import (
  Bucket,
  OptimizerConfig,
  OutputConfig,
  Stage,
  TransformerRun,
  VAELossConfig,
  VAERun,
)

# Every level is narrow where it is large, because on a CPU the first and the last
# convolution, at an eighth of the frame's size, cost as much as all others together.
VAE = VAEConfig(
  patch_size=8,
  encoder_base_channels=40,
  encoder_blocks=(
    Block("compress_all_res", multiplier=2),
    Block("res_x", 2),
    Block("compress_time_res", multiplier=1),
    Block("res_x", 1),
    Block("compress_all_res", multiplier=2),
    Block("res_x", 1),
  ),
  decoder_base_channels=40,
  decoder_blocks=(
    Block("compress_all", multiplier=2, residual=True),
    Block("res_x", 2),
    Block("compress_time"),
    Block("res_x", 2),
    Block("compress_all", multiplier=2, residual=True),
    Block("res_x", 2),
  ),
)

# Positions are fractions of the small world's maximum: 4 s, 256 x 256 pixels.
TRANSFORMER = TransformerConfig(
  num_attention_heads=4,
  attention_head_dim=48,
  num_layers=6,
  cross_attention_dim=192,
  caption_channels=192,
  positional_embedding_max_pos=(4, 256, 256),
  causal_temporal_positioning=True,
)
TEXT = TextEncoderConfig(
  vocab_size=97,
  d_model=192,
  d_kv=48,
  d_ff=512,
  num_layers=4,
  num_heads=4,
  max_text_tokens=32,
)

IMAGE = Bucket(1, 64, 64)
LARGE_IMAGE = Bucket(1, 128, 128)
SHORT = Bucket(9, 64, 64)
MIDDLE = Bucket(9, 128, 128)
LONG = Bucket(25, 128, 128)


def vae() -> VAERun:
  """The last and longest of three runs on the same clips."""
  few_images = dataclasses.replace(LARGE_IMAGE, weight=0.1)
  return VAERun(
    vae=VAE,
    stages=(
      Stage(
        700,
        (
          dataclasses.replace(MIDDLE, weight=0.6),
          dataclasses.replace(LONG, weight=0.4),
          few_images,
        ),
        tokens=320,
      ),
      Stage(700, (LONG, few_images), tokens=256),
    ),
    loss=VAELossConfig(wavelet=0.02, kl=1e-4),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1.2e-3,
      muon_learning_rate=1.5e-2,
      warmup_steps=20,
      weight_decay=1e-3,
    ),
    init_from="runs/vae_clips/vae.safetensors",
    output=OutputConfig(folder="runs/vae"),
  )


def transformer() -> TransformerRun:
  """Short clips and images first, for all attributes; then mostly the full size."""
  return TransformerRun(
    transformer=TRANSFORMER,
    text=TEXT,
    scheduler=SchedulerConfig(sampler="Uniform", shifting="SD3"),
    name="moving-shapes",
    vae="runs/vae/vae.safetensors",
    text_folder="ltx_jax/assets/moving_shapes",
    text_encoder="trained",
    stages=(
      Stage(
        2000,
        (
          LONG,
          dataclasses.replace(SHORT, weight=0.2),
          dataclasses.replace(LARGE_IMAGE, weight=0.1),
        ),
        tokens=4096,
      ),
    ),
    conditions=ConditionConfig(first_frame=0.15),
    optimizer=OptimizerConfig(
      learning_rate=1e-3, warmup_steps=100, ema_decay=0.995, weight_decay=0.01
    ),
    data=("runs/moving_shapes_records",),
    output=OutputConfig(folder="runs/transformer", log_every=10),
  )
