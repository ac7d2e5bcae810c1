"""The small VAE's fourth run: whole clips for longer, at a lower learning rate.

    python -m train.vae moving_shapes_long

It changes the latents a little; a transformer can continue from its last state. The
shipped VAE comes from 838 steps of this recipe and the last 662 of one of 1,500.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from configs.moving_shapes import LARGE_IMAGE, LONG, MIDDLE
from ltx_jax.config.runs import OutputConfig, Stage, VAERun


def vae() -> VAERun:
  """Mostly clips of the full size, from the third run."""
  run = moving_shapes.vae()
  buckets = (
    LONG,
    dataclasses.replace(MIDDLE, weight=0.2),
    dataclasses.replace(LARGE_IMAGE, weight=0.05),
  )
  return dataclasses.replace(
    run,
    stages=(Stage(2000, buckets, tokens=256),),
    optimizer=dataclasses.replace(
      run.optimizer, learning_rate=8e-4, muon_learning_rate=1e-2, warmup_steps=40
    ),
    init_from="runs/vae/vae.safetensors",
    output=OutputConfig(folder="runs/vae_long"),
  )
