"""Latents as tokens: their order, their positions, and the steps before decoding.

A clip's latents [b f h w c] become a sequence of n = f h w tokens, frames outermost.
Token (f, h, w) stands for a block of pixels. Its position is the block's first corner,
in seconds and pixels:

  (seconds, y, x) = (T(f) / fps, spatial_factor h, spatial_factor w)
  T(f) = temporal_factor f, or with the causal fix max(0, temporal_factor (f - 1) + 1)

The causal VAE's first latent frame stands for one frame, and every other one for
temporal_factor frames, so frame numbers are 0, 1, 9, 17, ... Releases before 0.9.5 were
trained with 0, 8, 16, ... `causal_temporal_positioning` in the checkpoint says which.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int

from ltx_jax.typing import AnyArray, Latents, Scalar, Tokens


def patchify(latents: Latents) -> Tokens:
  """Turns latents [b f h w c] into tokens [b n c], one per latent position."""
  b, f, h, w, c = latents.shape
  return latents.reshape(b, f * h * w, c)


def unpatchify(tokens: Tokens, grid: tuple[int, int, int]) -> Latents:
  """Turns tokens [b n c] back into latents [b f h w c] for a grid (f, h, w)."""
  b, _, c = tokens.shape
  return tokens.reshape(b, *grid, c)


def adain(
  latents: Latents, reference: Float[AnyArray, "b _ _ _ c"], factor: Scalar = 1.0
) -> Latents:
  """Gives latents the mean and standard deviation of a reference, per channel.

    x + factor ((x - mean(x)) / std(x) std(r) + mean(r) - x)

  Source: adaptive instance normalisation (Huang and Belongie, 2017), as the PyTorch
  original uses it after upsampling; standard deviations are unbiased.

  Args:
    latents: x.
    reference: r, of the same number of clips and channels and of any size.
    factor: How far to go, from 0 to 1 (all the way).
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
    fps: Frames per second.
    temporal_factor: Frames per latent position after the first.
    spatial_factor: Pixels per side of a latent position.
    causal: Whether latent frame 0 stands for a single frame.
    start_frame: Frame of the clip at which the first of these tokens stands; used by
      conditions that do not start at frame 0.

  Raises:
    ValueError: If `fps` is not positive.
  """
  if fps <= 0:
    raise ValueError(f"fps is {fps}; it must be above 0.")
  f, h, w = grid
  first = 1 - temporal_factor if causal else 0
  frames = np.maximum(np.arange(f) * temporal_factor + first, 0) + start_frame
  # Two roundings, of 1 / fps and of the product, as in the original's float32.
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
  """Returns `coordinates` for any tokens of clips with different frame rates.

  Args:
    places: Frame, row and column of each token in its clip's latents.
    fps: Frames per second of each clip.
    temporal_factor: Frames per latent position after the first.
    spatial_factor: Pixels per side of a latent position.
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
  """Returns the positions of tokens of the clips' last frames, encoded as images.

  They are `coordinates` of one latent frame whose `start_frame` is the clip's last.

  Args:
    places: Row and column of each token.
    latent_frames: Number of latent frames of each clip.
    fps: Frames per second of each clip.
    temporal_factor: Frames per latent position after the first.
    spatial_factor: Pixels per side of a latent position.
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
  """Turns frames into seconds, and rows and columns into pixels."""
  seconds = frames.astype(jnp.float32) * (1 / jnp.asarray(fps, jnp.float32))[:, None]
  pixels = (places * spatial_factor).astype(jnp.float32)  # b n 2
  return jnp.concatenate([seconds[..., None], pixels], axis=-1)


def add_decode_noise(
  latents: Latents,
  noise: Float[AnyArray, "b f h w c"],
  scale: Scalar | Float[AnyArray, " b"],
) -> Float[jax.Array, "b f h w c"]:
  """Returns (1 - scale) latents + scale noise, for normalised latents.

  A decoder that was trained as the last denoising step expects slightly noisy input.
  """
  scale = jnp.asarray(scale, jnp.float32)
  scale = scale.reshape(scale.shape + (1,) * (jnp.ndim(latents) - scale.ndim))
  return (1 - scale) * latents + scale * noise


def compress(latents: Latents, compression: Scalar) -> Float[jax.Array, "b f h w c"]:
  """Returns latents whose large values are made smaller (tone mapping).

  With a = 0.75 compression, z becomes z (1 - 0.8 a sigmoid(4 a (|z| - 1))): values near
  0 hardly change, and large ones shrink, at most to 0.4 of their size. Source: the
  original, where a distilled model's second pass uses 0.6.

  Args:
    latents: Normalised latents.
    compression: Strength of the compression, from 0 (no change) to 1.
  """
  a = 0.75 * jnp.asarray(compression, jnp.float32)
  return latents * (1 - 0.8 * a * jax.nn.sigmoid(4 * a * (jnp.abs(latents) - 1)))
