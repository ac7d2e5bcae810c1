"""Writes tests/golden/vae.npz: results of the PyTorch original for small VAEs.

python -m tests.oracle.make_golden_vae
"""

import json
import pathlib
from unittest import mock

import jax
import numpy as np
import torch
from ltx_video.models.autoencoders.causal_video_autoencoder import (
  CausalVideoAutoencoder,
)

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.trees import flatten
from tests.models.vae_case import (
  SHORT,
  SIGMA,
  injected_noise,
  inputs,
  random_params,
  weights,
)

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "vae.npz"
# Of the pixels; both are coprime to every patch, so each place in a patch is seen.
THIN = (slice(None), slice(None), slice(None, None, 5), slice(None, None, 7))


def official_state(config, params):
  """Our tree under the original's names and in its layout."""
  flat = flatten(params)
  state = {}
  for entry in keys.vae_entries(config):
    array = np.asarray(flat[entry.path])
    array = array if entry.layer is None else array[entry.layer]
    array = np.array(entry.layout.official_view(array), order="C")
    state[entry.key] = torch.from_numpy(array)
  return state


def reference_model(config, params):
  metadata = json.loads(json.dumps(config.to_metadata()))
  model = CausalVideoAutoencoder.from_config(metadata).eval()
  model.load_state_dict(official_state(config, params), strict=True)
  return model


def channels_first(array):
  return torch.tensor(array).permute(0, 4, 1, 2, 3).requires_grad_()


def channels_last(tensor):
  return tensor.permute(0, 2, 3, 4, 1)


def run_reference(model, video, latents, sigma, images=None):
  """Runs the original on channels-first tensors; injects `images`, or zeros.

  Returns:
    mean, log-variance and decoded video, channels last.
  """
  if model.encoder.latent_log_var == "none":
    # The original would split these few channels in halves.
    mean = model.encoder(video)
    logvar = torch.full_like(mean, -30)
  else:
    posterior = model.encode(video).latent_dist
    mean, logvar = posterior.mean, posterior.logvar
  queue = None if images is None else list(images)

  def randn(shape, **_):
    if queue is None:
      return torch.zeros(shape)
    image = torch.tensor(queue.pop(0))
    assert image.shape == shape
    return image

  with mock.patch.object(torch, "randn", randn):
    decoded = model.decode(latents, target_shape=video.shape, timestep=sigma).sample
  assert not queue
  return tuple(channels_last(t) for t in (mean, logvar, decoded))


def main():
  arrays = {}
  for name, config in SHORT.items():
    model = reference_model(config, random_params(config))
    video, latents = (channels_first(array) for array in inputs(config))
    sigma = torch.tensor(SIGMA, requires_grad=True)
    images = injected_noise(config, jax.random.key(0), 2, 3)
    outputs = run_reference(model, video, latents, sigma, images)
    for part, out in zip(("mean", "logvar", "video"), outputs, strict=True):
      out = out.detach().numpy()
      arrays[f"{name}/{part}"] = out[THIN] if part == "video" else out
    if name == "short_c":
      sum((out * torch.tensor(weights(out.shape))).sum() for out in outputs).backward()
      arrays["gradient/video"] = channels_last(video.grad).numpy()[THIN]
      arrays["gradient/latents"] = channels_last(latents.grad).numpy()
      arrays["gradient/sigma"] = sigma.grad.numpy()
      kernel = model.decoder.conv_in.conv.weight.grad
      arrays["gradient/conv_in"] = kernel.permute(2, 3, 4, 1, 0).numpy()[1, ::2]
  np.savez_compressed(GOLDEN, **arrays)
  print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
  main()
