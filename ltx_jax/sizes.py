"""Requested sizes, and the sizes that a VAE can make.

A VAE makes whole latent positions: width and height in multiples of 32, and 8k + 1
frames. For any other size, a slightly larger video is made. Its frames are cropped at
the centre, and surplus frames are cut at the end.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from ltx_jax.config import VAEConfig
from ltx_jax.errors import check_number

MOST_FRAMES = 100_000
"""Largest number of frames of a video: an hour, made in windows."""

LONGEST_SIDE = 8192
"""Longest side in pixels; no memory holds a larger clip in one piece."""


def check_size(frames: Any, height: Any, width: Any) -> None:
  """Checks a requested size; None, which takes the recipe's value, is not checked.

  Raises:
    ValueError: If a value is not a whole number, or out of bounds; the message names
      the first.
  """
  bounds = {"frames": MOST_FRAMES, "height": LONGEST_SIDE, "width": LONGEST_SIDE}
  for (name, most), size in zip(bounds.items(), (frames, height, width), strict=True):
    if size is not None:
      check_number(name, size, at_least=1, at_most=most, whole=True)


@dataclasses.dataclass(frozen=True)
class Canvas:
  """A requested size, and the size to generate and crop: (frames, height, width).

  `Canvas.of` makes one for a VAE.
  """

  asked: tuple[int, int, int]
  used: tuple[int, int, int]
  factors: tuple[int, int]

  @classmethod
  def of(cls, config: VAEConfig, frames: int, height: int, width: int) -> Canvas:
    """Returns the canvas of a VAE for a size.

    Raises:
      ValueError: If `check_size` refuses the size.
    """
    asked = (frames, height, width)
    check_size(*asked)
    t, s = config.temporal_factor, config.spatial_factor
    f, h, w = config.latent_shape(*asked)
    return cls(asked, ((f - 1) * t + 1, h * s, w * s), (t, s))

  @property
  def note(self) -> str | None:
    """One sentence about a different generated size, or None if it is the same."""
    if self.asked == self.used:
      return None
    t, s = self.factors
    frames, height, width = self.asked
    used_frames, used_height, used_width = self.used
    return (
      f"{width}x{height} with {frames} frames is asked for; {used_width}x{used_height} "
      f"with {used_frames} frames is generated and cropped, because width and height "
      f"must be multiples of {s} and frames {t}k + 1."
    )

  def describe(self, clips: int) -> str:
    """Describes clips of the generated size."""
    frames, height, width = self.used
    return f"{clips} clip(s) of {frames} frames of {width}x{height}"

  def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns to crop: (before, after) of each."""
    spare = [used - asked for used, asked in zip(self.used, self.asked, strict=True)]
    return tuple((n // 2, n - n // 2) for n in spare[1:])

  def crop(self, video: Any) -> Any:
    """Cuts a generated video [b F H W 3] to the requested size."""
    frames, height, width = self.asked
    (top, _), (left, _) = self._margins()
    return video[:, :frames, top : top + height, left : left + width]

  def pad(self, video: Float[np.ndarray, "F H W 3"]) -> Float[np.ndarray, "F _ _ 3"]:
    """Pads frames of the requested size by repeating their edges."""
    return np.pad(video, [(0, 0), *self._margins(), (0, 0)], mode="edge")
