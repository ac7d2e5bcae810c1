"""Where the windows of a long video lie, and which conditions each one receives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from ltx_jax.diffusion.conditioning import Condition, Reference


class Window(NamedTuple):
  """One window of a video.

  Attributes:
    start: The frame of the video at which the window starts.
    known: Number of frames of the video that exist before the window is made; 0 for the
      first window.
  """

  start: int
  known: int


def split(frames: int, window: int, overlap: int) -> list[Window]:
  """Splits a video into windows, in order.

  Args:
    frames: Number of frames of the video.
    window: Frames per window; a shorter video is one window.
    overlap: Minimum number of frames that a window shares with those before it.
  """
  windows = [Window(0, 0)]
  known = window
  while known < frames:
    start = min(known - overlap, frames - window)
    windows.append(Window(start, known))
    known = start + window
  return windows


def in_window(item: Condition, window: Window, frames: int) -> Condition | None:
  """Returns the part of a condition that a window receives, or None.

  A window receives the frames that come after the known ones; a clip is cut at the last
  known frame. It receives every frame of a reference that lies within the window. The
  result counts frames from the start of the window.

  Args:
    item: Condition whose media are frames, as `media.fit` returns them.
    window: The window.
    frames: Number of frames of the window.
  """
  new = begin = window.start
  if not isinstance(item, Reference):
    new, begin = window.known, max(window.known - 1, 0)
  if item.frame + len(item.media) <= new or item.frame >= window.start + frames:
    return None
  rest = item.media[max(begin - item.frame, 0) :]
  place = max(item.frame, begin) - window.start
  return dataclasses.replace(item, media=rest, frame=place)


def told_in(
  conditions: Sequence[Condition], window: Window, frames: int
) -> list[Condition]:
  """Applies `in_window` to all conditions and drops what is None."""
  told = (in_window(item, window, frames) for item in conditions)
  return [item for item in told if item is not None]
