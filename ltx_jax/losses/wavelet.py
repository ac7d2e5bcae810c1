"""L1 over the bands of a 3-D Haar wavelet transform.

One level splits a clip into eight bands: low or high in time, height and width,

    low = (a + b) / sqrt 2,   high = (a - b) / sqrt 2

for neighbours a, b along an axis. An L1 on the bands keeps the fine and fast detail
that a squared pixel error loses first. Each band has a weight:

    loss = mean over bands k of w_k mean |band_k(x_hat) - band_k(x)|

Source: the paper's section on the Video-VAE, "video DWT loss". The paper names neither
the wavelet nor the weights; we chose Haar, and equal weights by default.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.typing import AnyArray

BANDS = ("LLL", "LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH")
"""Names of the bands: low or high in time, height and width, in this order."""


def _split(x: Array, axis: int) -> Array:
  """Returns low and high band along an axis of even length, on a new first axis."""
  pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
  a, b = (half.squeeze(axis + 1) for half in jnp.split(pairs, 2, axis + 1))
  return jnp.stack([a + b, a - b]) / jnp.sqrt(2.0)


def haar_bands(video: Float[Array, "b F H W c"]) -> Float[Array, "8 b f h w c"]:
  """Returns the eight bands, ordered (time, height, width) with low before high.

  A copy of the first frame is put in front of a clip of 8k + 1 frames, as in the
  encoder, to make their number even.

  Raises:
    ValueError: If height or width is odd.
  """
  _, _, height, width, _ = video.shape
  if height % 2 or width % 2:
    raise ValueError(
      f"A clip of {width}x{height} pixels has no wavelet bands; width and height must "
      "be even."
    )
  if video.shape[1] % 2:
    video = jnp.concatenate([video[:, :1], video], axis=1)
  bands = _split(video, 1)  # 2 b f H W c
  bands = _split(bands, 3)  # 2 2 b f h W c
  bands = _split(bands, 5)  # 2 2 2 b f h w c
  bands = bands.transpose(2, 1, 0, *range(3, bands.ndim))
  return bands.reshape(8, *bands.shape[3:])


def wavelet_l1(
  reconstruction: Float[AnyArray, "b F H W 3"],
  video: Float[AnyArray, "b F H W 3"],
  weights: Sequence[float] = (1.0,) * 8,
) -> Float[Array, "b"]:
  """Returns the mean absolute difference of each clip's bands, weighted.

  Args:
    weights: Weights of the bands, in the order of `BANDS`.
  """
  errors = band_l1(reconstruction, video)  # 8 b
  return jnp.mean(jnp.asarray(weights)[:, None] * errors, axis=0)


def band_l1(
  reconstruction: Float[AnyArray, "b F H W 3"], video: Float[AnyArray, "b F H W 3"]
) -> Float[Array, "8 b"]:
  """Returns the mean absolute difference in each band, in the order of `BANDS`."""
  bands = haar_bands(reconstruction - video)
  return jnp.mean(jnp.abs(bands), axis=(2, 3, 4, 5))
