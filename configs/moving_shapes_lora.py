"""A LoRA of the small model that learns a colour from 50 clips, on two CPU cores.

    python -m train.precompute clips/ --output runs/magenta/records --buckets 25x128x128
    python -m train.precompute moving-shapes --variants 1 --output runs/magenta/known \\
      --buckets 25x128x128
    python -m train.transformer moving_shapes_lora

The clips show magenta shapes, a colour that the model was never trained on, and their
captions name it. `python -m tests.verify lora` draws them, trains, and counts the
result. Half of each batch are clips with captions that the model knows, so that it
forgets none. For a LoRA of a released model, use two sources and weights in the same
way: your own clips, and clips like those that it was trained on.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.lora import LAYERS, LoRAConfig
from ltx_jax.config.runs import OptimizerConfig, OutputConfig, Stage, TransformerRun

SHIPPED = "ltx_jax/assets/moving_shapes/model.safetensors"


def transformer() -> TransformerRun:
  """8 new clips and 8 others per step, with rank 16 in every layer of the blocks."""
  return dataclasses.replace(
    moving_shapes.transformer(),
    name="moving-shapes-lora",
    vae=SHIPPED,
    init_from=SHIPPED,
    text_encoder="frozen",
    lora=LoRAConfig(rank=16, layers=LAYERS),
    data=("runs/magenta/records", "runs/magenta/known"),
    held_out=0,
    stages=(Stage(400, (moving_shapes.LONG,), tokens=1024),),
    conditions=ConditionConfig(first_frame=0.1),
    optimizer=OptimizerConfig(
      learning_rate=2e-3, warmup_steps=20, weight_decay=0.0, ema_decay=0.98
    ),
    output=OutputConfig("runs/magenta", log_every=10, sample_every=250),
  )
