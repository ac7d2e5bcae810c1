"""What every metric sees: frames of 8 bits, two clips that correspond, and none broken.

    frame = round(127.5 (x + 1)) for x in [-1, 1]

People see 8 bits. Rounding, not cutting off, since cutting off costs 0.2 dB at 40 dB
and 9 dB at 60.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from ltx_jax.data.pixels import to_uint8
from ltx_jax.errors import shown
from ltx_jax.typing import AnyArray


def frames_8bit(
  video: Shaped[AnyArray, "b F H W 3"], name: str = "The video"
) -> UInt8[np.ndarray, "b F H W 3"]:
  """Returns frames of 8 bits; bytes are kept as they are.

  Args:
    video: Bytes, or floats in [-1, 1].
    name: Name of the video in messages.

  Raises:
    ValueError: If a frame holds a number that is not finite, or the video is of another
      type.
  """
  video = np.asarray(video)
  if video.dtype == np.uint8:
    return video
  # bfloat16 is no floating type to NumPy.
  if not (np.issubdtype(video.dtype, np.floating) or video.dtype.name == "bfloat16"):
    raise ValueError(f"{name} is {shown(video)}; give uint8, or floats from -1 to 1.")
  video = video.astype(np.float32)
  broken = np.argwhere(~np.isfinite(video).all(axis=(2, 3, 4)))
  if len(broken):
    clip, frame = broken[0]
    raise ValueError(
      f"{name} holds NaN or infinity in frame {frame} of clip {clip}, and in "
      f"{len(broken) - 1} more frames; no metric is computed from it."
    )
  return np.asarray(to_uint8(video))


def check_pair(
  video: Shaped[AnyArray, "..."],
  reference: Shaped[AnyArray, "..."],
  names: tuple[str, str] = ("The video", "its reference"),
  fps: tuple[float, float] | None = None,
) -> None:
  """Refuses two videos whose frames do not correspond.

  Args:
    video: Frames.
    reference: Frames to compare with.
    names: Names of both in messages.
    fps: Frames per second of both; None if nothing says so.

  Raises:
    ValueError: If lengths, sizes or rates differ.
  """
  if video.shape != reference.shape:
    described = (
      f"{name} has {x.shape[-4]} frames of {x.shape[-2]}x{x.shape[-3]}"
      for name, x in zip(names, (video, reference), strict=True)
    )
    raise ValueError(
      f"{', '.join(described)}; frames of other sizes and lengths do not correspond: "
      "make both alike first."
    )
  if fps and fps[0] != fps[1]:
    raise ValueError(
      f"{names[0]} has {fps[0]:g} frames per second, {names[1]} {fps[1]:g}; frames of "
      "other times do not correspond: make both alike first."
    )


def still(video: UInt8[np.ndarray, "b F H W 3"]) -> Bool[np.ndarray, "b"]:
  """Says which clips never change; a single frame does not."""
  return (video == video[:, :1]).all(axis=(1, 2, 3, 4))


def plain(video: UInt8[np.ndarray, "b F H W 3"]) -> Bool[np.ndarray, "b"]:
  """Says which clips are of one colour throughout, such as black ones."""
  return (video == video[:, :1, :1, :1]).all(axis=(1, 2, 3, 4))


def remarks(video: UInt8[np.ndarray, "b F H W 3"]) -> list[str]:
  """Returns sentences on clips whose figures say little, of those that exist."""
  counts = {"do not move": still(video).sum(), "are of one colour": plain(video).sum()}
  return [
    f"{count} of {len(video)} clips {what}." for what, count in counts.items() if count
  ]
