"""Temporal flicker: how far the change from frame to frame differs from the original's.

For the frames x_i of a clip and their reconstructions y_i, with the mean over pixels
and channels,

    error_i  = mean |(y_i - y_(i-1)) - (x_i - x_(i-1))|                             (1)
    ratio    = sum_i mean |y_i - y_(i-1)| / sum_i mean |x_i - x_(i-1)|              (2)

(1) is the temporal difference error. It is 0 for a constant error, which looks like
another but steady image, and large if the error changes from frame to frame, which the
eye sees as flicker. Its quadratic form is dtSSD of video matting. (2) is the ratio of
motion energies. The mean of absolute differences is what VBench calls temporal
flickering. A ratio above 1 means that the reconstruction moves or flickers more than
the original, a ratio below 1 that it is smoother.

Source: Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", 2015
(dtSSD); Huang et al., "VBench" (arXiv:2311.17982), section on temporal flickering.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Shaped

from ltx_jax.typing import AnyArray


def _changes(video: Shaped[AnyArray, "F H W 3"]) -> Iterator[Float[np.ndarray, "..."]]:
  """Yields the difference of every frame from the one before."""
  frames = (np.asarray(frame, np.float32) for frame in video)
  return (after - before for before, after in itertools.pairwise(frames))


def difference_error_by_frame(
  video: Shaped[AnyArray, "F H W 3"], reference: Shaped[AnyArray, "F H W 3"]
) -> Float64[np.ndarray, "_"]:
  """Returns equation (1) for every frame but the first, in units of the pixels.

  Args:
    video: Pixels.
    reference: Pixels to compare with, of the same shape and range.
  """
  pairs = zip(_changes(video), _changes(reference), strict=True)
  errors = [np.mean(np.abs(y - x), dtype=np.float64) for y, x in pairs]
  return np.array(errors, np.float64)


def motion_ratio(
  video: Shaped[AnyArray, "F H W 3"], reference: Shaped[AnyArray, "F H W 3"]
) -> float:
  """Returns equation (2).

  Args:
    video: Pixels.
    reference: Pixels to compare with, of the same shape and range.

  Returns:
    1 if neither changes, infinite if only the reference stands still.
  """
  made, given = (
    sum(float(np.mean(np.abs(change), dtype=np.float64)) for change in _changes(clip))
    for clip in (video, reference)
  )
  if not given:
    return math.inf if made else 1.0
  return made / given
