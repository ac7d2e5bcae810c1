"""The exact picture inside black bars, each side alone, and where the bars change.

For every eighth frame, the 95th percentile of luma is kept of each row and column of
the decoded image, at full size and as it is stored: black is 16, or 0 in full range. A
row is dark at a moment if its percentile is at most `dark`, so text or a logo in a bar
does not hide the bar. It is border if it is dark in nearly all moments and only border
lies between it and the edge. A moment that is dark on the whole does not vote.

A letterbox that comes or goes in the middle of a clip makes two groups of moments, and
the clip is split where they meet.

The method and all numbers are our own; ffmpeg's `cropdetect`, which keeps the largest
image ever seen, is the usual one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

Crop = tuple[int, int, int, int]
"""(x, y, width, height) in pixels."""


class Profiles(NamedTuple):
  """Percentiles of luma at some moments.

  Attributes:
    rows: Of each row.
    columns: Of each column.
    luma: Mean luma.
    frames: Numbers of the frames.
  """

  rows: UInt8[np.ndarray, "k H"]
  columns: UInt8[np.ndarray, "k W"]
  luma: Float[np.ndarray, "k"]
  frames: Int[np.ndarray, "k"]


class BorderRule(NamedTuple):
  """Numbers of the rule.

  Attributes:
    dark: Largest percentile of a dark line, on a scale of 0 to 255.
    share: Least share of the moments in which a line of a border is dark.
    vote: Mean luma above which a moment votes.
    least: Narrowest border in pixels; a narrower one is kept.
    most: Widest border as a share of its side of the image; a wider one is kept.
    apart: Pixels by which a border must move to count as another one.
    run: Least number of moments that a letterbox lasts.
  """

  dark: int = 24
  share: float = 0.98
  vote: float = 24.0
  least: int = 2
  most: float = 0.45
  apart: int = 4
  run: int = 4


RULE = BorderRule()
"""The numbers that were measured."""


def profile(luma: UInt8[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray, float]:
  """Returns percentiles of a frame's rows [H] and columns [W], and its mean."""
  return _percentile(luma, 1), _percentile(luma, 0), float(luma.mean())


def _percentile(luma: UInt8[np.ndarray, "H W"], axis: int) -> UInt8[np.ndarray, "n"]:
  rank = round(0.95 * (luma.shape[axis] - 1))
  return np.partition(luma, rank, axis=axis).take(rank, axis=axis)


def crop(profiles: Profiles, rule: BorderRule = RULE) -> Crop:
  """Returns the image inside the borders; all of it where no moment votes."""
  votes = _votes(profiles, rule)
  height, width = profiles.rows.shape[1], profiles.columns.shape[1]
  if not votes.any():
    return 0, 0, width, height
  top, bottom = _edges(profiles.rows[votes], rule)
  left, right = _edges(profiles.columns[votes], rule)
  return left, top, width - left - right, height - top - bottom


def _votes(profiles: Profiles, rule: BorderRule) -> Bool[np.ndarray, "k"]:
  return profiles.luma > rule.vote


def _edges(lines: UInt8[np.ndarray, "k n"], rule: BorderRule) -> tuple[int, int]:
  """Returns the width of the border at the first line and at the last one."""
  border = (lines <= rule.dark).mean(0) >= rule.share
  return _width(border, rule), _width(border[::-1], rule)


def _width(border: Bool[np.ndarray, "n"], rule: BorderRule) -> int:
  width = len(border) if border.all() else int(border.argmin())
  return width if rule.least <= width <= rule.most * len(border) else 0


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
