"""Bars that are not black: of one colour, or a blurred copy of the picture.

Black bars are cut off (`borders`). Others may belong to the picture, so a clip that
seems to have them is kept, and how much of it they take is noted.

Two opposite bars begin at straight lines, at about the same distance from the middle.
Over most of its length, such a line has other levels on both sides, as no line next to
it has; and along the bars, levels change far less than in the picture between them.

The method and all numbers are our own.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax.curation.scenes import luma

_STEP, _LENGTH = 6.0, 0.6  # Levels, and share of a line that differs by so many.
_NARROW, _WIDE = 0.04, 0.45  # Shares of a side.
_UNEVEN = 0.02
_ALONE = 0.3  # By which the share exceeds those of the lines around.
_SMOOTH = 0.6


def odd_borders(stills: UInt8[np.ndarray, "n h w 3"]) -> float:
  """Returns the share of a clip's image that odd bars take; 0 if it has none."""
  gray = luma(stills)
  return max(_beside(gray), _beside(gray.swapaxes(1, 2)))


def _beside(gray: Float[np.ndarray, "n h w"]) -> float:
  """Returns the share of the bars on the left and on the right."""
  width = gray.shape[2]
  lines = (np.abs(np.diff(gray, axis=2)) > _STEP).mean((0, 1))
  least, most = max(4, round(_NARROW * width)), round(_WIDE * width)
  if most <= least or len(gray[0]) < 2:  # Too small to tell.
    return 0.0
  left, right = (
    least + int(x[least - 1 : most].argmax()) for x in (lines, lines[::-1])
  )
  if not (_is_edge(lines, left - 1) and _is_edge(lines[::-1], right - 1)):
    return 0.0
  along = np.abs(np.diff(gray, axis=1)).mean((0, 1))
  # Next to the lines, compression blends.
  bars = max(along[: left - 1].mean(), along[1 - right :].mean())
  between = along[left : width - right].mean()
  even = abs(left - right) <= max(2, _UNEVEN * width)
  return (left + right) / width if even and bars <= _SMOOTH * between else 0.0


def _is_edge(lines: Float[np.ndarray, "k"], at: int) -> bool:
  """Whether a line is long, and stands alone."""
  around = np.concatenate([lines[at - 3 : at - 1], lines[at + 2 : at + 4]])
  return bool(lines[at] >= max(_LENGTH, around.max() + _ALONE))
