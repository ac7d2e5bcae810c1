"""The 13B transformer from scratch, on the latents of the released VAE.

    python -m train.transformer ltxv_13b

Like ltxv_2b, on 64 v5p chips (v5p-128) or more: each of 64 chips holds 3.3 GB of the
state. To check what fits before you book a machine:

    python -m train.compile ltxv_13b --device v5p-128 --clips 1
"""

from __future__ import annotations

import dataclasses

from configs import ltxv_2b
from ltx_jax.config import TRANSFORMER_13B
from ltx_jax.config.runs import Stage, TransformerRun


def transformer() -> TransformerRun:
  """The 2B recipe's clips, 64 per batch."""
  run = ltxv_2b.transformer()
  return dataclasses.replace(
    run,
    transformer=TRANSFORMER_13B,
    name="ltxv-13b",
    vae="ltxv-13b-0.9.8-dev.safetensors",
    stages=(Stage(200_000, ltxv_2b.BUCKETS, tokens=64 * ltxv_2b.TOKENS),),
    output=dataclasses.replace(run.output, folder="runs/ltxv_13b"),
  )
