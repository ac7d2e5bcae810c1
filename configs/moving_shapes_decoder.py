"""The small VAE's last run: its decoder alone, under latents that stay as they are.

    python -m train.vae moving_shapes_decoder

The transformer is trained on the latents of `moving_shapes`, before it or after. The
shipped decoder comes from 750 steps of this recipe.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from configs.moving_shapes import LONG, MIDDLE
from ltx_jax.run_config import OutputConfig, Stage, VAERun


def vae() -> VAERun:
  """Whole clips and short ones, at a lower learning rate, with more weight on edges."""
  run = moving_shapes.vae()
  return dataclasses.replace(
    run,
    stages=(Stage(750, (LONG, dataclasses.replace(MIDDLE, weight=0.5)), tokens=256),),
    trained="decoder",
    loss=dataclasses.replace(run.loss, wavelet=0.1),
    optimizer=dataclasses.replace(
      run.optimizer, learning_rate=4e-4, muon_learning_rate=6e-3
    ),
    init_from="runs/vae/vae.safetensors",
    output=OutputConfig(folder="runs/vae_decoder"),
  )
