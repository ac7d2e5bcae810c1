"""Writes tests/golden/tasks.npz: the PyTorch original on images and clips it is given.

python -m tests.oracle.make_golden_tasks
"""

import pathlib
import tempfile

import numpy as np
import torch
from ltx_video.models.autoencoders.latent_upsampler import LatentUpsampler
from ltx_video.pipelines.pipeline_ltx_video import (
  ConditioningItem,
  LTXMultiScalePipeline,
)

from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.upsampler import save_upsampler
from tests import pipeline_case as base
from tests import tasks_case as case
from tests.models import upsampler_case
from tests.oracle.make_golden_pipeline import (
  how,
  load_pipeline,
  replaced_draws,
  told,
)

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


@torch.no_grad()
def run_task(loaded, task):
  """Returns the original's latents [b f h w c] of a task, and the draws' names."""
  given = [
    ConditioningItem(frames(case.media(i, count)), frame, strength)
    for i, (frame, count, strength) in enumerate(task.given)
  ]
  video = frames(case.media("video", case.FRAMES)) if task.video else None
  size = case.FRAMES, case.HEIGHT, case.WIDTH
  options = told(task.sampling, size) | {"output_type": "latent"}
  options |= {"conditioning_items": given, "media_items": video}
  how_drawn = {"keyframes": task.keyframes, "video": task.video}
  with replaced_draws(slice(None), **how_drawn) as names:
    latents = loaded(**options).images
  return latents.moveaxis(1, -1).numpy(), names


class Passes:
  """Calls the pipeline as the two passes do, each with names of draws of its own."""

  def __init__(self, loaded, clips=slice(None)):
    self.loaded, self.vae, self.clips = loaded, loaded.vae, clips
    self.vae_scale_factor = loaded.vae_scale_factor
    self.prefixes, self.names = iter(("", "second/")), []

  def __call__(self, **told):
    with replaced_draws(self.clips, prefix=next(self.prefixes)) as names:
      result = self.loaded(**told)
    self.names += names
    return result


def upscaler():
  """The original's latent upsampler on the case's parameters."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "upsampler.safetensors"
    made = upsampler_case.random_params(case.UPSAMPLER)
    save_upsampler(path, case.UPSAMPLER, made)
    return LatentUpsampler.from_pretrained(path).eval()


def _both_passes(each, passes, options):
  """Returns the results of the passes, channels last; `each` is a `Passes`."""
  first, second = (how(sampling) for sampling in passes.both)
  made = LTXMultiScalePipeline(each, upscaler())(
    downscale_factor=passes.scale, first_pass=first, second_pass=second, **options
  )
  return made.images.moveaxis(1, -1).numpy()


@torch.no_grad()
def run_passes(loaded, passes):
  """Returns latents [b f h w c], video [b F H W 3] in [0, 1], and draws' names."""
  image = ConditioningItem(frames(case.media("large", 1, *case.LARGE[1:])), 0, 1.0)
  options = told(passes.first, case.LARGE) | {"conditioning_items": [image]}
  results = []
  for output_type in ("latent", "pt"):
    each = Passes(loaded)
    results.append(_both_passes(each, passes, options | {"output_type": output_type}))
  return *results, each.names


@torch.no_grad()
def latents_of_passes(loaded, passes, clips):
  """The latents of some clips, with nothing given but the text, and draws' names."""
  each = Passes(loaded, clips)
  options = told(passes.first, case.LARGE, clips) | {"output_type": "latent"}
  return _both_passes(each, passes, options), each.names


def main():
  loaded, arrays = pipeline(), {}
  for name, task in case.TASKS.items():
    arrays[name], names = run_task(loaded, task)
    print(name, arrays[name].std(), names)
  for name, passes in case.PASSES.items():
    arrays[name], video, names = run_passes(loaded, passes)
    arrays[f"{name}/video"] = video[:, ::2, ::4, ::4]
    print(name, arrays[name].std(), video.std(), names)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
