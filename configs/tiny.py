"""The smallest run of both trainers: it takes seconds on a CPU, and learns nothing.

    python -m train.vae tiny
    python -m train.precompute moving-shapes --model runs/tiny/vae/vae.safetensors \\
      --text-encoder none --tokenizer ltx_jax/assets/moving_shapes/tokenizer \\
      --buckets 5x32x32 1x32x32 --variants 1 --output runs/tiny/records
    python -m train.transformer tiny

It has every feature that a run can have (images and clips, stages, Muon and AdamW, an
average, a trained text encoder). It shows that an installation trains, saves, resumes
and exports. The tests run it.
"""

from __future__ import annotations

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

# A latent position is 16 x 16 pixels and 4 frames.
VAE = VAEConfig(
  patch_size=8,
  latent_channels=8,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(
    Block("compress_all_res", multiplier=2),
    Block("res_x", 1),
    Block("compress_time_res", multiplier=1),
  ),
  decoder_blocks=(
    Block("compress_all", multiplier=2, residual=True),
    Block("res_x", 1),
    Block("compress_time"),
  ),
)
TRANSFORMER = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=12,
  num_layers=2,
  in_channels=8,
  out_channels=8,
  cross_attention_dim=24,
  caption_channels=16,
  positional_embedding_max_pos=(1, 64, 64),
  causal_temporal_positioning=True,
)
TEXT = TextEncoderConfig(
  vocab_size=97,
  d_model=16,
  d_kv=8,
  d_ff=24,
  num_layers=2,
  num_heads=2,
  max_text_tokens=32,
)

IMAGE = Bucket(1, 32, 32)
CLIP = Bucket(5, 32, 32)


def vae() -> VAERun:
  """Images, then images and clips."""
  return VAERun(
    vae=VAE,
    stages=(Stage(4, (IMAGE,), tokens=64), Stage(4, (CLIP, IMAGE), tokens=64)),
    loss=VAELossConfig(wavelet_ramp=(2, 6)),
    optimizer=OptimizerConfig(
      name="muon", learning_rate=3e-3, muon_learning_rate=2e-2, warmup_steps=2
    ),
    output=OutputConfig("runs/tiny/vae", log_every=1, sample_every=4, save_every=4),
  )


def transformer() -> TransformerRun:
  """Images and clips at once."""
  return TransformerRun(
    transformer=TRANSFORMER,
    text=TEXT,
    scheduler=SchedulerConfig(sampler="Uniform", shifting="SD3"),
    name="tiny",
    vae="runs/tiny/vae/vae.safetensors",
    text_folder="ltx_jax/assets/moving_shapes",
    text_encoder="trained",
    stages=(Stage(8, (CLIP, IMAGE), tokens=64),),
    conditions=ConditionConfig(first_frame=0.5),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=2, ema_decay=0.9),
    data=("runs/tiny/records",),
    output=OutputConfig(
      "runs/tiny/transformer", log_every=1, sample_every=8, save_every=4
    ),
  )
