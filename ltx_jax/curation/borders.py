"""The exact picture inside black bars, each side alone, and where the bars change.

For every eighth frame, three percentiles of luma are kept of each row and column of the
decoded image, the 95th, the 75th and the 50th, at full size and as it is stored: black
is 16, or 0 in full range. A row is dark at a moment if its 95th percentile is at most
`dark`. It is border if it is dark in nearly all moments and only border lies between it
and the edge. Text or a logo in a bar does not hide the bar: lines that are half dark
may lie between dark ones. A moment that is dark on the whole does not vote.

Compression lets the image bleed into the bar. So a bar ends where the light jumps most,
at its first line that is not dark or within those of at most `bleed`. There is no bar
where nothing jumps, as before a sky that grows dark slowly, nor where less than a
quarter of the line behind is lit, as beside a planet in space.

A letterbox that comes or goes in the middle of a clip makes two groups of moments, and
the clip is split where they meet.

The method and all numbers are our own; ffmpeg's `cropdetect`, which keeps the largest
image ever seen, is the usual one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

_MOST_PIXELS = 128
"""Pixels of a line that are looked at, about."""

Crop = tuple[int, int, int, int]
"""(x, y, width, height) in pixels."""


class Profiles(NamedTuple):
  """Percentiles of luma at some moments.

  Attributes:
    rows: 95th, 75th and 50th of each row.
    columns: 95th, 75th and 50th of each column.
    luma: Mean luma.
    frames: Numbers of the frames.
  """

  rows: UInt8[np.ndarray, "k 3 H"]
  columns: UInt8[np.ndarray, "k 3 W"]
  luma: Float[np.ndarray, "k"]
  frames: Int[np.ndarray, "k"]


class BorderRule(NamedTuple):
  """Numbers of the rule.

  Attributes:
    dark: Largest percentile of a dark line, on a scale of 0 to 255.
    share: Least share of the moments in which a line of a border is dark.
    vote: Mean luma above which a moment votes.
    least: Narrowest border in pixels; a narrower one is kept.
    bleed: Largest percentile of a line into which the image bleeds.
    near: Largest percentile of the middle one of a border's lines, if there are such.
    reach: Most lines into which the image bleeds.
    step: Least ratio of the image's first line to the border's last one.
    most: Widest border as a share of its side of the image; a wider one is kept.
    apart: Pixels by which a border must move to count as another one.
    run: Least number of moments that a letterbox lasts.
  """

  dark: int = 24
  share: float = 0.98
  vote: float = 24.0
  least: int = 2
  bleed: int = 56
  near: int = 34
  reach: int = 16
  step: float = 1.5
  most: float = 0.45
  apart: int = 4
  run: int = 4


RULE = BorderRule()
"""The numbers that were measured."""


def profile(luma: UInt8[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray, float]:
  """Returns percentiles of a frame's rows [3 H] and columns [3 W], and its light."""
  return _percentiles(luma, 1), _percentiles(luma, 0), float(luma[::2, ::2].mean())


def _percentiles(luma: UInt8[np.ndarray, "H W"], axis: int) -> UInt8[np.ndarray, "3 n"]:
  # Of lines of some thousand pixels, a hundred say as much.
  part = -(-luma.shape[axis] // _MOST_PIXELS)
  lines = np.ascontiguousarray((luma if axis else luma.T)[:, ::part])
  ranks = [round(share * (lines.shape[1] - 1)) for share in (0.95, 0.75, 0.5)]
  # Of whole words, NumPy sorts several at once.
  return np.sort(lines.astype(np.int32), axis=1).T[ranks].astype(np.uint8)


def crop(profiles: Profiles, rule: BorderRule = RULE) -> Crop:
  """Returns the image inside the borders; all of it where no moment votes."""
  votes = _votes(profiles, rule)
  height, width = profiles.rows.shape[2], profiles.columns.shape[2]
  if not votes.any():
    return 0, 0, width, height
  top, bottom = _edges(profiles.rows[votes], rule)
  left, right = _edges(profiles.columns[votes], rule)
  return left, top, width - left - right, height - top - bottom


def _votes(profiles: Profiles, rule: BorderRule) -> Bool[np.ndarray, "k"]:
  return profiles.luma > rule.vote


def _edges(lines: UInt8[np.ndarray, "k 3 n"], rule: BorderRule) -> tuple[int, int]:
  """Returns the width of the border at the first line and at the last one."""
  return _width(lines, rule), _width(lines[:, :, ::-1], rule)


def _width(lines: UInt8[np.ndarray, "k 3 n"], rule: BorderRule) -> int:
  """Returns the width of the border at the first line."""
  usual, broad = np.median(lines[:, 0], axis=0), lines[:, 1].max(0)
  is_dark, mostly = ((lines[:, k] <= rule.dark).mean(0) >= rule.share for k in (0, 2))
  inside = np.flatnonzero(is_dark[: _leading(mostly)])
  dark = int(inside[-1]) + 1 if len(inside) else 0
  bleeds = dark + _leading(usual[dark:] <= rule.bleed)
  last = min(bleeds, dark + rule.reach, len(usual) - 1)
  places = np.arange(max(dark, 1), last + 1)
  if not len(places):
    return 0
  steps = usual[places] / np.maximum(usual[places - 1], 1)
  width = int(places[steps.argmax()])
  begins = steps.max() >= rule.step and broad[width : width + 2].max() > rule.dark
  black = width == dark or np.median(usual[:width]) <= rule.near
  fits = rule.least <= width <= rule.most * len(usual)
  return width if begins and black and fits else 0


def _leading(marked: Bool[np.ndarray, "n"]) -> int:
  """Returns how many lines are marked before the first that is not."""
  return len(marked) if marked.all() else int(marked.argmin())


def changes(profiles: Profiles, rule: BorderRule = RULE) -> list[int]:
  """Returns the frames from which on the borders are others, ascending.

  Each is the first frame of a group of at least `run` moments whose borders differ from
  those of the group before.
  """
  votes = np.flatnonzero(_votes(profiles, rule))
  edges = [
    (*_edges(profiles.rows[[k]], rule), *_edges(profiles.columns[[k]], rule))
    for k in votes
  ]
  found: list[int] = []
  current = 0
  for n in range(1, len(votes) - rule.run + 1):
    before = np.median(edges[current:n], axis=0)
    # A group begins at n if it and the next moments agree, and differ from before.
    group = np.array(edges[n : n + rule.run])
    agree = (np.ptp(group, axis=0) <= rule.apart).all()
    moved = np.abs(np.median(group, axis=0) - before).max() > rule.apart
    if n - current >= rule.run and agree and moved:
      found.append(int(profiles.frames[votes[n]]))
      current = n
  return found
