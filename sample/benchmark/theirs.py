"""The PyTorch original's side of `sample.benchmark`: a process that runs one task.

It needs torch, ltx_video and diffusers, and nothing of this package. Networks are built
without memory and filled in place, so that weights exist only once.
"""

from __future__ import annotations

import sys

from sample.benchmark import theirs_vae, worker


def _random_(module, std):
  """Gives a network built on the "meta" device its memory and uniform weights."""
  import torch

  module = module.to_empty(device=torch.get_default_device()).eval()
  bound = std * 3**0.5
  with torch.no_grad():
    for parameter in module.parameters():
      parameter.uniform_(-bound, bound)
    for buffer in module.buffers():
      buffer.fill_(1)
  return module


def _velocity(spec):
  import torch
  from ltx_video.models.transformers.transformer3d import Transformer3DModel

  config = spec["transformer"]
  with torch.device("meta"):
    model = Transformer3DModel.from_config(config)
  model = _random_(model, spec["std"])
  n, m = spec["tokens"], spec["text_tokens"]
  inputs = {
    "hidden_states": torch.randn(1, n, config["in_channels"]),
    "indices_grid": torch.rand(1, 3, n, dtype=torch.float32),
    "encoder_hidden_states": torch.randn(1, m, config["caption_channels"]),
    "timestep": torch.tensor([[0.5]]),
    "encoder_attention_mask": torch.ones(1, m),
    "return_dict": False,
  }
  return lambda: model(**inputs)[0]


def _training(spec):
  import torch
  from ltx_video.models.transformers.transformer3d import Transformer3DModel

  config = spec["transformer"]
  with torch.device("meta"):
    model = Transformer3DModel.from_config(config)
  model = _random_(model, spec["std"]).train()
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
  b, n, m = spec["clips"], spec["tokens"], spec["text_tokens"]
  x0 = torch.randn(b, n, config["in_channels"])
  inputs = {
    "indices_grid": torch.rand(1, 3, n).expand(b, 3, n),
    "encoder_hidden_states": torch.randn(b, m, config["caption_channels"]),
    "encoder_attention_mask": torch.ones(b, m),
    "return_dict": False,
  }

  def step():
    noise, sigma = torch.randn_like(x0), torch.sigmoid(torch.randn(b, 1))
    xt = torch.lerp(x0, noise, sigma[..., None])
    velocity = model(hidden_states=xt, timestep=sigma, **inputs)[0]
    loss = torch.nn.functional.mse_loss(velocity, noise - x0)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()

  return step


def _vae(spec, unused):
  """Returns the original's VAE without the half that is not run."""
  import torch
  from ltx_video.models.autoencoders.causal_video_autoencoder import (
    CausalVideoAutoencoder,
  )

  with torch.device("meta"):
    model = CausalVideoAutoencoder.from_config(spec["vae"])
  setattr(model, unused, None)
  return _random_(model, spec["std"])


def _encode(spec):
  import torch

  model = _vae(spec, "decoder")
  f, h, w = spec["video"]
  video = torch.rand(1, 3, f, h, w) * 2 - 1
  return lambda: model.encode(video).latent_dist.mode()


def _decode(spec):
  import torch

  model = _vae(spec, "encoder")
  f, h, w = spec["latents"]
  latents = torch.randn(1, spec["vae"]["latent_channels"], f, h, w)
  sigma = torch.tensor([spec["sigma"]])
  shape = (1, 3, *spec["video"])
  return lambda: model.decode(
    latents, target_shape=shape, timestep=sigma, return_dict=False
  )[0]


def _pipeline(path):
  from ltx_video.models.autoencoders.causal_video_autoencoder import (
    CausalVideoAutoencoder,
  )
  from ltx_video.models.transformers.symmetric_patchifier import SymmetricPatchifier
  from ltx_video.models.transformers.transformer3d import Transformer3DModel
  from ltx_video.pipelines.pipeline_ltx_video import LTXVideoPipeline
  from ltx_video.schedulers.rf import RectifiedFlowScheduler

  pipeline = LTXVideoPipeline(
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
  pipeline.set_progress_bar_config(disable=True)
  return pipeline


def _generate(spec):
  import torch

  pipeline = _pipeline(spec["path"])
  f, h, w = spec["video"]
  shape = (1, spec["text_tokens"], spec["caption_channels"])
  options = {
    "num_frames": f,
    "height": h,
    "width": w,
    "frame_rate": spec["fps"],
    "num_inference_steps": spec["steps"],
    "guidance_scale": spec["guidance"],
    "stg_scale": 0.0,
    "rescaling_scale": 1.0,
    "decode_timestep": spec["decode_sigma"],
    "decode_noise_scale": spec["decode_noise"],
    "prompt_embeds": torch.randn(shape),
    "prompt_attention_mask": torch.ones(shape[:2]),
    "negative_prompt": None,
    "negative_prompt_embeds": torch.randn(shape),
    "negative_prompt_attention_mask": torch.ones(shape[:2]),
    "is_video": True,
    "vae_per_channel_normalize": True,
    "output_type": "pt",
  }
  stages = worker.Stages()
  pipeline.vae.decode = stages.timed("decode", pipeline.vae.decode)
  return stages.around("denoise", lambda: pipeline(**options).images)


def _without_gradients(task):
  """Returns a task that keeps nothing for a backward pass."""

  def build(spec):
    import torch

    return torch.inference_mode()(task(spec))

  return build


_TASKS = {
  "velocity": _without_gradients(_velocity),
  "encode": _without_gradients(_encode),
  "decode": _without_gradients(_decode),
  "training": _training,
  "vae-training": theirs_vae.training,
  "vae-convolutions": _without_gradients(theirs_vae.convolutions),
  "generate": _without_gradients(_generate),
}


def build(spec: worker.Spec) -> tuple[worker.Run, worker.Answer]:
  """Returns a function that runs the task, run once already.

  It runs on the CPU in float32, unless the task names a "device" and a "dtype".
  """
  import importlib.metadata

  import torch

  torch.set_num_threads(spec["threads"])
  torch.set_default_device(spec.get("device", "cpu"))
  torch.set_default_dtype(getattr(torch, spec.get("dtype", "float32")))
  dispatch = _TASKS[spec["kind"]](spec)
  run = _waiting(dispatch) if spec.get("device") == "cuda" else dispatch
  versions = {"torch": torch.__version__}
  versions["ltx-video"] = importlib.metadata.version("ltx-video")
  return run, {"warm_up": worker.seconds_of(run), "versions": versions}


def _waiting(dispatch: worker.Run) -> worker.Run:
  """Returns a run on a GPU that ends when its work is done, and reports its peak."""
  import torch

  def run():
    dispatch()
    torch.cuda.synchronize()

  run.peak = torch.cuda.max_memory_allocated
  return run


def product(size: int) -> worker.Run:
  """Returns a function that multiplies two square matrices."""
  import torch

  a = torch.rand(size, size)
  return lambda: a @ a


if __name__ == "__main__":
  worker.limit_threads(int(sys.argv[1]))
  worker.serve(build, product, sys.stdin, worker.answer_on_stdout())
