"""Writes tests/golden/tasks.npz: the PyTorch original on images and clips it is given.

python -m tests.oracle.make_golden_tasks
"""

import pathlib
import tempfile

import numpy as np
import torch
from ltx_video.pipelines.pipeline_ltx_video import ConditioningItem

from ltx_jax.checkpoints.lightricks import save_checkpoint
from tests import pipeline_case as base
from tests import tasks_case as case
from tests.oracle.make_golden_pipeline import how, load_pipeline, replaced_draws

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tasks.npz"


def pipeline():
  """The original on the case's parameters."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.safetensors"
    save_checkpoint(path, case.CONFIG, case.params())
    loaded = load_pipeline(path)
  loaded.set_progress_bar_config(disable=True)
  return loaded


def frames(media):
  """[F H W 3] to [b 3 F H W], once for each clip."""
  return torch.tensor(media).moveaxis(-1, 0)[None].repeat(base.CLIPS, 1, 1, 1, 1)


def options(sampling):
  """What every call is told."""
  (text, mask), (negative, negative_mask) = base.texts()
  repeated = [np.repeat(x, len(text), axis=0) for x in (negative, negative_mask)]
  return how(sampling) | {
    "height": case.HEIGHT,
    "width": case.WIDTH,
    "num_frames": case.FRAMES,
    "frame_rate": base.FPS,
    "prompt_embeds": torch.tensor(text),
    "prompt_attention_mask": torch.tensor(mask.astype(np.float32)),
    "negative_prompt": None,
    "negative_prompt_embeds": torch.tensor(repeated[0]),
    "negative_prompt_attention_mask": torch.tensor(repeated[1].astype(np.float32)),
    "is_video": True,
    "vae_per_channel_normalize": True,
    "output_type": "latent",
  }


@torch.no_grad()
def run_task(loaded, task):
  """Returns the original's latents [b f h w c] of a task, and the draws' names."""
  given = [
    ConditioningItem(frames(case.media(i, count)), frame, strength)
    for i, (frame, count, strength) in enumerate(task.given)
  ]
  video = frames(case.media("video", case.FRAMES)) if task.video else None
  told = options(task.sampling) | {"conditioning_items": given, "media_items": video}
  how_drawn = {"keyframes": task.keyframes, "video": task.video}
  with replaced_draws(slice(None), **how_drawn) as names:
    latents = loaded(**told).images
  return latents.moveaxis(1, -1).numpy(), names


def main():
  loaded, arrays = pipeline(), {}
  for name, task in case.TASKS.items():
    arrays[name], names = run_task(loaded, task)
    print(name, arrays[name].std(), names)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
