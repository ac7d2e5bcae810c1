"""Peak signal-to-noise ratio: 10 log10(peak^2 / mean squared error), in decibels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from ltx_jax.typing import AnyArray


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
