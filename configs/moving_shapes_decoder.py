"""The small VAE's last run: its decoder alone, under latents that stay as they are.

    python -m train.vae moving_shapes_decoder

The transformer is trained on the latents of `moving_shapes` before, beside or after it.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from configs.moving_shapes import LONG, MIDDLE
from ltx_jax.run_config import OutputConfig, Stage, VAERun


def vae() -> VAERun:
  """Whole clips and short ones, from half the learning rate."""
  run = moving_shapes.vae()
  return dataclasses.replace(
    run,
    stages=(Stage(900, (LONG, dataclasses.replace(MIDDLE, weight=0.5)), tokens=256),),
    trained="decoder",
    optimizer=dataclasses.replace(
      run.optimizer, learning_rate=6e-4, muon_learning_rate=8e-3
    ),
    init_from="runs/vae/vae.safetensors",
    output=OutputConfig(folder="runs/vae_decoder"),
  )
