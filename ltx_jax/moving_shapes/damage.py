"""Damages clips on purpose, to test the judge."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8


def blurred(
  video: Float[np.ndarray, "F H W 3"], sigma: float
) -> Float[np.ndarray, "F H W 3"]:
  """Convolves each frame with a Gaussian of `sigma` pixels; edges are repeated."""
  reach = int(3 * sigma + 1)
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  kernel = (kernel / kernel.sum()).astype(np.float32)
  for axis in (1, 2):
    padding = [(reach if a == axis else 0,) * 2 for a in range(4)]
    padded = np.moveaxis(np.pad(video, padding, "edge"), axis, 0)
    size = video.shape[axis]
    rows = sum(w * padded[i : i + size] for i, w in enumerate(kernel))
    video = np.moveaxis(rows, 0, axis)
  return video


def noisy(
  video: Float[np.ndarray, "F H W 3"] | UInt8[np.ndarray, "F H W 3"],
  noise: float,
  seed: int,
) -> UInt8[np.ndarray, "F H W 3"]:
  """Adds normal noise of that standard deviation to pixels in [0, 255]."""
  draws = np.random.default_rng(seed).standard_normal(video.shape, np.float32)
  return np.clip(video + noise * draws, 0, 255).round().astype(np.uint8)
