"""A LoRA of the released 2B model: 20 to 100 clips of your own, on one GPU.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl --output runs/lora/records \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl \\
      --buckets 49x512x768
    python -m train.transformer lora

It needs the released file at --init-from, and the same file at --vae. It trains
low-rank updates of attention, and the model itself stays unchanged. With
`--lora.layers to_q to_k to_v to_out proj_in proj_out` the feed-forward layers get one
too, and `--lora.rank` sets how much the updates can hold. The run's folder gets
`lora-diffusers.safetensors`, which diffusers and `peft` read, and
`lora-comfyui.safetensors`; `sample.generate --lora` takes either. Each sample image
shows the model without the LoRA on the left and with it on the right.

It needs a GPU with 24 GB. The compiler gives 9 GB for a step of one clip; `python -m
train.plan lora` lists what other clips and ranks need:

    python -m train.compile lora --device rtx4090

Expect a visible difference between the two within a few hundred steps. Nobody has run
it on the released weights yet.
"""

from __future__ import annotations

from configs import ltxv_2b
from ltx_jax.config import SchedulerConfig
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.runs import (
  Bucket,
  MeshConfig,
  OptimizerConfig,
  OutputConfig,
  Stage,
  TransformerRun,
)

RELEASED = "ltxv-2b-0.9.6-dev-04-25.safetensors"


def transformer() -> TransformerRun:
  """One clip per step, with rank 32."""
  base = ltxv_2b.transformer()
  return TransformerRun(
    transformer=base.transformer,
    text=base.text,
    scheduler=SchedulerConfig(sampler="Uniform", shifting="SD3"),
    name="ltxv-2b-lora",
    vae=RELEASED,
    init_from=RELEASED,
    text_folder="text",
    lora=LoRAConfig(rank=32),
    data=("runs/lora/records",),
    stages=(Stage(2000, (Bucket(49, 512, 768),), tokens=7 * 16 * 24),),
    conditions=ConditionConfig(first_frame=0.2),
    optimizer=OptimizerConfig(learning_rate=2e-4, warmup_steps=50, weight_decay=0.0),
    mesh=MeshConfig(data=1, fsdp=-1),
    output=OutputConfig("runs/lora", sample_every=250, save_every=250),
    dtype="bfloat16",
  )
