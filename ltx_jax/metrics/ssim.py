"""Structural similarity (SSIM): how much of the local structure of an image is kept.

For windows x and y of two images, with Gaussian-weighted means mu, variances s^2 and
covariance s_xy,

    SSIM = (2 mu_x mu_y + C1) (2 s_xy + C2)
           / ((mu_x^2 + mu_y^2 + C1) (s_x^2 + s_y^2 + C2))

with C1 = (0.01 peak)^2 and C2 = (0.03 peak)^2. The window has 11 x 11 pixels and a
standard deviation of 1.5 (`GAUSSIAN`). Only windows inside the image count. The index
of a frame is the mean over windows and the channels red, green and blue; that of a clip
is the mean over frames.

Some publish another index: 7 x 7 pixels of equal weight, and the covariance of a sample
(`UNIFORM`). The two differ in the second decimal, so a figure says which it is.

Source: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error
Visibility to Structural Similarity", 2004. The numbers are those of scikit-image's
`structural_similarity` with `gaussian_weights=True, use_sample_covariance=False`, and
for `UNIFORM` with its defaults.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Shaped

from ltx_jax.typing import AnyArray

WINDOW = 11
"""Side of the window in pixels; an image needs as many rows and columns."""

_DEVIATION = 1.5
_K1, _K2 = 0.01, 0.03

_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_TAPS = np.exp(-0.5 * (_OFFSETS / _DEVIATION) ** 2)


class Window(NamedTuple):
  """A window, the product of equal weights along rows and columns.

  Attributes:
    name: Name in recipes.
    taps: The weights along a side; their sum is 1.
    covariance: Factor of variances and covariance: n / (n - 1) for that of a sample.
  """

  name: str
  taps: tuple[float, ...]
  covariance: float = 1.0


GAUSSIAN = Window(
  "Gaussian window of 11, sigma 1.5", tuple(float(x) for x in _TAPS / _TAPS.sum())
)
"""The window of the original work."""

UNIFORM = Window("uniform window of 7, sample covariance", (1 / 7,) * 7, 49 / 48)
"""The defaults of scikit-image, which TokenBench publishes."""


def _slide(x: Array, axis: int, taps: tuple[float, ...]) -> Array:
  """Returns weighted sums of neighbours along an axis, where all of them exist."""
  n = x.shape[axis] - len(taps) + 1
  parts = (jax.lax.slice_in_dim(x, i, i + n, axis=axis) for i in range(len(taps)))
  return sum(tap * part for tap, part in zip(taps, parts, strict=True))


@functools.partial(jax.jit, static_argnames="window")
def ssim_of_frame(
  x: Float[Array, "H W 3"], y: Float[Array, "H W 3"], window: Window = GAUSSIAN
) -> Float[Array, ""]:
  """Returns the index of a frame; pixels from 0 to 1."""
  maps = jnp.stack([x, y, x * x + y * y, x * y])
  # Fused into the second pass, the first one would be computed eleven times over.
  maps = jax.lax.optimization_barrier(_slide(maps, 1, window.taps))
  mean_x, mean_y, squares, product = _slide(maps, 2, window.taps)
  c1, c2 = _K1**2, _K2**2
  both = mean_x * mean_y
  means = mean_x * mean_x + mean_y * mean_y
  covariance = window.covariance * (product - both)
  variances = window.covariance * (squares - means)
  index = (2 * both + c1) * (2 * covariance + c2)
  return jnp.mean(index / ((means + c1) * (variances + c2)))


def check_size(height: int, width: int) -> None:
  """Refuses frames that the window does not fit into.

  Raises:
    ValueError: If a side is too short.
  """
  if min(height, width) < WINDOW:
    raise ValueError(
      f"Frames of {width}x{height} pixels have no SSIM; its window needs at least "
      f"{WINDOW}x{WINDOW}."
    )


def ssim_by_frame(
  video: Shaped[AnyArray, "F H W 3"],
  reference: Shaped[AnyArray, "F H W 3"],
  peak: float,
  window: Window = GAUSSIAN,
) -> Float64[np.ndarray, "F"]:
  """Returns the index of every frame.

  Args:
    video: Pixels from 0 to `peak`; pixels in [-1, 1] have other means, and so another
      index.
    reference: Pixels to compare with, of the same shape and range.
    peak: Largest pixel: 255 for uint8.
    window: Window; part of what the number means.

  Raises:
    ValueError: If the frames are smaller than the window of 11.
  """
  check_size(*video.shape[1:3])
  pairs = zip(np.asarray(video), np.asarray(reference), strict=True)
  scale = np.float32(1 / peak)
  return np.array(
    [float(ssim_of_frame(scale * x, scale * y, window)) for x, y in pairs], np.float64
  )


def ssim(
  video: Shaped[AnyArray, "F H W 3"],
  reference: Shaped[AnyArray, "F H W 3"],
  peak: float,
  window: Window = GAUSSIAN,
) -> float:
  """Compares a clip with its reference: the mean of `ssim_by_frame`.

  Args:
    video: Pixels from 0 to `peak`; pixels in [-1, 1] have other means, and so another
      index.
    reference: Pixels to compare with, of the same shape and range.
    peak: Largest pixel: 255 for uint8.
    window: Window; part of what the number means.

  Returns:
    At most 1, for equal clips; around 0 if nothing is alike.

  Raises:
    ValueError: If the frames are smaller than the window.
  """
  return float(ssim_by_frame(video, reference, peak, window).mean())
