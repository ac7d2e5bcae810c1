"""The small VAE's last run: only its decoder, so that the latents stay unchanged.

    python -m train.vae moving_shapes_decoder
    python -m train.transformer moving_shapes --vae runs/vae_decoder/vae.safetensors

The latents are those of the previous run, so the transformer may also be trained first.
The shipped decoder had 400 steps at three quarters of these learning rates, the 900 of
this recipe, and then four more runs, each from the weights of the one before. The last
two had more clips of little contrast, whose corners it had rounded. The model card has
all commands; the last one is

    python -m train.vae moving_shapes_decoder --init-from VAE --steps 3000 --seed 32 \\
      --data moving-shapes moving-shapes-faint --data-weights 0.4 0.6 \\
      --optimizer.learning-rate 6e-4 --optimizer.muon-learning-rate 8e-3
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from configs.moving_shapes import LONG
from ltx_jax.config.runs import OutputConfig, Stage, VAERun


def vae() -> VAERun:
  """Only clips of the full size, at a lower learning rate."""
  run = moving_shapes.vae()
  return dataclasses.replace(
    run,
    stages=(Stage(900, (LONG,), tokens=256),),
    trained="decoder",
    loss=dataclasses.replace(run.loss, wavelet=0.02),
    optimizer=dataclasses.replace(
      run.optimizer, learning_rate=4e-4, muon_learning_rate=5e-3
    ),
    init_from="runs/vae_long/vae.safetensors",
    output=OutputConfig(folder="runs/vae_decoder"),
  )
