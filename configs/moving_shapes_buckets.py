"""The small model's transformer from scratch, on clips and images of many sizes.

    python -m train.precompute moving-shapes --variants 1 \\
      --output runs/buckets/records --buckets 25x128x128 17x128x160 17x160x128 \\
      41x96x96 25x96x128 25x128x96 9x64x64 1x128x128 1x128x160 1x160x128
    python -m train.transformer moving_shapes_buckets

A small version of training on a pod: records of the shipped VAE and text encoder, which
stay frozen; batches that mix clips with similar numbers of tokens, trimmed to the
smallest; images; given first frames. No clip has 160x96 pixels or 33 frames, so this
measures how well the model does at a size that it never saw:

    python -m train.evaluate generation --model runs/buckets/model/model.safetensors \\
      --width 160 --height 96 --frames 33
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import (
  Bucket,
  OptimizerConfig,
  OutputConfig,
  Stage,
  TransformerRun,
)

# Groups of similar numbers of tokens: 54 to 64, 48, 8, and 16 to 20.
BUCKETS = (
  *(Bucket(25, 128, 128, 4), Bucket(41, 96, 96)),
  *(Bucket(17, 128, 160), Bucket(17, 160, 128)),
  *(Bucket(25, 96, 128, 0.75), Bucket(25, 128, 96, 0.75)),
  Bucket(9, 64, 64, 0.5),
  *(Bucket(1, 128, 128, 0.4), Bucket(1, 128, 160, 0.2), Bucket(1, 160, 128, 0.2)),
)


def transformer() -> TransformerRun:
  """Short batches and many steps, with Muon."""
  return dataclasses.replace(
    moving_shapes.transformer(),
    name="moving-shapes-buckets",
    vae="ltx_jax/assets/moving_shapes/model.safetensors",
    text_encoder="frozen",
    stages=(Stage(3000, BUCKETS, tokens=2048),),
    token_dropping=0.2,
    conditions=ConditionConfig(first_frame=0.15),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1e-3,
      muon_learning_rate=1e-2,
      warmup_steps=100,
      weight_decay=1e-2,
      ema_decay=0.998,
    ),
    data=("runs/buckets/records",),
    output=OutputConfig("runs/buckets", log_every=10, evaluate_every=250),
  )
