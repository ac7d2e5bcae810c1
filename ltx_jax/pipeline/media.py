"""Turns the media of conditions into frames in [-1, 1] of the right size."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32

from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.errors import check_kind
from ltx_jax.sizes import Canvas
from ltx_jax.typing import AnyArray

_LOG = logging.getLogger("ltx_jax")

FloatFrames = Float32[np.ndarray, "F H W 3"]

_TOLERANCE = 1e-3
_MUCH = 0.2  # Of an image, that is cropped without being asked.


def load_frames(
  media: Any,
  *,
  height: int | None = None,
  width: int | None = None,
  frames: int | None = None,
  crf: int | None = None,
) -> FloatFrames:
  """Reads media, scales them to cover a frame and crops them at the centre.

  Args:
    media: A path, a PIL image, uint8 [F H W 3] or [H W 3], or float of those shapes in
      [-1, 1].
    height: Height of the result in pixels; None keeps that of the media.
    width: Width of the result in pixels; None keeps that of the media.
    frames: Maximum number of frames, counted from the first.
    crf: Compression that softens the media (`Condition.crf`); the media are then scaled
      linearly, as in the original.

  Returns:
    Frames in [-1, 1].

  Raises:
    ValueError: If the media are none of these or cannot be read.
  """
  array = _frames(media, frames)
  height, width = height or array.shape[1], width or array.shape[2]
  _note_crop(array.shape[1:3], (height, width))
  if crf is not None:
    from ltx_jax.data import soften  # PyAV, which `import ltx_jax` does not load.

    soft = soften.soften(_as_bytes(array), height, width, crf)
    return np.array(stretch(to_floats(soft), height, width))
  if array.dtype == np.uint8:
    from ltx_jax.data import video

    return to_floats(video.cover(array, height, width))
  return _cover_floats(_checked(array), height, width)


def fit(item: Condition, canvas: Canvas) -> Condition:
  """Returns a condition whose media are frames of the size that is generated.

  The media cover the requested size; the padding, which is cropped off again in the
  end, repeats their edges. Frames beyond the end of the video are cut.

  Raises:
    ValueError: If the media cannot be read, or start after the last frame.
  """
  frames, height, width = canvas.asked
  room = room_for(item, frames)
  media = load_frames(item.media, height=height, width=width, frames=room, crf=item.crf)
  return dataclasses.replace(item, media=canvas.pad(media), crf=None)


def fit_all(items: Sequence[Condition], canvas: Canvas) -> list[Condition]:
  """Applies `fit` to each condition.

  Raises:
    ValueError: If `fit` refuses one, or `items` is a single condition.
  """
  if isinstance(items, Condition):
    raise ValueError("conditions is one Condition; give a list, such as [condition].")
  for item in items:
    check_kind("A condition", item, Condition, "an ltx_jax.Condition(media) for each")
  return [fit(item, canvas) for item in items]


def room_for(item: Condition, frames: int) -> int:
  """Returns how many frames the video has from a condition's first frame on.

  Raises:
    ValueError: If the condition starts after the last frame.
  """
  if item.frame >= frames:
    raise ValueError(
      f"A condition starts at frame {item.frame} of a video of {frames} frames; give a "
      f"frame from 0 to {frames - 1}."
    )
  return frames - item.frame


def whole_positions(
  media: FloatFrames, temporal_factor: int
) -> Float32[np.ndarray, "_ H W 3"]:
  """Returns the first 8k + 1 frames: the longest clip that the VAE can encode."""
  kept = (len(media) - 1) // temporal_factor * temporal_factor + 1
  if kept < len(media):
    _LOG.warning(
      f"A condition has {len(media)} frames; its first {kept} are used, because a clip "
      f"must have {temporal_factor}k + 1."
    )
  return media[:kept]


def stretch(
  frames: Float[AnyArray, "*b H W 3"], height: int, width: int
) -> Float[AnyArray, "*b _ _ 3"]:
  """Scales frames to a size without keeping their proportions.

  Interpolates linearly without smoothing, as the original does between its passes.
  """
  if frames.shape[-3:-1] == (height, width):
    return frames
  shape = (*frames.shape[:-3], height, width, 3)
  return jax.image.resize(frames, shape, "linear", antialias=False)


def _frames(media: Any, frames: int | None) -> np.ndarray:
  """Returns media as [F H W 3], uint8 or floating point."""
  if isinstance(media, str | os.PathLike):
    from ltx_jax.data import video

    return video.read(media, frames)[0]
  if hasattr(media, "convert"):  # A PIL image.
    from ltx_jax.data import images

    try:
      media = images.to_rgb(media)
    except images.Unsuitable as error:
      raise ValueError(f"A condition's media {error}") from None
  array = np.asarray(media)
  shape = array.shape
  array = array[None] if array.ndim == 3 else array
  number = array.dtype == np.uint8 or np.issubdtype(array.dtype, np.floating)
  if array.dtype.name == "bfloat16":
    array, number = array.astype(np.float32), True
  if not number or array.ndim != 4 or array.shape[-1] != 3 or not array.size:
    raise ValueError(
      f"A condition's media is {type(media).__name__} of shape {shape} and type "
      f"{array.dtype}; give a path, a PIL image, or frames [F H W 3] as uint8 or as "
      "float in [-1, 1]."
    )
  return array[:frames]


def _note_crop(found: tuple[int, int], shown: tuple[int, int]) -> None:
  """Says where much of an image is cropped, and which size would show it."""
  (rows, columns), (height, width) = found, shown
  ratio = rows / columns
  lost = _lost(ratio, shown)
  if lost < _MUCH:
    return
  side = math.sqrt(height * width * ratio)  # Of the same area.
  sides = [
    {max(32, rounded(x / 32) * 32) for rounded in (math.floor, math.ceil)}
    for x in (side, side / ratio)
  ]
  high, wide = min(itertools.product(*sides), key=functools.partial(_lost, ratio))
  _LOG.warning(
    f"{lost:.0%} of an image or clip of {columns}x{rows} is cropped to cover "
    f"{width}x{height}; width {wide} and height {high} show more of it."
  )


def _lost(ratio: float, shown: tuple[int, int]) -> float:
  """The share of an image of a height over width that is cropped to cover a size."""
  other = shown[0] / shown[1]
  return 1 - min(ratio, other) / max(ratio, other)


def _as_bytes(array: np.ndarray) -> np.ndarray:
  return array if array.dtype == np.uint8 else to_uint8(_checked(array))


def _checked(array: np.ndarray) -> FloatFrames:
  low, high = float(array.min()), float(array.max())
  if not (-1 - _TOLERANCE <= low and high <= 1 + _TOLERANCE):
    raise ValueError(
      f"A condition's media has values from {low:g} to {high:g}; floating-point frames "
      "must lie in [-1, 1], and frames of 0 to 255 must be uint8."
    )
  return array.astype(np.float32)


def _cover_floats(
  array: FloatFrames, height: int, width: int
) -> Float32[np.ndarray, "F _ _ 3"]:
  """Does what `data.video.cover` does, for floats: the same crop and filter."""
  rows, columns = array.shape[1:3]
  if (rows, columns) == (height, width):
    return array
  from PIL import Image

  scale = min(rows / height, columns / width)
  top, left = (rows - scale * height) / 2, (columns - scale * width) / 2
  box = (left, top, left + scale * width, top + scale * height)

  def resize(plane: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane))  # float32: mode F
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box))

  planes = [[resize(frame[..., c]) for c in range(3)] for frame in array]
  # Bicubic weights overshoot at sharp edges.
  return np.clip(np.moveaxis(np.array(planes), 1, -1), -1, 1)
