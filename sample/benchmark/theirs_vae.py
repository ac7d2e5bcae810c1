"""The PyTorch original's side of training the Video-VAE; see `vae_training` for ours.

The networks are the original's. It has no losses of its own, so they are written here
as `train.trainers.vae_step` defines them.
"""

from __future__ import annotations

from sample.benchmark import worker


def _haar_error(error):
  """Returns the mean absolute value of the Haar bands of an error [b c F H W]."""
  import torch

  error = torch.cat([error[:, :, :1], error], 2)
  for axis in (2, 3, 4):
    a, b = error.unflatten(axis, (-1, 2)).unbind(axis + 1)
    error = torch.cat([a + b, a - b], 0) / 2**0.5
  return error.abs().mean()


def _losses(model, video, draws, moments, weights):
  """Returns the loss, its parts, and the moments of the encoder's means."""
  z, sigma, noise = draws
  posterior = model.encode(video).latent_dist
  mean, logvar = posterior.mean, posterior.logvar
  of_mean, of_square = (each[:, None, None, None] for each in moments)
  std = (of_square - of_mean**2).clamp_min(1e-8).sqrt()
  level = sigma[:, None, None, None, None]
  latents = mean + (0.5 * logvar).exp() * z
  latents = of_mean + (1 - level) * (latents - of_mean) + level * std * noise
  made = model.decode(
    latents, target_shape=video.shape, timestep=sigma, return_dict=False
  )[0]
  mse = (made - video).square().mean()
  wavelet = _haar_error(made - video)
  kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
  loss = weights["mse"] * mse + weights["wavelet"] * wavelet + weights["kl"] * kl
  axes, mean = (0, 2, 3, 4), mean.detach()
  found = mean.mean(axes), mean.square().mean(axes)
  return loss, {"mse": mse, "wavelet": wavelet, "kl": kl}, found


def start(spec: worker.Spec):
  """Returns the original's VAE, the clips, the first draws, and the moments."""
  import numpy as np
  import torch
  from ltx_video.models.autoencoders.causal_video_autoencoder import (
    CausalVideoAutoencoder,
  )

  model = CausalVideoAutoencoder.from_pretrained(spec["path"]).float().train()
  with np.load(spec["batch"]) as file:
    arrays = {name: torch.from_numpy(file[name]) for name in file.files}
  first = [arrays[name] for name in ("posterior", "sigma", "noise")]
  first = [x.movedim(-1, 1).contiguous() if x.ndim > 1 else x for x in first]
  video = arrays["video"].movedim(-1, 1).contiguous()
  mean = model.mean_of_means.float()
  return model, video, first, (mean, mean**2 + model.std_of_means.float() ** 2)


def gradients(model, video, draws, moments, weights):
  """Returns the loss's parts and the new moments; leaves gradients at the model."""
  loss, parts, found = _losses(model, video / 127.5 - 1, draws, moments, weights)
  loss.backward()
  figures = {name: value.item() for name, value in ({"loss": loss} | parts).items()}
  return figures, found


def training(spec: worker.Spec) -> worker.Run:
  """Returns a run of one step; its `figures` are those of the first."""
  import torch

  model, video, first, moments = start(spec)
  weights, options = spec["loss"], spec["optimizer"]
  optimizer = torch.optim.AdamW(
    model.parameters(),
    lr=options["learning_rate"],
    betas=(options["b1"], options["b2"]),
    weight_decay=options["weight_decay"],
  )
  state = {"moments": moments, "draws": first}
  rate = 1 - weights["statistics_decay"]

  def step():
    z, sigma, noise = state["draws"]
    optimizer.zero_grad()
    figures, found = gradients(
      model, video, (z, sigma, noise), state["moments"], weights
    )
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options["clip_norm"])
    optimizer.step()
    pairs = zip(state["moments"], found, strict=True)
    state["moments"] = [torch.lerp(old, new, rate) for old, new in pairs]
    level = torch.rand_like(sigma) * weights["max_sigma"]
    state["draws"] = torch.randn_like(z), level, torch.randn_like(noise)
    if not step.figures:
      step.figures |= figures | {"grad_norm": norm.item()}
    return figures["loss"]

  step.figures = {}
  return step


def convolutions(spec: worker.Spec) -> worker.Run:
  """Returns a run of convolutions, with the gradients of kernels and inputs."""
  import torch

  def inputs(shape, features, strides, to_input):
    b, frames, height, width, c = shape
    x = torch.randn(b, c, frames, height, width)
    kernel = torch.randn(features, c, 3, 3, 3)
    dy = torch.randn_like(torch.nn.functional.conv3d(x, kernel, None, strides, _EDGE))
    return x, kernel, dy, strides, to_input

  given = [inputs(*row) for row in spec["convolutions"]]

  def both_ways(x, kernel, dy, strides, to_input):
    y = torch.nn.functional.conv3d(x, kernel, None, strides, _EDGE)
    rest = None, strides, _EDGE, (1, 1, 1), False, (0, 0, 0), 1
    mask = to_input, True, False
    return y, torch.ops.aten.convolution_backward(dy, x, kernel, *rest, mask)

  return lambda: [both_ways(*row) for row in given]


_EDGE = (0, 1, 1)
"""Padding of a convolution: time is padded already, as the original does."""
