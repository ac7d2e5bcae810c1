"""The small VAE's first run: single images, where a step is cheap, then clips.

    python -m train.vae moving_shapes_images

`moving_shapes` starts from it. The shipped weights come from a run of this recipe that
was interrupted after 780 of its 1,150 steps.
"""

from __future__ import annotations

import dataclasses

from configs.moving_shapes import IMAGE, LARGE_IMAGE, LONG, SHORT, VAE
from ltx_jax.config.runs import (
  OptimizerConfig,
  OutputConfig,
  Stage,
  VAELossConfig,
  VAERun,
)


def vae() -> VAERun:
  """Single images first, then short clips, then the full size: cheap stages first."""
  return VAERun(
    vae=VAE,
    stages=(
      Stage(400, (IMAGE, LARGE_IMAGE), tokens=512),
      Stage(300, (SHORT,), tokens=192),
      Stage(450, (LONG, dataclasses.replace(LARGE_IMAGE, weight=0.15)), tokens=256),
    ),
    loss=VAELossConfig(wavelet=0.02, wavelet_ramp=(600, 800), kl=5e-4),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1.5e-3,
      muon_learning_rate=2e-2,
      warmup_steps=20,
      weight_decay=1e-3,
    ),
    output=OutputConfig(folder="runs/vae_images"),
  )
