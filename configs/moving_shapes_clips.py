"""The small VAE's second run: whole clips, after images and short clips.

    python -m train.vae moving_shapes_clips

`moving_shapes` starts from it. The shipped weights come from a run of this recipe.
"""

from __future__ import annotations

import dataclasses

from configs import moving_shapes
from ltx_jax.config.runs import OutputConfig, VAERun


def vae() -> VAERun:
  """Clips of both lengths, then whole ones, as in the next run but fewer steps."""
  run = moving_shapes.vae()
  steps = (400, 350)
  return dataclasses.replace(
    run,
    stages=tuple(
      dataclasses.replace(stage, steps=count)
      for stage, count in zip(run.stages, steps, strict=True)
    ),
    init_from="runs/vae_images/vae.safetensors",
    output=OutputConfig(folder="runs/vae_clips"),
  )
