"""The motion of any clip, estimated: dense flow, and where it can be trusted.

With the flow u from frame t to t + 1 and the flow w back, a pixel p is still seen if
the way there and back ends where it began,

    |u(p) + w(p + u(p))|^2 < 0.01 (|u(p)|^2 + |w(p + u(p))|^2) + 0.5.

What is covered in the next frame does not come back, and neither does a wrong flow.

The flow is OpenCV's, by inverse search of patches. OpenCV is part of the extra
`[evaluate]`.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search"
(arXiv:1603.03590); Sundaram, Brox and Keutzer, "Dense Point Trajectories by
GPU-accelerated Large Displacement Optical Flow", 2010 (the test and its numbers).
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax.metrics.warp import Motion

MISSING = (
  "The warp error ratio needs OpenCV for the motion of clips, which this install does "
  "not have; pip install opencv-python-headless, or do without."
)

_PATCH = 16  # Least side in pixels of what is searched.
_SHARE, _PIXELS = 0.01, 0.5  # Of the test for what is still seen.


def available() -> bool:
  """Whether OpenCV is installed."""
  return importlib.util.find_spec("cv2") is not None


def motions(video: UInt8[np.ndarray, "F H W 3"]) -> Iterator[Motion]:
  """Yields the motion from each frame to the next; `available` must be true.

  Args:
    video: RGB frames. Those of less than 16 pixels in height or width have no visible
      pixel, because nothing can be searched for there.
  """
  size = video.shape[1:3]
  if min(size) < _PATCH:
    hidden = Motion(np.zeros((*size, 2), np.float32), np.zeros(size, bool))
    yield from itertools.repeat(hidden, len(video) - 1)
    return
  import cv2

  search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
  # Each pair begins anew, so that a clip's motion depends on nothing before it.
  gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
  for one, other in zip(gray[:-1], gray[1:], strict=True):
    there = search.calc(one, other, None)  # H W (right, down)
    back = search.calc(other, one, None)
    yield _motion(there, _looked_up(back, there))


def _looked_up(
  flow: Float[np.ndarray, "H W 2"], there: Float[np.ndarray, "H W 2"]
) -> Float[np.ndarray, "H W 2"]:
  """Returns a flow at the places that another one leads to, between pixels linearly."""
  import cv2

  rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
  x, y = columns + there[..., 0], rows + there[..., 1]
  return cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _motion(
  there: Float[np.ndarray, "H W 2"], back: Float[np.ndarray, "H W 2"]
) -> Motion:
  apart = np.square(there + back).sum(-1)
  length = np.square(there).sum(-1) + np.square(back).sum(-1)
  return Motion(there[..., ::-1], apart < _SHARE * length + _PIXELS)
