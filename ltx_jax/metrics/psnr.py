"""Peak signal-to-noise ratio: 10 log10(peak^2 / mean squared error), in decibels.

There are two conventions for a clip, and figures of one are no figures of the other:

    psnr         error pooled over the whole clip, then decibels    (`psnr_of_clip`)
    psnr_frames  decibels of each frame, then their mean          (`psnr_of_frames`)

The second is never below the first. An error below 1e-10 of the peak counts as that:
equal clips have 100 dB, and one of them does not make a mean infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Shaped, UInt8

from ltx_jax.typing import AnyArray

LEAST_ERROR = 1e-10
"""Squared error, in units of the squared peak, below which clips count as equal."""


def _decibels(squared_error: float, peak: float) -> float:
  return 10 * math.log10(peak**2 / squared_error) if squared_error else math.inf


def _difference(video: AnyArray, reference: AnyArray) -> Float[np.ndarray, "..."]:
  return np.asarray(video, np.float32) - np.asarray(reference, np.float32)


def psnr(
  video: Shaped[AnyArray, "F H W 3"],
  reference: Shaped[AnyArray, "F H W 3"],
  peak: float,
) -> float:
  """Compares a clip with its reference; the error is pooled over all pixels and frames.

  Args:
    video: Pixels.
    reference: Pixels to compare with, of the same shape and range.
    peak: Width of that range: 255 for uint8, 2 for [-1, 1].

  Returns:
    Decibels; infinite if both are equal.
  """
  difference = _difference(video, reference)
  return _decibels(float(np.mean(difference**2, dtype=np.float64)), peak)


def psnr_inside(
  video: Shaped[AnyArray, "F H W 3"],
  reference: Shaped[AnyArray, "F H W 3"],
  boxes: Sequence[tuple[slice, slice]],
  peak: float,
) -> float:
  """Computes `psnr` over the pixels of one box in each frame.

  Args:
    video: Pixels.
    reference: Pixels to compare with, of the same shape and range.
    boxes: The box of every frame, (rows, columns), as from
      `moving_shapes.bounding_boxes`.
    peak: Width of the range.

  Returns:
    Decibels; infinite if both are equal.
  """
  frames = zip(_difference(video, reference), boxes, strict=True)
  inside = [frame[box] for frame, box in frames]
  pixels = sum(box.size for box in inside)
  return _decibels(sum(float(np.sum(box**2)) for box in inside) / pixels, peak)


@jax.jit
def squared_error(
  video: UInt8[AnyArray, "b F H W 3"], reference: UInt8[AnyArray, "b F H W 3"]
) -> Float[Array, "b F"]:
  """Returns the mean squared error of every frame, in units of the squared peak.

  Args:
    video: Pixels; `frames.frames_8bit` makes them.
    reference: Pixels to compare with.
  """
  difference = jnp.asarray(video, jnp.int32) - jnp.asarray(reference, jnp.int32)
  # A row's sum of whole numbers is exact.
  rows = jnp.sum(difference * difference, axis=(3, 4)).astype(jnp.float32)
  return jnp.mean(rows, axis=2) / (3 * video.shape[3] * 255.0**2)


def psnr_of_clip(error: Float[AnyArray, "b F"]) -> Float64[np.ndarray, "b"]:
  """Returns decibels of the error of each whole clip, at most 100.

  Args:
    error: Result of `squared_error`.
  """
  return _capped(np.asarray(error, np.float64).mean(1))


def psnr_of_frames(error: Float[AnyArray, "b F"]) -> Float64[np.ndarray, "b"]:
  """Returns the mean over frames of their decibels, of which none exceeds 100.

  Args:
    error: Result of `squared_error`.
  """
  return _capped(np.asarray(error, np.float64)).mean(1)


def _capped(error: np.ndarray) -> np.ndarray:
  return -10 * np.log10(np.maximum(error, LEAST_ERROR))
