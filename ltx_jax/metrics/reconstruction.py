"""All figures of a reconstruction, frame by frame and for the clip.

| figure            | what it shows                               | equal clips |
|-------------------|---------------------------------------------|-------------|
| PSNR              | error of the pixels, in decibels            | infinite    |
| SSIM              | local structure that is kept                | 1           |
| difference error  | flicker: error of the change between frames | 0           |
| motion ratio      | change between frames, against the original | 1           |
| bands             | energy missed by frequency                  | 0           |

Each figure has a module of its own, with its equation and source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from ltx_jax.metrics.bands import BandErrors, band_errors
from ltx_jax.metrics.flicker import difference_error_by_frame, motion_ratio
from ltx_jax.metrics.psnr import psnr
from ltx_jax.metrics.ssim import ssim_by_frame

_PEAK = 255.0


class Figures(NamedTuple):
  """Figures of one clip; pixels are 0 to 255.

  Attributes:
    psnr: PSNR of every frame, in decibels.
    ssim: SSIM of every frame.
    difference_error: Temporal difference error of every frame but the first.
    clip_psnr: PSNR of the clip: the error is pooled over its frames.
    motion_ratio: Ratio of motion energies.
    bands: Errors of the eight wavelet bands.
  """

  psnr: Float64[np.ndarray, "F"]
  ssim: Float64[np.ndarray, "F"]
  difference_error: Float64[np.ndarray, "_"]
  clip_psnr: float
  motion_ratio: float
  bands: BandErrors

  def as_json(self) -> dict[str, Any]:
    """Returns the figures as JSON holds them; null where one is infinite."""
    frames = {
      "psnr": self.psnr,
      "ssim": self.ssim,
      "difference_error": self.difference_error,
    }
    clip = {
      "psnr": self.clip_psnr,
      "ssim": self.ssim.mean(),
      "difference_error": mean(self.difference_error),
      "motion_ratio": self.motion_ratio,
    }
    shares = self.bands.shares
    errors = dict(zip(shares, self.bands.squared_error, strict=True))
    return {
      "clip": {name: _finite(value) for name, value in clip.items()},
      "bands": {
        band: {"squared_error": _finite(errors[band]), "share": _finite(share)}
        for band, share in shares.items()
      },
      "frames": {name: _all_finite(values) for name, values in frames.items()},
    }


def mean(values: Float64[np.ndarray, "_"]) -> float:
  """Returns the mean of figures; 0 without any, as of the changes of one frame."""
  return float(values.mean()) if len(values) else 0.0


def _finite(value: float) -> float | None:
  return float(value) if math.isfinite(value) else None


def _all_finite(values: Iterable[float]) -> list[float | None]:
  return [_finite(value) for value in values]


def measure(
  video: UInt8[np.ndarray, "F H W 3"],
  reference: UInt8[np.ndarray, "F H W 3"],
  on_frame: Callable[[int], Any] = lambda i: None,
) -> Figures:
  """Compares a clip with its original.

  Args:
    video: Reconstruction.
    reference: Original, of the same shape.
    on_frame: Callback after each frame of the slowest figure, SSIM.

  Raises:
    ValueError: If the frames are too small for SSIM.
  """
  decibels, similar = [], []
  for i in range(len(video)):
    frame = video[i : i + 1], reference[i : i + 1], _PEAK
    decibels.append(psnr(*frame))
    similar.append(ssim_by_frame(*frame)[0])
    on_frame(i)
  return Figures(
    psnr=np.array(decibels),
    ssim=np.array(similar),
    difference_error=difference_error_by_frame(video, reference),
    clip_psnr=psnr(video, reference, _PEAK),
    motion_ratio=motion_ratio(video, reference),
    bands=band_errors(video, reference),
  )
