"""The released 2B model trained on in full: thousands of clips, on one GPU of 80 GB.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl --output runs/finetune_2b/records \
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl \
      --buckets 121x512x768 121x768x512 1x1024x1536
    python -m train.transformer finetune_2b

A step of eight clips, taken one after the other, is compiled with 59 GB:

    python -m train.compile finetune_2b --device h100 --bucket 768x512x121

On eight GPUs each has a clip of its own, and the state is split over them:

    python -m train.transformer finetune_2b --optimizer.accumulate 1

What it is not shown it forgets. Records of other clips, one in four here, go against
that; those of `--data` that come first give the held-out ones:

    python -m train.transformer finetune_2b --data runs/finetune_2b/records \
      runs/others/records --data-weights 3 1

Expect a held-out loss that starts where the model's lies on such clips and falls by
little; stop where it rises (`samples/` and `metrics.jsonl`), and take a LoRA (`lora`)
for less than some thousand clips. Nobody has run it on the released weights yet.
"""

from __future__ import annotations

import dataclasses

from configs import ltxv_2b
from ltx_jax.config.runs import Stage, TransformerRun


def transformer() -> TransformerRun:
  """8 clips a step, one at a time."""
  run = ltxv_2b.transformer()
  return dataclasses.replace(
    run,
    name="ltxv-2b-finetuned",
    init_from=run.vae,
    data=("runs/finetune_2b/records",),
    stages=(Stage(5000, ltxv_2b.BUCKETS, tokens=8 * ltxv_2b.TOKENS),),
    optimizer=dataclasses.replace(
      run.optimizer,
      learning_rate=1e-5,
      warmup_steps=200,
      ema_decay=0.999,
      accumulate=8,
    ),
    output=dataclasses.replace(
      run.output, folder="runs/finetune_2b", sample_every=500, save_every=500
    ),
  )
