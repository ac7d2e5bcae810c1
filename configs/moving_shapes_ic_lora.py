"""An in-context LoRA of the small model: a reference clip sets the colour.

    python -m train.precompute pairs/ --output runs/guided/records --buckets 25x128x128
    python -m train.transformer moving_shapes_ic_lora

Two CPU cores. The captions of the pairs leave the colour out; each pair's reference
shows it, on another shape that moves the same way. `python -m tests.verify lora` draws
600 such pairs, trains, and counts how often the colour is that of the reference.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes, moving_shapes_lora
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.lora import LAYERS, LoRAConfig
from ltx_jax.config.runs import OutputConfig, Stage, TransformerRun


def transformer() -> TransformerRun:
  """16 pairs per step, with rank 32 in every layer of the blocks."""
  return dataclasses.replace(
    moving_shapes_lora.transformer(),
    name="moving-shapes-ic-lora",
    lora=LoRAConfig(rank=32, layers=LAYERS),
    data=("runs/guided/records",),
    held_out=8,
    stages=(Stage(2000, (moving_shapes.LONG,), tokens=1024),),
    conditions=ConditionConfig(first_frame=0.0, reference=1.0),
    output=OutputConfig("runs/guided", log_every=10, sample_every=500),
  )
