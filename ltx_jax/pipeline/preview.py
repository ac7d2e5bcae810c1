"""Previews while a clip is denoised: a small image of the expected result per step.

After a step the latents x' are at the noise level sigma' and still look like noise. The
network's estimate of the clean latents follows from the step, which went along v:

  v   = (x - x') / (sigma - sigma')
  x_0 = x' - sigma' v

A stochastic step draws fresh noise, which hides the velocity. Then x_0 is the best
guess from x' alone, for latents of variance 1, and the preview is noisier:

  x_0 = (1 - sigma') x' / ((1 - sigma')^2 + sigma'^2)

A latent position holds 32x32 pixels of 8 frames in 128 channels. Their mean colour is
nearly linear in the channels: rgb = W x_0 + b. `fit` finds W and b by least squares,
from moving rectangles that the VAE encodes. A preview costs almost nothing next to a
step.

    on_step = after_each_step(way, fit(model), show)   # show(index, steps, pictures)
    video = generate(way, request, on_step=on_step)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax.config import VAEConfig
from ltx_jax.data.pixels import to_uint8
from ltx_jax.diffusion import schedules
from ltx_jax.pipeline.generate import OnStep, Way
from ltx_jax.pipeline.networks import Networks
from ltx_jax.typing import AnyArray, Latents, Scalar

Pictures = UInt8[np.ndarray, "b f h w 3"]
Show = Callable[[int, int, Pictures], Any]
"""Called with (index, steps, pictures): one pixel per latent position."""

_SIDE, _CLIPS, _RECTANGLES, _RIDGE = 4, 32, 3, 0.1


class Preview(NamedTuple):
  """A linear map from normalised latents to colours in [-1, 1]."""

  weights: Float[AnyArray, "c 3"]
  bias: Float[AnyArray, "3"]


def colors_of(preview: Preview, latents: Latents) -> Float[AnyArray, "b f h w 3"]:
  """Returns the mean colour of each latent position."""
  return latents @ preview.weights + preview.bias


def fit(model: Networks) -> Preview:
  """Fits the linear map from a model's latents to colours.

  Raises:
    ValueError: If the model has no VAE.
  """
  if model.config.vae is None:
    raise ValueError("A preview needs a VAE; load a checkpoint that has one.")
  clips = rectangles(model.config.vae)
  z = np.asarray(model.encode(clips))
  x, y = z.reshape(-1, z.shape[-1]), block_means(clips, z.shape[1:4]).reshape(-1, 3)
  at, mean = x.mean(axis=0), y.mean(axis=0)
  square = (x - at).T @ (x - at) + _RIDGE * len(x) * np.eye(x.shape[1])
  weights = np.linalg.solve(square, (x - at).T @ (y - mean))
  return Preview(np.float32(weights), np.float32(mean - at @ weights))


def rectangles(config: VAEConfig) -> Float[np.ndarray, "b F H W 3"]:
  """Returns clips of randomly coloured rectangles that move over one another."""
  random = np.random.default_rng(0)
  side, frames = _SIDE * config.spatial_factor, 2 * config.temporal_factor + 1
  clips = np.empty((_CLIPS, frames, side, side, 3), np.float32)
  for clip in clips:
    clip[:] = random.uniform(-1, 1, 3)
    for _ in range(_RECTANGLES):
      color, size = random.uniform(-1, 1, 3), random.uniform(0.1, 0.6, 2) * side
      start = random.uniform(-0.2, 1, 2) * side
      moved = random.uniform(-0.4, 0.4, 2) * side
      for i, frame in enumerate(clip):
        low = start + moved * i / frames
        top, left = np.maximum(low, 0).astype(int)
        bottom, right = np.maximum(low + size, 0).astype(int)
        frame[top:bottom, left:right] = color
  return clips


def block_means(
  video: Float[np.ndarray, "b F H W 3"], grid: tuple[int, int, int]
) -> Float[np.ndarray, "b f h w 3"]:
  """Returns the mean colour of the pixels of each latent position."""
  f, h, w = grid
  b, frames, height, width, _ = video.shape
  rows = video.reshape(b, frames, h, height // h, w, width // w, 3).mean(axis=(3, 5))
  first, rest = rows[:, :1], rows[:, 1:]
  if f == 1:
    return first
  parts = rest.reshape(b, f - 1, -1, h, w, 3).mean(axis=2)
  return np.concatenate([first, parts], axis=1)


def clean(before: Latents, after: Latents, sigma: Scalar, end: Scalar) -> Latents:
  """Returns the network's estimate of the clean latents from one Euler step."""
  return after - end * (before - after) / (sigma - end)


def likely(after: Latents, end: Scalar) -> Latents:
  """Returns the best guess of the clean latents from noisy latents alone."""
  return (1 - end) * after / ((1 - end) ** 2 + end**2)


def after_each_step(way: Way, preview: Preview, show: Show) -> OnStep:
  """Returns an `on_step` that shows previews.

  A preview is shown one step late, while the device computes the next step, so that the
  device never waits for it. The first step of a pass or a window has no preview,
  because the latents before it are not known.

  Args:
    way: How the latents are made.
    preview: What `fit` returned.
    show: Function that receives each preview.
  """
  scheduler = way.model.config.scheduler
  samplings = iter(way.samplings)
  sampling = levels = before = shown = None

  def on_step(index: int, steps: int, latents: Latents) -> None:
    nonlocal sampling, levels, before, shown
    if before is None or before.shape != latents.shape:  # The first step of a pass.
      sampling = next(samplings)
      levels = sampling.levels(scheduler, int(np.prod(latents.shape[1:4])))
      before = None
    if shown is not None:
      at, colors = shown
      show(at, steps, to_uint8(np.asarray(colors)))
      shown = None
    i = index % len(levels)  # `index` counts the steps of all windows.
    sigma, end = levels[i], schedules.next_levels(levels)[i]
    if sampling.stochastic:
      shown = index, colors_of(preview, likely(latents, end))
    elif i:
      shown = index, colors_of(preview, clean(before, latents, sigma, end))
    before = latents

  return on_step
