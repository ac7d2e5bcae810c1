"""LPIPS of a clip: the mean over its frames of `losses.perceptual.lpips`.

A few frames at a time are compared, so memory does not grow with the clip. Figures are
comparable only if they come from the same weights, so those of VGG16 are called
`lpips-vgg16`. Pixels are in [-1, 1]; from [0, 1] other numbers come out, with no error.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.losses import perceptual
from ltx_jax.metrics.figure import Figure, no_weights
from ltx_jax.typing import AnyArray, FeaturesFn, Params, Video

NAME = "lpips-vgg16"
"""Name of the figure; other networks give other numbers."""


def no_vgg16() -> Figure:
  """Returns what is reported without the weights of LPIPS."""
  return no_weights(
    NAME,
    "the weights of VGG16 and the heads of LPIPS",
    "make their file with python -m train.perceptual_weights and name it; PSNR and "
    "SSIM are reported without it",
  )


def lpips(
  features: FeaturesFn,
  params: Params,
  video: Float[AnyArray, "F H W 3"],
  reference: Float[AnyArray, "F H W 3"],
  at_once: int = 8,
) -> float:
  """Compares a clip with its reference.

  Args:
    features: The network (`models.perceptual.features_fn` makes it). Pass the same
      function again, so that it is compiled once.
    params: Its parameters, with heads.
    video: Pixels in [-1, 1].
    reference: Pixels to compare with, of the same shape.
    at_once: Number of frames that are compared at the same time.

  Returns:
    The distance; 0 if both are equal.

  Raises:
    ValueError: If the shapes differ, or frames are too small for the network.
  """
  if video.shape != reference.shape:
    raise ValueError(
      f"The clip has shape {video.shape}, its reference {reference.shape}; give two of "
      "the same shape."
    )
  at_once = min(at_once, len(video))
  found = []
  for start in range(0, len(video), at_once):
    pair = [clip[start : start + at_once] for clip in (video, reference)]
    count = len(pair[0])
    # The last frames are repeated, so that one program compares all.
    filled = [_filled(np.asarray(frames), at_once) for frames in pair]
    found.append(np.asarray(_distances(features, params, *filled))[:count])
  return float(np.mean(np.concatenate(found), dtype=np.float64))


def _filled(frames: np.ndarray, count: int) -> np.ndarray:
  """Returns `count` frames, each as a clip of its own."""
  missing = count - len(frames)
  return np.pad(frames, ((0, missing), *[(0, 0)] * 3), mode="edge")[:, None]


@functools.partial(jax.jit, static_argnums=0)
def _distances(
  features: FeaturesFn, params: Params, video: Video, reference: Video
) -> Float[Array, "b"]:
  videos = (jnp.asarray(x, jnp.float32) for x in (video, reference))
  return perceptual.lpips(features, params, *videos)
