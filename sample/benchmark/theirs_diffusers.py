"""The diffusers side of `sample.benchmark`: a process that runs its pipeline.

It needs torch, diffusers and transformers, and nothing of this package. The checkpoint
is the one that our side reads, written as a folder (`sample.convert`).
"""

from __future__ import annotations

import sys

from sample.benchmark import theirs, worker


def _pipeline(folder):
  import torch
  from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
  )

  def part(kind, name):
    return kind.from_pretrained(folder, subfolder=name, torch_dtype=torch.float32)

  pipeline = LTXPipeline(
    scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(
      folder, subfolder="scheduler"
    ),
    vae=part(AutoencoderKLLTXVideo, "vae").eval(),
    transformer=part(LTXVideoTransformer3DModel, "transformer").eval(),
    text_encoder=None,
    tokenizer=None,
  )
  pipeline.set_progress_bar_config(disable=True)
  return pipeline


def _generate(spec):
  import torch

  pipeline = _pipeline(spec["folder"])
  f, h, w = spec["video"]
  shape = (1, spec["text_tokens"], spec["caption_channels"])
  mask = torch.ones(shape[:2], dtype=torch.int64)
  options = {
    "num_frames": f,
    "height": h,
    "width": w,
    "frame_rate": spec["fps"],
    "num_inference_steps": spec["steps"],
    "guidance_scale": spec["guidance"],
    "decode_timestep": spec["decode_sigma"],
    "decode_noise_scale": spec["decode_noise"],
    "prompt_embeds": torch.randn(shape),
    "prompt_attention_mask": mask,
    "negative_prompt_embeds": torch.randn(shape),
    "negative_prompt_attention_mask": mask,
    "output_type": "pt",
  }
  stages = worker.Stages()
  pipeline.vae.decode = stages.timed("decode", pipeline.vae.decode)
  return stages.around(
    "denoise", lambda: pipeline(**options).frames.permute(0, 2, 1, 3, 4)
  )


def build(spec: worker.Spec) -> tuple[worker.Run, worker.Answer]:
  """Returns a function that runs the task, run once already.

  Raises:
    ValueError: If the task is not `generate`.
  """
  import diffusers
  import torch

  if spec["kind"] != "generate":
    raise ValueError(f"diffusers is timed for 'generate', not {spec['kind']!r}.")
  torch.set_num_threads(spec["threads"])
  run = torch.inference_mode()(_generate)(spec)
  versions = {"torch": torch.__version__, "diffusers": diffusers.__version__}
  return run, {"warm_up": worker.seconds_of(run), "versions": versions}


if __name__ == "__main__":
  worker.limit_threads(int(sys.argv[1]))
  worker.serve(build, theirs.product, sys.stdin, worker.answer_on_stdout())
