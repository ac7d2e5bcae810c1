"""The round trip of a clip through a VAE: pixels -> latents -> pixels.

    z     = the posterior's mode, E(x)
    x_hat = D((1 - sigma) z + sigma noise, sigma)

on normalised latents; sigma = 0 decodes z itself. A long clip goes through both
networks in windows of time (`planning.time_windows`), and a window that does not fit is
decoded in tiles (`planning.decoding`).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.diffusion.draws import clip_keys, draw
from ltx_jax.errors import check_number, check_seed
from ltx_jax.pipeline.networks import Networks
from ltx_jax.planning import memory, time_windows
from ltx_jax.planning.time_windows import TimeWindows
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Scalar

_LOG = logging.getLogger("ltx_jax")

OnWork = Callable[[str, int, int], Any]
"""Called before each window with ("encode" or "decode", FLOPs done, FLOPs in all)."""


class RoundTrip(NamedTuple):
  """What comes of a clip.

  Attributes:
    video: The reconstruction, of the clip's own size.
    latents: Normalised latents of the clip, padded to a size that the VAE can make.
  """

  video: UInt8[np.ndarray, "F H W 3"]
  latents: Float32[np.ndarray, "1 f h w c"]


def round_trip(
  model: Networks,
  video: UInt8[np.ndarray, "F H W 3"],
  *,
  sigma: Scalar = 0.0,
  seed: int = 0,
  window: int | None = None,
  on_work: OnWork = lambda doing, done, total: None,
) -> RoundTrip:
  """Encodes and decodes a clip of any size.

  The clip is padded to whole latent positions with copies of its edges and of its last
  frame, and the padding is cut off again.

  Args:
    model: A model with a VAE.
    video: The clip.
    sigma: Noise level that the latents are decoded at, in [0, 1]. A VAE without
      timestep conditioning ignores it.
    seed: Seed of that noise, and of the noise inside a decoder that injects some.
    window: Frames of a window, 8k + 1; None chooses.
    on_work: Callback that shows the progress.

  Raises:
    ValueError: If an option is invalid, the model has no VAE, or the clip does not fit
      into memory.
  """
  check_number("sigma", sigma, at_least=0, at_most=1)
  check_seed(seed)
  if model.config.vae is None:
    raise ValueError("This model has no VAE; load a checkpoint that has one.")
  canvas = Canvas.of(model.config.vae, *video.shape[:3])
  free = memory.free_beside(model.params)
  windows = time_windows.choose(
    model.config.vae, model.policy, canvas, window=window, free=free
  )
  each = time_windows.work(model.config.vae, canvas, windows)
  counts = len(windows.encoder), len(windows.decoder.starts)
  if counts != (1, 1):
    _LOG.warning(time_windows.note(model.config.vae, windows))
  total = sum(n * work for n, work in zip(counts, each, strict=True))

  def encoded(i: int) -> None:
    on_work("encode", i * each[0], total)

  def decoded(i: int) -> None:
    on_work("decode", counts[0] * each[0] + i * each[1], total)

  latents = _encode(model, video, canvas, windows, encoded)
  pixels = _decode(model, latents, (sigma, seed), windows, decoded)
  on_work("decode", total, total)
  return RoundTrip(canvas.crop(pixels[None])[0], latents)


def _padded(
  video: UInt8[np.ndarray, "F H W 3"], canvas: Canvas, start: int, stop: int
) -> Float32[np.ndarray, "1 _ _ _ 3"]:
  """Returns frames of the padded clip, in [-1, 1]."""
  last = len(video) - 1
  frames = video[[min(i, last) for i in range(start, stop)]]
  return canvas.pad(to_floats(frames))[None]


def _encode(
  model: Networks,
  video: UInt8[np.ndarray, "F H W 3"],
  canvas: Canvas,
  windows: TimeWindows,
  on_window: Callable[[int], Any],
) -> Float32[np.ndarray, "1 f h w c"]:
  t, parts, done = model.config.vae.temporal_factor, [], 0
  for i, start in enumerate(windows.encoder.tolist()):
    on_window(i)
    stop = start + windows.size
    frames = _padded(video, canvas, t * start, t * (stop - 1) + 1)
    latents = np.asarray(model.encode(frames), np.float32)
    parts.append(latents[:, done - start :])
    done = stop
  return np.concatenate(parts, axis=1)


def _decode(
  model: Networks,
  latents: Float32[np.ndarray, "1 f h w c"],
  level: tuple[Scalar, int],
  windows: TimeWindows,
  on_window: Callable[[int], Any],
) -> UInt8[np.ndarray, "_ _ _ 3"]:
  """Decodes latents at (sigma, seed); frames become bytes once no window adds more."""
  sigma, seed = level
  keys = clip_keys(seed, 1)
  noise = np.asarray(draw(keys, "decode", latents.shape))
  axis, parts, carried = windows.decoder, [], np.zeros(0, np.float32)
  ends = [*axis.starts.tolist(), latents.shape[1]]
  for i, (start, following) in enumerate(itertools.pairwise(ends)):
    on_window(i)
    piece = slice(start, start + axis.size)
    made = model.decode(
      latents[:, piece],
      sigma,
      sigma,
      keys[0],
      lambda name, shape, piece=piece: noise[:, piece],
    )
    frames = np.array(made[0], np.float32) * axis.weights[i][:, None, None, None]
    if len(carried):
      frames[: len(carried)] += carried
    finished = axis.ratio * (following - start)  # The last window finishes all.
    parts.append(to_uint8(frames[:finished]))
    carried = frames[finished:]
  return np.concatenate(parts)
