"""Where the windows of a long video lie, and what each is told of the conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from ltx_jax.diffusion.conditioning import Condition, Reference


class Window(NamedTuple):
  """One window of a video.

  Attributes:
    start: The frame of the video that is its first.
    known: Frames of the video that there are before it is made; 0 for the first.
  """

  start: int
  known: int


def split(frames: int, window: int, overlap: int) -> list[Window]:
  """Returns the windows of a video, one after another.

  Args:
    frames: Number of frames of the video.
    window: Frames of a window; a shorter video is one window.
    overlap: Frames that a window shares with what is before it, at least.
  """
  windows = [Window(0, 0)]
  known = window
  while known < frames:
    start = min(known - overlap, frames - window)
    windows.append(Window(start, known))
    known = start + window
  return windows


def in_window(item: Condition, window: Window, frames: int) -> Condition | None:
  """Returns what a window is told of a condition, at its place in the window, or None.

  That is what comes after the frames that are known, a clip's from the last of those
  on; and of a reference all that is beside the window.

  Args:
    item: Its media are frames, as of `media.fit`.
    window: The window.
    frames: Number of frames that the window has.
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
  """Returns what a window is told of all conditions, as `in_window`."""
  told = (in_window(item, window, frames) for item in conditions)
  return [item for item in told if item is not None]
