"""An in-context LoRA of the released 2B model: a reference clip guides the video.

    python -m train.manifest pairs/manifest.jsonl
    python -m train.precompute pairs/manifest.jsonl --output runs/ic_lora/records \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl \\
      --buckets 49x512x768
    python -m train.transformer ic_lora

Each row of the manifest names two clips of the same number of frames: `path` is what
the model learns to make, `reference` is what guides it, such as its outlines, its
depth, or the same scene in another style. All pairs show one kind of control.

The reference's tokens stand before the video's at the same positions, with a low noise
level of their own, so a step works on twice the tokens. Every batch shows references;
`--conditions.reference 0.9` leaves some out, so that the LoRA also works without one.
The sample image has the reference in the left column, then the model without the LoRA,
then with it. Use the LoRA's file with a reference of the same kind:

    python -m sample.generate "..." --model ltxv-2b-0.9.6-dev \\
      --lora runs/ic_lora/lora-diffusers.safetensors --reference outlines.mp4

It needs a GPU with 24 GB. The compiler gives 15 GB for a step of one pair:

    python -m train.compile ic_lora --device rtx4090

Expect the video to start to follow the reference within a few hundred steps; the sample
images show it. Nobody has run it on the released weights yet.
"""

from __future__ import annotations

import dataclasses

from configs import lora
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.lora import LAYERS, LoRAConfig
from ltx_jax.config.runs import OutputConfig, TransformerRun


def transformer() -> TransformerRun:
  """One pair per step, with rank 64 in every layer of the blocks."""
  return dataclasses.replace(
    lora.transformer(),
    name="ltxv-2b-ic-lora",
    lora=LoRAConfig(rank=64, layers=LAYERS),
    conditions=ConditionConfig(first_frame=0.2, reference=1.0),
    data=("runs/ic_lora/records",),
    output=OutputConfig("runs/ic_lora", sample_every=250, save_every=250),
  )
