"""Latents as tokens: order and positions; and what is done to them before decoding.

A clip's latents [b f h w c] become a sequence of n = f h w tokens, frames outermost.
Token (f, h, w) stands for a block of pixels and is placed at the block's first corner,
in seconds and pixels:

  (seconds, y, x) = (T(f) / fps, spatial_factor h, spatial_factor w)
  T(f) = temporal_factor f, or with the causal fix max(0, temporal_factor (f - 1) + 1)

The causal VAE's first latent frame stands for one frame, the others for
temporal_factor each, so frame numbers start at 0, 1, 9, 17, ...; releases before 0.9.5
were trained with 0, 8, 16, ... (`causal_temporal_positioning` in the checkpoint says
which).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int

from ltx_jax.typing import AnyArray, Latents, Scalar, Tokens


def patchify(latents: Latents) -> Tokens:
  """Turns latents [b f h w c] into tokens [b n c], one a latent position."""
  b, f, h, w, c = latents.shape
  return latents.reshape(b, f * h * w, c)


def unpatchify(tokens: Tokens, grid: tuple[int, int, int]) -> Latents:
  """The inverse of `patchify` for a grid (f, h, w)."""
  b, _, c = tokens.shape
  return tokens.reshape(b, *grid, c)


def adain(
  latents: Latents, reference: Float[AnyArray, "b _ _ _ c"], factor: Scalar = 1.0
) -> Latents:
  """Gives latents the mean and standard deviation of others, channel by channel.

    x + factor ((x - mean(x)) / std(x) std(r) + mean(r) - x)

  Source: adaptive instance normalisation (Huang and Belongie, 2017), as the PyTorch
  original uses it after upsampling; standard deviations are unbiased.

  Args:
    latents: x.
    reference: r, of as many clips and channels and of any size.
    factor: How far to go; 1 is all the way.
  """
  space = (1, 2, 3)

  def moments(z: Latents) -> tuple[jax.Array, jax.Array]:
    z = jnp.asarray(z, jnp.float32)
    return z.mean(space, keepdims=True), z.std(space, ddof=1, keepdims=True)

  mean, std = moments(latents)
  to_mean, to_std = moments(reference)
  target = (latents - mean) / std * to_std + to_mean
  return latents + factor * (target - latents)


def coordinates(
  grid: tuple[int, int, int],
  fps: Scalar,
  *,
  temporal_factor: int,
  spatial_factor: int,
  causal: bool,
  start_frame: int = 0,
) -> Float32[np.ndarray, "n 3"]:
  """Returns the position of every token as (seconds, y in pixels, x in pixels).

  Args:
    grid: (f, h, w) of the latents.
    fps: Frames a second.
    temporal_factor: Frames of one latent position after the first.
    spatial_factor: Pixels a side of one latent position.
    causal: Whether latent frame 0 stands for a single frame.
    start_frame: Frame of the clip at which the first of these tokens sits; conditions
      that are not at frame 0 use it.

  Raises:
    ValueError: where `fps` is not positive.
  """
  if fps <= 0:
    raise ValueError(f"fps is {fps}; it must be above 0.")
  f, h, w = grid
  first = 1 - temporal_factor if causal else 0
  frames = np.maximum(np.arange(f) * temporal_factor + first, 0) + start_frame
  # One rounding for 1 / fps, one for the product: the original's float32 steps.
  seconds = frames.astype(np.float32) * np.float32(1.0 / fps)
  y = (np.arange(h) * spatial_factor).astype(np.float32)
  x = (np.arange(w) * spatial_factor).astype(np.float32)
  axes = np.meshgrid(seconds, y, x, indexing="ij")
  return np.stack([axis.reshape(-1) for axis in axes], axis=-1)


def token_coordinates(
  places: Int[AnyArray, "b n 3"],
  fps: Float[AnyArray, "b"],
  *,
  temporal_factor: int,
  spatial_factor: int,
  causal: bool,
) -> Float32[jax.Array, "b n 3"]:
  """Returns `coordinates` of any tokens of clips that have frame rates of their own.

  Args:
    places: Frame, row and column of each token in its clip's latents.
    fps: Frames a second of each clip.
    temporal_factor: Frames of one latent position after the first.
    spatial_factor: Pixels a side of one latent position.
    causal: Whether latent frame 0 stands for a single frame.
  """
  places = jnp.asarray(places)
  first = 1 - temporal_factor if causal else 0
  frames = jnp.maximum(places[..., 0] * temporal_factor + first, 0)  # b n
  return _placed(frames, places[..., 1:], fps, spatial_factor)


def last_frame_coordinates(
  places: Int[AnyArray, "b n 2"],
  latent_frames: Int[AnyArray, "b"],
  fps: Float[AnyArray, "b"],
  *,
  temporal_factor: int,
  spatial_factor: int,
) -> Float32[jax.Array, "b n 3"]:
  """Returns where tokens of clips' last frames stand, each encoded as an image.

  They are `coordinates` of one latent frame whose `start_frame` is the clip's last.

  Args:
    places: Row and column of each token.
    latent_frames: Latent frames of each clip.
    fps: Frames a second of each clip.
    temporal_factor: Frames of one latent position after the first.
    spatial_factor: Pixels a side of one latent position.
  """
  last = (jnp.asarray(latent_frames) - 1) * temporal_factor  # b
  frames = jnp.broadcast_to(last[:, None], places.shape[:2])
  return _placed(frames, jnp.asarray(places), fps, spatial_factor)


def _placed(
  frames: Int[jax.Array, "b n"],
  places: Int[jax.Array, "b n 2"],
  fps: Float[AnyArray, "b"],
  spatial_factor: int,
) -> Float32[jax.Array, "b n 3"]:
  """Seconds of frames, and pixels of rows and columns."""
  seconds = frames.astype(jnp.float32) * (1 / jnp.asarray(fps, jnp.float32))[:, None]
  pixels = (places * spatial_factor).astype(jnp.float32)  # b n 2
  return jnp.concatenate([seconds[..., None], pixels], axis=-1)


def add_decode_noise(
  latents: Latents,
  noise: Float[AnyArray, "b f h w c"],
  scale: Scalar | Float[AnyArray, " b"],
) -> Float[jax.Array, "b f h w c"]:
  """Returns (1 - scale) latents + scale noise, on normalised latents.

  A decoder trained as the last denoising step expects its input slightly noisy.
  """
  scale = jnp.asarray(scale, jnp.float32)
  scale = scale.reshape(scale.shape + (1,) * (jnp.ndim(latents) - scale.ndim))
  return (1 - scale) * latents + scale * noise


def compress(latents: Latents, compression: Scalar) -> Float[jax.Array, "b f h w c"]:
  """Returns latents whose large values are made smaller (tone mapping).

  With a = 0.75 compression, z becomes z (1 - 0.8 a sigmoid(4 a (|z| - 1))): values
  about 0 stay nearly as they are, and large ones shrink to at least 0.4 of theirs.
  Source: the original, where a distilled model's second pass uses 0.6.

  Args:
    latents: Normalised latents.
    compression: Strength of the compression, from 0, which changes nothing, to 1.
  """
  a = 0.75 * jnp.asarray(compression, jnp.float32)
  return latents * (1 - 0.8 * a * jax.nn.sigmoid(4 * a * (jnp.abs(latents) - 1)))
