"""The clips of a study: read, made comparable, written under names drawn by chance.

Nothing but the motion and the look of a clip may tell which model made it. All clips of
an item get one length, area, container rate and encoder; a clip keeps its own motion,
since its frames are repeated. A copy is damaged so that everybody who looks sees it.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from ltx_jax.data import video
from ltx_jax.moving_shapes.damage import blurred
from train.evaluate.study.design import Clip

Frames = UInt8[np.ndarray, "F H W 3"]

_BLUR = 0.06  # Of the shorter side, in standard deviations.
_STRONG, _SEEN = 16, 0.02  # Levels that are seen, and the least share of such pixels.
_TIME = 1_000_000_000  # Seconds since 1970: all files have one age.


class Facts(NamedTuple):
  """What a clip is like.

  Attributes:
    frames: Number of frames.
    fps: Frames per second.
    height: Height in pixels.
    width: Width in pixels.
    moves: Whether a frame differs from the first one.
    plain: Whether all pixels have one colour.
  """

  frames: int
  fps: float
  height: int
  width: int
  moves: bool
  plain: bool

  @property
  def seconds(self) -> float:
    """Length of the clip."""
    return self.frames / self.fps


class Shape(NamedTuple):
  """What all clips of an item have in common.

  Attributes:
    seconds: Their length.
    area: Pixels of a frame, about.
    rate: Frames per second of their containers.
  """

  seconds: float
  area: int
  rate: float


def facts(path: Path) -> Facts:
  """Reads a clip to its end.

  Raises:
    ValueError: If it cannot be read, breaks off, or is a still image.
  """
  frames, fps = video.read(path)
  if not fps:
    raise ValueError(f"{path} is a still image; give a video.")
  moves = any((frame != frames[0]).any() for frame in frames[1:])
  plain = bool((frames == frames[0, 0, 0]).all())
  return Facts(*frames.shape[:1], fps, *frames.shape[1:3], moves, plain)


def common(clips: Mapping[str, Facts], rate: float) -> Shape:
  """Returns the shortest length and the smallest size of an item's clips.

  Args:
    clips: Facts of the clips, by model.
    rate: Frames per second of all containers.
  """
  seconds = min(clip.seconds for clip in clips.values())
  area = min(clip.height * clip.width for clip in clips.values())
  return Shape(seconds, area, rate)


def chosen(frames: int, fps: float, shape: Shape) -> Int[np.ndarray, "t"]:
  """Returns which frame of a clip is shown at each tick of the container.

  At time t that is the frame that began last, so that motion keeps its own rate.
  """
  ticks = np.arange(max(1, math.floor(shape.seconds * shape.rate + 1e-6)))
  shown = np.floor(ticks * (fps / shape.rate) + 1e-6).astype(np.int64)
  return np.minimum(shown, frames - 1)


def size(height: int, width: int, area: int) -> tuple[int, int]:
  """Returns even sizes of that area and about that aspect; nothing is enlarged."""
  scale = min(1.0, math.sqrt(area / (height * width)))
  return tuple(max(2, 2 * round(side * scale / 2)) for side in (height, width))


def shaped(frames: Frames, fps: float, shape: Shape) -> Frames:
  """Returns a clip with the length, area and rate of its item."""
  index = chosen(len(frames), fps, shape)
  height, width = size(*frames.shape[1:3], shape.area)
  needed = np.unique(index)
  if (height, width) != frames.shape[1:3]:
    images = (Image.fromarray(frames[k]) for k in needed)
    small = [i.resize((width, height), Image.Resampling.LANCZOS) for i in images]
    kept = np.stack([np.asarray(image) for image in small])
  else:
    kept = frames[needed]
  return kept[np.searchsorted(needed, index)]


def damaged(frames: Frames, how: str) -> Frames | None:
  """Returns a damaged copy; None if nobody would see the difference.

  Args:
    frames: The clip.
    how: `blurred` or `frozen`.
  """
  if how == "frozen":
    copy = np.broadcast_to(frames[:1], frames.shape)
  else:
    sigma = max(1.0, _BLUR * min(frames.shape[1:3]))
    # Frame by frame, since floats take four times the memory.
    soft = [blurred(frame[None].astype(np.float32), sigma)[0] for frame in frames]
    copy = np.stack([np.clip(frame, 0, 255).round().astype(np.uint8) for frame in soft])
  changed = [
    (np.abs(a.astype(np.int16) - b).max(-1) > _STRONG).mean()
    for a, b in zip(frames, copy, strict=True)
  ]
  return copy if np.mean(changed) >= _SEEN else None


def keep(folder: Path, frames: Frames, rate: float) -> Clip:
  """Writes a clip without metadata under a name drawn by chance."""
  name = secrets.token_hex(8)
  path = folder / f"{name}.mp4"
  video.write(path, frames, rate)
  return Clip(name, _aged(path))


def keep_image(folder: Path, source: Path) -> Clip:
  """Writes a start image without metadata under a name drawn by chance.

  Raises:
    ValueError: If it cannot be read.
  """
  frames, _ = video.read(source, 1)
  name = secrets.token_hex(8)
  path = folder / f"{name}.jpg"
  video.write(path, frames, 1.0)
  return Clip(name, _aged(path))


def _aged(path: Path) -> str:
  """Gives a file the age that all have, and returns its hash."""
  os.utime(path, (_TIME, _TIME))
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
