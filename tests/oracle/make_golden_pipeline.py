"""Writes tests/golden/pipeline.npz: whole runs of the PyTorch original's pipeline.

python -m tests.oracle.make_golden_pipeline
"""

import contextlib
import pathlib
import tempfile
from unittest import mock

import numpy as np
import torch
from diffusers.models.autoencoders import vae as diffusers_vae
from ltx_video.models.autoencoders.causal_video_autoencoder import (
  CausalVideoAutoencoder,
)
from ltx_video.models.transformers.symmetric_patchifier import SymmetricPatchifier
from ltx_video.models.transformers.transformer3d import Transformer3DModel
from ltx_video.pipelines import pipeline_ltx_video
from ltx_video.schedulers.rf import RectifiedFlowScheduler

from ltx_jax.checkpoints.lightricks import save_checkpoint
from tests import pipeline_case as case

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "pipeline.npz"


def load_pipeline(path):
  """The original's pipeline on a single-file checkpoint, in float32, without T5."""
  return pipeline_ltx_video.LTXVideoPipeline(
    tokenizer=None,
    text_encoder=None,
    vae=CausalVideoAutoencoder.from_pretrained(path).float().eval(),
    transformer=Transformer3DModel.from_pretrained(path).float().eval(),
    scheduler=RectifiedFlowScheduler.from_pretrained(path),
    patchifier=SymmetricPatchifier(patch_size=1),
    prompt_enhancer_image_caption_model=None,
    prompt_enhancer_image_caption_processor=None,
    prompt_enhancer_llm_model=None,
    prompt_enhancer_llm_tokenizer=None,
  )


@contextlib.contextmanager
def replaced_draws():
  """Replaces the original's random draws; yields the list of their names."""
  names = []

  def tokens(shape, **_):
    index = sum(not name.startswith("posterior") for name in names)
    names.append("initial" if index == 0 else f"step/{index - 1}")
    return torch.tensor(case.draws(names[-1], tuple(shape)))

  def latents(name, shape):
    names.append(name)
    b, c, *grid = shape
    return torch.tensor(case.draws(name, (b, *grid, c))).moveaxis(-1, 1)

  def posterior(shape, **_):
    index = sum(name.startswith("posterior") for name in names)
    return latents(f"posterior/{index}", shape)

  with (
    mock.patch.object(pipeline_ltx_video, "randn_tensor", tokens),
    mock.patch.object(diffusers_vae, "randn_tensor", posterior),
    mock.patch.object(torch, "randn_like", lambda x: latents("decode", x.shape)),
  ):
    yield names


@torch.no_grad()
def run_original(run, pipeline):
  """Returns latents [b f h w c], video [b F H W 3] in [0, 1], and the draws' names."""
  (text, mask), (negative, negative_mask) = case.texts()
  repeated = [np.repeat(x, case.CLIPS, axis=0) for x in (negative, negative_mask)]
  options = {
    "height": case.HEIGHT,
    "width": case.WIDTH,
    "num_frames": case.FRAMES,
    "frame_rate": case.FPS,
    "prompt_embeds": torch.tensor(text),
    "prompt_attention_mask": torch.tensor(mask.astype(np.float32)),
    "negative_prompt": None,
    "negative_prompt_embeds": torch.tensor(repeated[0]),
    "negative_prompt_attention_mask": torch.tensor(repeated[1].astype(np.float32)),
    "num_inference_steps": run.sampling.steps,
    "guidance_scale": float(run.sampling.guidance),
    "stg_scale": 0.0,
    "rescaling_scale": 1.0,
    "image_cond_noise_scale": run.sampling.condition_noise,
    "decode_timestep": run.sampling.decode_sigma,
    "decode_noise_scale": run.sampling.decode_noise,
    "is_video": True,
    "vae_per_channel_normalize": True,
  }
  if run.strength is not None:
    media = torch.tensor(case.image()).moveaxis(-1, 0)[None]
    media = media.repeat(case.CLIPS, 1, 1, 1, 1)
    item = pipeline_ltx_video.ConditioningItem(media, 0, run.strength)
    options["conditioning_items"] = [item]
  results = []
  for output_type in ("latent", "pt"):
    with replaced_draws() as names:
      images = pipeline(output_type=output_type, **options).images
    results.append(images.moveaxis(1, -1).numpy())
  return *results, names


def original(name):
  """Runs the original on the case's parameters."""
  run = case.RUNS[name]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.safetensors"
    save_checkpoint(path, case.config(run.scheduler), case.params())
    pipeline = load_pipeline(path)
  pipeline.set_progress_bar_config(disable=True)
  return run_original(run, pipeline)


def main():
  arrays = {}
  for name in case.RUNS:
    latents, video, names = original(name)
    arrays[f"{name}/latents"] = latents
    arrays[f"{name}/video"] = video[:, ::2, ::4, ::4].astype(np.float32)
    print(name, latents.std(), video.std(), names)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
