"""The 2B transformer from scratch, on the latents of the released VAE.

    python -m train.transformer ltxv_2b

It needs the released file at --vae, records made by its VAE at --data, and the folder
of T5-XXL and its tokenizer at --text-folder. To train a released checkpoint further,
use `finetune_2b`.

Landscape and portrait clips share batches. So do buckets you add, if their numbers of
tokens are within 20 % of each other (`--token-dropping`).

Hardware: eight v5p chips (v5p-16) or eight H100s. The state is sharded over all of
them, and each works on clips of its own. To check what fits before you book a machine:

    python -m train.compile ltxv_2b --device v5p-16 --clips 2
"""

from __future__ import annotations

import dataclasses

from ltx_jax.config import TRANSFORMER_2B, SchedulerConfig, TextEncoderConfig
from ltx_jax.config.runs import (
  Bucket,
  MeshConfig,
  OptimizerConfig,
  OutputConfig,
  Stage,
  TransformerRun,
)

BUCKETS = (
  Bucket(121, 512, 768),
  Bucket(121, 768, 512, weight=0.5),
  Bucket(1, 1024, 1536, weight=0.2),
)
TOKENS = 6144
"""Number of tokens of a clip in the largest bucket."""


def transformer() -> TransformerRun:
  """16 clips per batch."""
  return TransformerRun(
    transformer=dataclasses.replace(TRANSFORMER_2B, causal_temporal_positioning=True),
    text=TextEncoderConfig(),
    scheduler=SchedulerConfig(sampler="Uniform", shifting="SD3"),
    name="ltxv-2b",
    vae="ltxv-2b-0.9.6-dev-04-25.safetensors",
    text_folder="text",
    stages=(Stage(200_000, BUCKETS, tokens=16 * TOKENS),),
    optimizer=OptimizerConfig(
      learning_rate=1e-4, warmup_steps=1000, ema_decay=0.9999, weight_decay=0.01
    ),
    token_dropping=0.2,
    mesh=MeshConfig(data=1, fsdp=-1),
    output=OutputConfig("runs/ltxv_2b", sample_every=2000, save_every=1000),
    dtype="bfloat16",
  )
