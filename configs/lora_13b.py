"""A LoRA of the released 13B model: your own clips, on one GPU of 80 GB.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl --output runs/lora_13b/records \\
      --model ltxv-13b-0.9.8-dev.safetensors --text-encoder t5-v1_1-xxl \\
      --buckets 49x512x768
    python -m train.transformer lora_13b

Like `lora`, with rank 128. The compiler gives 48 GB for a step of one clip if the
trainer chooses what blocks keep, and 36 GB with `--remat full`:

    python -m train.compile lora_13b --device h100

It fits into 24 GB with the model in 8 bits and rank 32; the compiler gives 18 GB:

    python -m train.transformer lora_13b --lora.base-weights int8 --lora.rank 32 \\
      --remat full
    python -m train.compile lora_13b --device rtx4090 --lora.base-weights int8 \\
      --lora.rank 32 --remat full

Expect a visible difference between samples with and without the LoRA within a few
hundred steps. Nobody has run it on the released weights yet.
"""

from __future__ import annotations

import dataclasses

from configs import lora
from ltx_jax.config import TRANSFORMER_13B
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.runs import TransformerRun

RELEASED = "ltxv-13b-0.9.8-dev.safetensors"


def transformer() -> TransformerRun:
  """One clip per step, with rank 128."""
  run = lora.transformer()
  return dataclasses.replace(
    run,
    transformer=TRANSFORMER_13B,
    name="ltxv-13b-lora",
    vae=RELEASED,
    init_from=RELEASED,
    lora=LoRAConfig(rank=128),
    data=("runs/lora_13b/records",),
    output=dataclasses.replace(run.output, folder="runs/lora_13b"),
  )
