"""Windows of time in which a long clip goes through a VAE, in little memory.

Encoder and decoder take the clip in windows of equal length that share some latent
frames. The encoder is causal: only the first latents of a window miss frames that they
would have seen, so its first 4 latents are dropped (`ENCODER_OVERLAP`). The decoder
looks both ways, and its windows are blended, as tiles are (`models.tiles`). The result
is close to that of the whole clip, not equal: the layers of an encoder look further
back than 4 latents, but hardly (`tests/pipeline/test_round_trip.py` bounds the
difference for the small model).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ltx_jax.config import VAEConfig
from ltx_jax.models import tiles
from ltx_jax.planning import decoding, flops
from ltx_jax.planning.vae_walk import Size, walk_encoder
from ltx_jax.platforms import Policy
from ltx_jax.sizes import Canvas

ENCODER_OVERLAP = 4
"""Latent frames at the start of a window that the encoder's windows drop."""

_LENGTHS = (13, 9, 7, 5)
"""Latent frames of a window, if none are asked for: 97, 65, 49 and 33 frames."""


class TimeWindows(NamedTuple):
  """Windows of a clip, in latent frames.

  Attributes:
    size: Latent frames of a window.
    encoder: First latent frame of each of the encoder's windows.
    decoder: The decoder's windows, with the weight of each frame.
  """

  size: int
  encoder: np.ndarray
  decoder: tiles.Axis


def encode_bytes(config: VAEConfig, policy: Policy, size: Size) -> int:
  """Estimates the bytes to encode a clip of (frames, height, width), without weights.

  As for a decode (`decoding`), these are the clip, and the largest layer's.
  """
  layers = walk_encoder(config, *size)
  item = decoding.ITEM_BYTES[policy.dtype]
  pixels = math.prod(size) * config.in_channels
  return decoding.most_numbers(layers, policy, 1) * item + 4 * pixels


def round_trip_bytes(config: VAEConfig, policy: Policy, size: Size) -> int:
  """Estimates the bytes to encode a clip, and to decode it in tiles if need be."""
  grid = config.latent_shape(*size)
  decode = decoding.least_bytes(config, policy, 1, grid)
  return max(encode_bytes(config, policy, size), decode)


def choose(
  config: VAEConfig,
  policy: Policy,
  canvas: Canvas,
  *,
  window: int | None = None,
  free: int | None = None,
) -> TimeWindows:
  """Returns the windows of a clip: the longest that fit, up to 97 frames.

  Args:
    config: Config of the VAE.
    policy: How the platform runs it.
    canvas: Size of the clip.
    window: Frames of a window; None chooses.
    free: Bytes that are free next to the weights; None means unknown.

  Raises:
    ValueError: If the window is not possible, or no window fits.
  """
  frames, t = canvas.used[0], config.temporal_factor
  n = (frames - 1) // t + 1
  lengths = _LENGTHS if window is None else (_asked(window, t),)
  reason = tiles.why_not(config)
  if reason:  # Its norms or its attention see all frames.
    if window is not None and lengths[0] < n:
      raise ValueError(f"window is {window}; {reason}: leave it out.")
    lengths = (n,)
  for most in lengths:
    size = ((min(most, n) - 1) * t + 1, *canvas.used[1:])
    needed = round_trip_bytes(config, policy, size)
    if free is None or needed <= free:
      return _windows(config, canvas, most)
  _, height, width = canvas.used
  shorter = "" if window is None else "ask for a shorter window, or "
  raise ValueError(
    f"Encoding and decoding {size[0]} frames of {width}x{height} needs about "
    f"{needed / 1e9:.1f} GB besides the weights, but {free / 1e9:.1f} GB are free; "
    f"{shorter}make the video smaller first."
  )


def _asked(window: int, factor: int) -> int:
  least = (max(ENCODER_OVERLAP, tiles.BLENDED_OVERLAP) + 1) * factor + 1 - factor
  if window < least or (window - 1) % factor:
    raise ValueError(
      f"window is {window}; it must be {factor}k + 1 frames, at least {least}."
    )
  return (window - 1) // factor + 1


def _windows(config: VAEConfig, canvas: Canvas, most: int) -> TimeWindows:
  grid = config.latent_shape(*canvas.used)
  size, starts = tiles.spread(grid[0], most, ENCODER_OVERLAP)
  decoder = tiles.BlendedTiles((most, *grid[1:])).axes(config, grid)[0]
  return TimeWindows(size, starts, decoder)


def work(config: VAEConfig, canvas: Canvas, windows: TimeWindows) -> tuple[int, int]:
  """Counts the FLOPs of one window of the encoder, and of one of the decoder."""
  _, height, width = config.latent_shape(*canvas.used)
  frames = (windows.size - 1) * config.temporal_factor + 1
  encode = flops.encoder(config, frames, *canvas.used[1:])
  return encode, flops.decoder(config, windows.decoder.size, height, width)


def note(config: VAEConfig, windows: TimeWindows) -> str:
  """Returns a sentence about a clip that goes through a VAE in windows."""
  frames = (windows.size - 1) * config.temporal_factor + 1
  return (
    f"the VAE takes the clip in {len(windows.encoder)} windows of {frames} frames; the "
    "result is close to that of the whole clip, not equal."
  )
