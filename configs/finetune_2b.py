"""Full fine-tuning of the released 2B model: thousands of clips, on one GPU of 80 GB.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl --output runs/finetune_2b/records \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl \\
      --buckets 121x512x768 121x768x512 1x1024x1536
    python -m train.transformer finetune_2b

The compiler gives 59 GB for a step of eight clips, one after another:

    python -m train.compile finetune_2b --device h100 --bucket 768x512x121

With eight GPUs each has a clip of its own, and the state is sharded over them:

    python -m train.transformer finetune_2b --optimizer.accumulate 1

The model forgets what it is not shown. To prevent that, mix in records of other clips,
here one in four. The first source of `--data` provides the held-out clips:

    python -m train.transformer finetune_2b --data runs/finetune_2b/records \\
      runs/others/records --data-weights 3 1

Expect a held-out loss that starts at the model's loss on such clips and falls slightly.
Stop when it rises (`samples/` and `metrics.jsonl`). With less than a few thousand
clips, train a LoRA (`lora`). Nobody has run it on the released weights yet.
"""

from __future__ import annotations

import dataclasses

from configs import ltxv_2b
from ltx_jax.config.runs import Stage, TransformerRun


def transformer() -> TransformerRun:
  """8 clips per step, one at a time."""
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
