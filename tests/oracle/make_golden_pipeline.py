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
from ltx_video.utils.skip_layer_strategy import SkipLayerStrategy

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
def replaced_draws(clips, *, keyframes=(), video=False, prefix=""):
  """Replaces the original's random draws for some clips; yields the draws' names.

  Args:
    clips: Those of the case's clips that are run.
    keyframes: Numbers of the conditions that have keyframes.
    video: Whether what is encoded first is a clip to start from.
    prefix: Prefix of the names.
  """
  names = []

  def numbered(name):
    return f"{name}/{sum(other.startswith(prefix + name) for other in names)}"

  def drawn(name, shape):
    names.append(prefix + name)
    return torch.tensor(case.draws(names[-1], (case.CLIPS, *shape[1:]))[clips])

  def latents(name, shape):
    b, c, *grid = shape
    return drawn(name, (b, *grid, c)).moveaxis(-1, 1)

  def of_the_pipeline(shape, **_):
    if len(shape) == 5:
      number = sum(name.startswith(f"{prefix}condition") for name in names)
      return latents(f"condition/{keyframes[number]}", shape)
    first = f"{prefix}initial" not in names
    return drawn("initial" if first else numbered("step"), shape)

  def posterior(shape, **_):
    return latents("video" if video and not names else numbered("posterior"), shape)

  def like(x):
    if x.ndim == 3:
      return drawn(numbered("stochastic"), x.shape)
    return latents("decode", x.shape)

  with (
    mock.patch.object(pipeline_ltx_video, "randn_tensor", of_the_pipeline),
    mock.patch.object(diffusers_vae, "randn_tensor", posterior),
    mock.patch.object(torch, "randn_like", like),
  ):
    yield names


def _listed(value):
  """The original asks for lists, of lists and numbers."""
  return [_listed(v) for v in value] if isinstance(value, tuple) else value


def how(sampling):
  """The original's options of guidance and of noise levels."""
  names = {
    "attention_values": SkipLayerStrategy.AttentionValues,
    "attention_skip": SkipLayerStrategy.AttentionSkip,
    "residual": SkipLayerStrategy.Residual,
    "transformer_block": SkipLayerStrategy.TransformerBlock,
  }
  return {
    "num_inference_steps": sampling.steps,
    "timesteps": _listed(sampling.sigmas),
    "guidance_scale": _listed(sampling.guidance),
    "cfg_star_rescale": sampling.cfg_star,
    "stg_scale": _listed(sampling.stg),
    "skip_layer_strategy": names[sampling.stg_mode],
    "skip_block_list": _listed(sampling.stg_blocks),
    "rescaling_scale": _listed(sampling.rescale),
    "guidance_timesteps": _listed(sampling.guidance_sigmas),
    "skip_initial_inference_steps": sampling.skip_initial,
    "skip_final_inference_steps": sampling.skip_final,
    "stochastic_sampling": sampling.stochastic,
    "image_cond_noise_scale": sampling.condition_noise,
    "decode_timestep": sampling.decode_sigma,
    "decode_noise_scale": sampling.decode_noise,
    "tone_map_compression_ratio": sampling.tone_map,
  }


def told(sampling, size, clips=slice(None)):
  """Arguments of every call of the original; `size` is (frames, height, width)."""
  (text, mask), (negative, negative_mask) = case.texts()
  text, mask = text[clips], mask[clips]
  repeated = [np.repeat(x, len(text), axis=0) for x in (negative, negative_mask)]
  return how(sampling) | {
    **dict(zip(("num_frames", "height", "width"), size, strict=True)),
    "frame_rate": case.FPS,
    "prompt_embeds": torch.tensor(text),
    "prompt_attention_mask": torch.tensor(mask.astype(np.float32)),
    "negative_prompt": None,
    "negative_prompt_embeds": torch.tensor(repeated[0]),
    "negative_prompt_attention_mask": torch.tensor(repeated[1].astype(np.float32)),
    "is_video": True,
    "vae_per_channel_normalize": True,
  }


@torch.no_grad()
def run_original(run, pipeline, clips=slice(None)):
  """Returns latents [b f h w c], video [b F H W 3] in [0, 1], and the draws' names.

  Args:
    clips: Clips of the case; guidance of the original is right for one only.
  """
  options = told(run.sampling, (case.FRAMES, case.HEIGHT, case.WIDTH), clips)
  if run.strength is not None:
    media = torch.tensor(case.image()).moveaxis(-1, 0)[None]
    media = media.repeat(len(options["prompt_embeds"]), 1, 1, 1, 1)
    item = pipeline_ltx_video.ConditioningItem(media, 0, run.strength)
    options["conditioning_items"] = [item]
  if run.from_latents:
    options["latents"] = torch.tensor(case.start_latents()[clips]).moveaxis(-1, 1)
  results = []
  for output_type in ("latent", "pt"):
    with replaced_draws(clips) as names:
      images = pipeline(output_type=output_type, **options).images
    results.append(images.moveaxis(1, -1).numpy())
  return *results, names


def _pipeline_of(run):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.safetensors"
    save_checkpoint(path, case.config(run.scheduler), case.params())
    pipeline = load_pipeline(path)
  pipeline.set_progress_bar_config(disable=True)
  return pipeline


def original(name):
  """Runs the original on the case's parameters."""
  run = case.RUNS[name]
  return run_original(run, _pipeline_of(run))


def original_one_by_one(name):
  """Runs the original for each clip of one of `GUIDED` alone; the same, stacked."""
  run = case.GUIDED[name]
  pipeline = _pipeline_of(run)
  each = [run_original(run, pipeline, slice(i, i + 1)) for i in range(case.CLIPS)]
  latents, videos, names = zip(*each, strict=True)
  return np.concatenate(latents), np.concatenate(videos), names[0]


def main():
  arrays = {}
  for name in case.RUNS:
    latents, video, names = original(name)
    arrays[f"{name}/latents"] = latents
    arrays[f"{name}/video"] = video[:, ::2, ::4, ::4].astype(np.float32)
    print(name, latents.std(), video.std(), names)
  for name in case.GUIDED:
    arrays[f"{name}/latents"], _, names = original_one_by_one(name)
    print(name, names)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
