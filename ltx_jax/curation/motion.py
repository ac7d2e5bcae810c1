"""How fast a clip moves, the camera and what it sees apart, and how often it repeats.

Two frames that are dt seconds apart, I and J, are first aligned as a whole, by the
affine flow A p + b that most pixels agree with: that is the camera. It minimises, from
coarse to fine and with weights that let go of what moves by itself,

    sum_p w(p) (J(p + A p + b) - I(p))^2                                            (1)

What the aligned frames still differ in moves by itself. Its flow r(p) is dense, and 0
where they do not differ by more than they do on the whole. Flow in pixels becomes speed
in diagonals of the image a second, whatever the size and the frame rate:

    v(p) = (A p + b + r(p)) / (dt sqrt(h^2 + w^2))                                  (2)

A fixed dt ranks fast clips as slow, because flow is found only over a part of the
image, and slow clips by chance. So dt is short at first, and is made longer, beginning
with the camera that was found, while the image moves by less than `step` pixels. Frames
that repeat their neighbour are left out before.

Dense flow is that of OpenCV (`pip install "ltx-jax[curate]"`): Farneback, "Two-frame
motion estimation based on polynomial expansion", 2003. Equation (1) is solved as in
Baker and Matthews, "Lucas-Kanade 20 years on", 2004. The rest is our own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from ltx_jax.curation.scenes import Small, luma

Image = Float[np.ndarray, "h w"]
Affine = Float[np.ndarray, "2 3"]
"""Flow in pixels: (u, v) = M (1, x, y), where x and y are -1 to 1 from side to side."""

_BLUR = 1.2
_EDGE = 2  # Pixels at the edges of an image that are not compared.
_NOISE = 1.0  # Slope, in levels a pixel, below which a pixel says nothing.
_GAIN = 0.001  # Share of the image that a moving camera must align better.
_LITTLE = 0.002  # Share of the pixels below which nothing moves by itself.
_STEPS, _FAR = (3, 12), 3.0  # Of dense flow; the second where it is that many pixels.
# For each level of the pyramid, steps with the multiple of the median that is trusted.
_TRUSTED = {2: (9.0, 6.0, 4.0, 3.0), 1: (4.0, 3.0, 2.0, 2.0), 0: (3.0, 2.0, 1.5, 1.5)}


class MotionRule(NamedTuple):
  """Numbers of the measurement.

  Attributes:
    every: Seconds from one pair of frames to the next.
    shortest: Seconds between the frames of a pair at first, if there are such frames.
    longest: Largest number of seconds between them.
    step: Pixels by which the image moves between them, at least, if that is in time.
    same: Largest mean difference of luma between repeated frames.
    share: Largest share of the clip's mean difference that repeated frames have.
    noise: Difference of luma that aligned images have without motion, at least.
    ratio: Ratio to the median difference from which on a pixel moves by itself.
    part: Part of the pixels that move by themselves whose speed `local` exceeds; where
      they are uncovered, flow is found that is none.
  """

  every: float = 0.25
  shortest: float = 0.04
  longest: float = 1.5
  step: float = 2.0
  same: float = 0.5
  share: float = 0.2
  noise: float = 1.0
  ratio: float = 3.0
  part: float = 0.85


RULE = MotionRule()
"""The numbers that were measured."""


class Motion(NamedTuple):
  """Motion of a clip, in diagonals of the image a second.

  Attributes:
    mean: Mean speed over pixels and time.
    p90: Speed that a tenth of the pixels exceed, over time.
    camera: Speed of the camera.
    local: Speed of what moves apart from the camera.
    repeated: Share of frames that repeat the one before.
    rate: Frames per second that do not.
  """

  mean: float
  p90: float
  camera: float
  local: float
  repeated: float
  rate: float


def moving(motion: Motion, least: float = 0.003) -> tuple[bool, bool]:
  """Says whether the camera moves, and whether something moves by itself.

  Args:
    motion: Measured motion.
    least: Least speed that counts.
  """
  camera = motion.camera >= max(least, 0.35 * motion.local)
  return camera, motion.local >= max(least, 0.25 * motion.camera)


def repeated(
  gray: UInt8[np.ndarray, "F h w"], rule: MotionRule = RULE
) -> Bool[np.ndarray, "F"]:
  """Says for every frame whether it repeats the one before."""
  apart = np.zeros(len(gray), np.float32)
  for k in range(1, len(gray)):
    apart[k] = cv2.absdiff(gray[k], gray[k - 1]).mean()
  # In a slow clip neighbours differ by little, but all by as little.
  most = min(rule.same, rule.share * float(apart[1:].mean())) if len(gray) > 1 else 0
  found = apart <= most
  found[:1] = False
  return found


def motion(
  small: Small, seconds: Float[np.ndarray, "F"], rule: MotionRule = RULE
) -> Motion:
  """Measures the motion of a clip.

  Args:
    small: Its frames.
    seconds: When each is shown.
    rule: Numbers of the measurement.
  """
  gray = np.rint(luma(small)).astype(np.uint8)
  again = repeated(gray, rule)
  share = float(again.mean())
  lasts = float(seconds[-1] - seconds[0])
  rate = float((~again).sum() - 1) / lasts if lasts > 0 else 0.0
  pairs = list(_speeds(gray[~again], seconds[~again], rule))
  if not pairs:
    return Motion(0.0, 0.0, 0.0, 0.0, share, max(rate, 0.0))
  return Motion(*np.mean(pairs, axis=0).tolist(), share, max(rate, 0.0))


def _speeds(
  gray: UInt8[np.ndarray, "F h w"], seconds: Float[np.ndarray, "F"], rule: MotionRule
) -> Iterator[tuple[float, float, float, float]]:
  """Yields mean, 90th percentile, camera and local speed of pairs of frames."""
  diagonal = np.hypot(*gray.shape[1:])
  due = -np.inf
  for k in range(len(gray) - 1):
    # Near the end there is no time left to move in.
    if seconds[k] < due or (k and seconds[-1] - seconds[k] < rule.every - 1e-6):
      continue
    due = seconds[k] + rule.every - 1e-6
    moved, apart = _pair(k, gray, seconds, rule)
    yield tuple(speed / (diagonal * apart) for speed in moved)
    # The next ones would see the same frames for a shorter time.
    if seconds[k] + apart > seconds[-1] - 1e-6:
      break


def _pair(
  k: int,
  gray: UInt8[np.ndarray, "F h w"],
  seconds: Float[np.ndarray, "F"],
  rule: MotionRule,
) -> tuple[tuple[float, float, float, float], float]:
  """Returns how far a frame moves in pixels, and the seconds that it takes."""
  one, camera, wanted, last = _smooth(gray[k]), None, rule.shortest, len(gray) - 1
  apart = 1.0
  while True:
    to = int(np.searchsorted(seconds, seconds[k] + wanted - 1e-6))
    to = min(max(to, k + 1), last)
    before, apart = apart, max(float(seconds[to] - seconds[k]), 1e-3)
    start = None if camera is None else camera * np.float32(apart / before)
    moved, camera = _moved(one, _smooth(gray[to]), start, rule)
    far = max(moved[1], moved[3])
    if far >= rule.step or to == last or apart > 0.75 * rule.longest:
      return moved, apart
    farther = float(np.clip(1.5 * rule.step / (far + 1e-3), 2, 8))
    wanted = min(rule.longest, farther * apart)


def _smooth(gray: UInt8[np.ndarray, "h w"]) -> Image:
  """Takes away what a shift by a part of a pixel would change."""
  return cv2.GaussianBlur(np.ascontiguousarray(gray, np.float32), (0, 0), _BLUR)


def _shift(one: Image, other: Image) -> Affine:
  """Returns the shift that most of an image follows, by the phases of its waves."""
  window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
  # Given the window, OpenCV 5.0 multiplies the images themselves by it.
  (x, y), _ = cv2.phaseCorrelate(one * window, other * window)
  # Of images without any detail there are no phases.
  return np.nan_to_num(np.array([[x, 0, 0], [y, 0, 0]], np.float32))


def _moved(
  one: Image, other: Image, start: Affine | None, rule: MotionRule
) -> tuple[tuple[float, float, float, float], Affine]:
  """Returns mean, 90th percentile, camera and local motion, and the camera."""
  camera = _camera(one, other, start)
  aligned, inside = _aligned(other, camera)
  rest = _rest(one, aligned, inside, rule)
  whole = _positions(one.shape) @ camera.T  # h w 2
  speed = np.hypot(*np.moveaxis(whole + rest, -1, 0))
  own = np.hypot(*np.moveaxis(rest, -1, 0))
  local = np.quantile(own[own > 0], rule.part) if own.any() else 0.0
  found = speed.mean(), np.quantile(speed, 0.9), np.hypot(*whole.T).mean(), local
  return tuple(map(float, found)), camera


@functools.cache
def _positions(shape: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
  """Returns (1, x, y) of each pixel; x and y are -1 to 1 from side to side."""
  h, w = shape
  y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
  return np.stack([np.ones_like(x), x, y], axis=-1).astype(np.float32)


def _aligned(other: Image, camera: Affine) -> tuple[Image, Bool[np.ndarray, "h w"]]:
  """Returns the other image as the camera saw the first, and where it reached."""
  h, w = other.shape
  flow = _positions(other.shape) @ camera.T
  x = flow[..., 0] + np.arange(w, dtype=np.float32)
  y = flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
  # What is blurred near an edge is blurred with what another frame does not show.
  inside = np.zeros(other.shape, bool)
  inside[_EDGE:-_EDGE, _EDGE:-_EDGE] = True
  inside &= (x >= _EDGE) & (x < w - _EDGE) & (y >= _EDGE) & (y < h - _EDGE)
  return cv2.remap(other, x, y, cv2.INTER_LINEAR), inside


def _camera(one: Image, other: Image, start: Affine | None) -> Affine:
  """Solves equation (1), from coarse images to fine ones; None starts from nothing."""
  still = np.zeros((2, 3), np.float32)
  if start is not None:
    found = _better(one, other, _refined(one, other, start, _TRUSTED[0]), start)
  else:
    pyramid = [(one, other)]
    for _ in range(2):
      pyramid.append(tuple(map(cv2.pyrDown, pyramid[-1])))
    # From the wrong place nothing is found.
    found = _better(one, other, still, _shift(one, other))
    for level in (2, 1, 0):
      found = _refined(*pyramid[level], found / 2**level, _TRUSTED[level]) * 2**level
  # Where there is no detail every flow fits about as well.
  gain = _differs(one, other, still) - _differs(one, other, found)
  return found if gain > _GAIN else still


def _better(one: Image, other: Image, *cameras: Affine) -> Affine:
  """Returns the affine flow that aligns more of the image."""
  return min(cameras, key=lambda camera: _differs(one, other, camera))


def _differs(one: Image, other: Image, camera: Affine) -> float:
  """Returns the share of the image that differs when it is aligned, about."""
  aligned, inside = _aligned(other, camera)
  missing = ((aligned - one) / _steepness(*_slopes(one)))[inside] ** 2
  return float((missing / (missing + 0.25)).mean()) if inside.mean() > 0.25 else 1.0


def _slopes(image: Image) -> tuple[Image, Image]:
  """Returns the changes of an image a pixel, along x and along y."""
  return (
    cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=3) / 8,
    cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=3) / 8,
  )


def _steepness(along_x: Image, along_y: Image) -> Image:
  return np.sqrt(along_x**2 + along_y**2 + _NOISE**2)


def _refined(
  one: Image, other: Image, camera: Affine, trusted: tuple[float, ...]
) -> Affine:
  """Improves an affine flow by steps of reweighted least squares.

  Each step trusts differences up to a multiple of the median. It begins high, because
  edges along the motion agree with any start.

  A pixel differs by the flow that is missing, in pixels: the difference over the
  gradient. So the weights do not prefer flat areas, nor those of high contrast.
  """
  slopes = _slopes(one)
  steep = _steepness(*slopes).ravel()
  basis = np.concatenate([s[..., None] * _positions(one.shape) for s in slopes], -1)
  basis = basis.reshape(-1, 6) / steep[:, None]
  informed = steep > 2 * _NOISE
  ridge = np.diag([1e-3, 3e-2, 3e-2] * 2)
  for share in trusted:
    aligned, inside = _aligned(other, camera)
    error, seen = ((aligned - one).ravel() / steep), inside.ravel()
    judged = np.abs(error[seen & informed])
    typical = max(share * float(np.median(judged)), 0.05) if judged.size > 50 else 1.0
    weighted = basis * (seen / (1 + (error / typical) ** 2))[:, None]
    normal = weighted.T @ basis
    normal += ridge * (np.trace(normal) / 2 + 1)
    step = np.linalg.solve(normal, weighted.T @ error).reshape(2, 3)
    camera = camera - step.astype(np.float32)
    if np.abs(step).max() < 0.01:
      break
  return camera


def _rest(
  one: Image, aligned: Image, inside: Bool[np.ndarray, "h w"], rule: MotionRule
) -> Float[np.ndarray, "h w 2"]:
  """Returns the flow that is left between aligned images, where they differ."""
  apart = cv2.blur(np.where(inside, np.abs(aligned - one), 0), (5, 5))
  usual = float(np.median(apart[inside])) if inside.any() else 0.0
  differs = inside & (apart > rule.ratio * usual + rule.noise)
  flow = np.zeros((*one.shape, 2), np.float32)
  if differs.mean() < _LITTLE:
    return flow
  images = [np.rint(i).astype(np.uint8) for i in (one, aligned)]
  for steps in _STEPS:
    flow = cv2.calcOpticalFlowFarneback(
      *images, flow, 0.5, 3, 11, steps, 5, 1.1, cv2.OPTFLOW_FARNEBACK_GAUSSIAN
    )
    if np.abs(flow[differs]).mean() < _FAR:
      break
  return flow * differs[..., None]
