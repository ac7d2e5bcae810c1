"""Full fine-tuning of the released 13B model: many clips, on eight GPUs of 80 GB.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl \\
      --output runs/finetune_13b/records \\
      --model ltxv-13b-0.9.8-dev.safetensors --text-encoder t5-v1_1-xxl \\
      --buckets 121x512x768 121x768x512 1x1024x1536
    python -m train.transformer finetune_13b

Like `finetune_2b`, with one clip per GPU. The compiler gives 67 GB per GPU for a step:

    python -m train.compile finetune_13b --device 8xh100 --bucket 768x512x121

To keep the model from forgetting, mix in records of other clips, here one in four:

    python -m train.transformer finetune_13b --data runs/finetune_13b/records \\
      runs/others/records --data-weights 3 1

A checkpoint takes about 200 GB of disk. Nobody has run it on the released weights yet.
"""

from __future__ import annotations

import dataclasses

from configs import finetune_2b, lora_13b
from ltx_jax.config import TRANSFORMER_13B
from ltx_jax.config.runs import TransformerRun


def transformer() -> TransformerRun:
  """The 2B recipe's clips, all at once."""
  run = finetune_2b.transformer()
  return dataclasses.replace(
    run,
    transformer=TRANSFORMER_13B,
    name="ltxv-13b-finetuned",
    vae=lora_13b.RELEASED,
    init_from=lora_13b.RELEASED,
    data=("runs/finetune_13b/records",),
    optimizer=dataclasses.replace(run.optimizer, accumulate=1),
    remat="dots",
    output=dataclasses.replace(run.output, folder="runs/finetune_13b"),
  )
