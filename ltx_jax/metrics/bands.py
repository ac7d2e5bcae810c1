"""The error of a reconstruction by frequency: one number for each Haar wavelet band.

One level of the transform (`losses.wavelet`) splits a clip into eight bands, low (L) or
high (H) in time, height and width. The transform is orthonormal, so the mean over bands
of the squared errors is the squared error of the pixels (up to the copy of the first
frame, which makes the number of frames even). What it adds is where the error lies:

    share = sum (y - x)^2 / sum x^2, over the coefficients of a band

is the share of the original's energy that the reconstruction misses. Near 0, the band
is kept. Near 1, it is as good as gone: a clip that is flat in that band has exactly 1.
Above 1, something else is in its place. Codes lose the bands of fine detail and fast
motion first.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Shaped

from ltx_jax.losses.wavelet import BANDS, haar_bands
from ltx_jax.typing import AnyArray

_FRAMES = 16
"""Largest number of frames in floating point at the same time."""


class BandErrors(NamedTuple):
  """Errors and energies of the bands, in the order of `BANDS`.

  Attributes:
    squared_error: Mean squared error of the coefficients, in squared units of the
      pixels.
    energy: Mean square of the reference's coefficients.
  """

  squared_error: Float64[np.ndarray, "8"]
  energy: Float64[np.ndarray, "8"]

  @property
  def shares(self) -> dict[str, float]:
    """Share of each band's energy that is missed; infinite where there was none."""
    pairs = zip(self.squared_error.tolist(), self.energy.tolist(), strict=True)
    shares = [e / x if x else (math.inf if e else 0.0) for e, x in pairs]
    return dict(zip(BANDS, shares, strict=True))


def band_errors(
  video: Shaped[AnyArray, "F H W 3"], reference: Shaped[AnyArray, "F H W 3"]
) -> BandErrors:
  """Compares a clip with its reference band by band.

  The bands are those of even sizes: the last row or column of an odd size is left out.

  Args:
    video: Pixels.
    reference: Pixels to compare with, of the same shape and range.
  """
  frames, height, width = video.shape[:3]
  even = (slice(height // 2 * 2), slice(width // 2 * 2))
  first = frames % 2  # Alone, it is paired with its copy.
  starts = [*range(first), *range(first, frames, _FRAMES)]
  sums, count = np.zeros((2, 8)), 0
  for start, stop in itertools.pairwise([*starts, frames]):
    clips = (np.asarray(c[start:stop], np.float32) for c in (video, reference))
    made, given = (haar_bands(jnp.asarray(c[None, :, *even])) for c in clips)
    count += given[0].size
    sums += [_squares(made - given), _squares(given)]
  return BandErrors(*(sums / count))


def _squares(bands: Shaped[AnyArray, "8 b f h w c"]) -> Float64[np.ndarray, "8"]:
  return np.square(np.asarray(bands), dtype=np.float64).sum((1, 2, 3, 4, 5))
