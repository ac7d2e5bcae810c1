"""Your own clips at a small width: both networks on one GPU, or on a few CPU cores.

    python -m train.manifest clips/
    python -m train.vae own_clips --data clips/manifest.jsonl
    python -m train.tokenizer --data clips/manifest.jsonl --output runs/own/tokenizer
    python -m train.precompute clips/manifest.jsonl --output runs/own/records \\
      --model runs/own/vae/vae.safetensors --text-encoder none \\
      --tokenizer runs/own/tokenizer --buckets 25x128x128
    python -m train.transformer own_clips

The VAE starts from the shipped one, which knows only moving shapes, and learns what
real images look like. The transformer and its text encoder start from scratch. With few
clips they memorise them: to fine-tune a released model, use `lora` or
`finetune_2b`. `docs/training.md` says what to expect.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from ltx_jax.config import SchedulerConfig
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

CLIP = Bucket(25, 128, 128)
# One more word than `train.tokenizer --pieces` makes is enough.
TEXT = dataclasses.replace(moving_shapes.TEXT, vocab_size=1000, max_text_tokens=64)


def vae() -> VAERun:
  """From the shipped VAE, two clips per step."""
  return VAERun(
    vae=moving_shapes.VAE,
    data=("clips/manifest.jsonl",),
    stages=(Stage(600, (CLIP, Bucket(1, 128, 128, weight=0.1)), tokens=128),),
    loss=VAELossConfig(wavelet=0.02, kl=1e-4),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1e-3,
      muon_learning_rate=1e-2,
      warmup_steps=20,
      weight_decay=1e-3,
      ema_decay=0.98,
    ),
    init_from="ltx_jax/assets/moving_shapes/model.safetensors",
    output=OutputConfig(
      folder="runs/own/vae", log_every=10, sample_every=100, evaluate_every=100
    ),
  )


def transformer() -> TransformerRun:
  """From scratch, with a text encoder of its own."""
  return TransformerRun(
    transformer=moving_shapes.TRANSFORMER,
    text=TEXT,
    scheduler=SchedulerConfig(sampler="Uniform", shifting="SD3"),
    name="own-clips",
    vae="runs/own/vae/vae.safetensors",
    text_folder="runs/own",
    text_encoder="trained",
    data=("runs/own/records",),
    stages=(Stage(1500, (CLIP,), tokens=1024),),
    conditions=ConditionConfig(first_frame=0.1),
    optimizer=OptimizerConfig(
      learning_rate=1e-3, warmup_steps=50, ema_decay=0.99, weight_decay=0.01
    ),
    output=OutputConfig(
      folder="runs/own/transformer",
      log_every=10,
      sample_every=500,
      evaluate_every=100,
    ),
  )
