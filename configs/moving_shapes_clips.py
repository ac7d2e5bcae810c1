"""The small VAE's second run: from what images and short clips taught it, whole clips.

    python -m train.vae moving_shapes_clips

`moving_shapes` starts from it. The shipped weights come from a run of this recipe.
"""

from __future__ import annotations

import dataclasses

from configs.moving_shapes import LARGE_IMAGE, LONG, MIDDLE, VAE
from ltx_jax.run_config import (
  OptimizerConfig,
  OutputConfig,
  Stage,
  VAELossConfig,
  VAERun,
)


def vae() -> VAERun:
  """Clips of both lengths, then whole ones.

  The KL term is weaker than at first, when it keeps the latents from growing.
  """
  few_images = dataclasses.replace(LARGE_IMAGE, weight=0.1)
  return VAERun(
    vae=VAE,
    stages=(
      Stage(
        400,
        (
          dataclasses.replace(MIDDLE, weight=0.6),
          dataclasses.replace(LONG, weight=0.4),
          few_images,
        ),
        tokens=320,
      ),
      Stage(350, (LONG, few_images), tokens=256),
    ),
    loss=VAELossConfig(wavelet=0.02, kl=1e-4),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1.2e-3,
      muon_learning_rate=1.5e-2,
      warmup_steps=20,
      weight_decay=1e-3,
    ),
    init_from="runs/vae_images/vae.safetensors",
    output=OutputConfig(folder="runs/vae_clips"),
  )
