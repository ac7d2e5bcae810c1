"""Where one scene ends and the next begins: cuts, dissolves, fades, and no flashes.

All frames are looked at, small. With the mean over pixels of the absolute difference in
hue, saturation and value (hue along the circle),

    d(i, j) = mean |hsv_i - hsv_j|,        d_i = d(i - 1, i)                        (1)

frame i begins a scene if d_i is large, stands out from its surroundings, and is no
flash, after which the scene from before goes on:

    d_i >= least,   d_i >= ratio x median of d within `window` frames,              (2)
    d_i = max of d within two frames,
    d(i - 1, i - 1 + k) and d(i - k, i) >= stays x d_i,  k = 4, 6, 9                (3)

The frames of a dissolve blend two scenes, so over its n frames the middle is the mean
of the ends, as no motion makes it:

    D(i, i + n) >= least  and  D(i + n/2, mean of both) <= D(i, i + n) / 4          (4)

where D is the mean absolute difference of RGB, and no two neighbours differ by half of
that, as where light flashes. In a wipe the middle is made of parts of both: nearly each
of its pixels is that of one end, and between a quarter and three quarters of them are
those of the later one. Windows that reach out of the dissolve
miss (4), so its ends are found by its blend: from the middle m of the frames found, or
from the darkest one if they fade through black, to frame b of the scene beyond,

    p(t) = <x_t - x_m, x_b - x_m> / |x_b - x_m|^2                                   (5)

rises along a line, which is 1 where the dissolve ends. Black frames, of a fade, have a
small mean and spread of luma. Frames of dissolves and black frames belong to no scene.

A flash is a rise of the mean luma and a fall, or the other way round. Where there are
more than `strobe` in a second, light changes and no scene does.

Sources: the idea of (2) is the adaptive detector of PySceneDetect; (3) to (5) and all
numbers are our own, measured on joined clips (`python -m tests.verify scenes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

Small = UInt8[np.ndarray, "F h w 3"]
"""All frames of a span, with a shorter side of 72 pixels."""

Image = UInt8[np.ndarray, "h w 3"]

_PART = 16
"""Frames whose HSV is in memory at one time; few, so that the cache holds them."""

_LATER = 4, 6, 9
"""Frames from one to another that a cut keeps apart; lightning flashes twice."""

_RISE = 16
"""Frames after a black one in which light may rise."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class SceneRule(NamedTuple):
  """Numbers of equations (2) to (4); differences are on a scale of 0 to 255.

  Attributes:
    least: Least difference between the frames on both sides of a cut, or between the
      ends of a dissolve.
    ratio: Least ratio of a cut's difference to the median around it.
    window: Frames on each side that the median is taken of.
    stays: Least share of a cut's difference that there still is between frames farther
      apart; with less it is a flash.
    lengths: Numbers of frames that a dissolve is looked for in, each even.
    blend: Largest share of the ends' difference by which the middle of a dissolve may
      miss their mean.
    dark: Largest mean luma of a black frame.
    flat: Largest deviation of luma within a black frame.
    flash: Least change of the mean luma that is half a flash.
    strobe: Flashes in a second above which there are no cuts.
  """

  least: float = 15.0
  ratio: float = 3.0
  window: int = 6
  stays: float = 0.5
  lengths: tuple[int, ...] = (8, 16, 32)
  blend: float = 0.25
  dark: float = 24.0
  flat: float = 8.0
  flash: float = 20.0
  strobe: float = 3.0


RULE = SceneRule()
"""The numbers that were measured."""


class Scene(NamedTuple):
  """Frames that belong together.

  Attributes:
    start: Its first frame.
    stop: The frame after its last one.
    begins: What it begins with.
  """

  start: int
  stop: int
  begins: Literal["span", "cut", "transition"]


def hsv(rgb: UInt8[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
  """Converts RGB to hue, saturation and value on a scale of 0 to 255.

  A gray pixel has no hue; it gets 0.
  """
  r, g, b = np.moveaxis(rgb, -1, 0).astype(np.float32)
  value = np.maximum(np.maximum(r, g), b)
  range_ = value - np.minimum(np.minimum(r, g), b)
  safe = np.maximum(range_, 1)  # Both are whole numbers.
  below = np.where(g < b, np.float32(6), np.float32(0))
  green = np.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4)
  sector = np.where(value == r, (g - b) / safe + below, green)
  saturation = 255 * range_ / np.maximum(value, 1)
  return np.stack([sector * (255 / 6), saturation, value], axis=-1)


def _difference(
  a: Float[np.ndarray, "*n h w 3"], b: Float[np.ndarray, "*n h w 3"]
) -> Float[np.ndarray, "*n"]:
  """d of equation (1), for pairs of frames in HSV."""
  apart = np.abs(a - b)
  hue = apart[..., 0]
  apart[..., 0] = np.minimum(hue, 255 - hue)
  return apart.mean(axis=(-3, -2, -1))


def differences(small: Small) -> Float[np.ndarray, "F"]:
  """Returns d_i of equation (1) for every frame; 0 for the first."""
  found = np.zeros(len(small), np.float32)
  for start in range(0, len(small) - 1, _PART):
    part = hsv(small[start : start + _PART + 1])
    found[start + 1 : start + len(part)] = _difference(part[:-1], part[1:])
  return found


def cuts(
  small: Small, rule: SceneRule, d: Float[np.ndarray, "F"] | None = None
) -> list[int]:
  """Returns the frames at which scenes begin by a cut, ascending.

  Args:
    small: The frames.
    rule: Numbers of the rule.
    d: Result of `differences`, if it is there already.
  """
  d = differences(small) if d is None else d
  found = ((i, rule.stays * float(d[i])) for i in _outstanding(d, rule))
  return [i for i, least in found if not _flash(small, i, least)]


def _outstanding(d: Float[np.ndarray, "F"], rule: SceneRule) -> Iterator[int]:
  """Yields the frames of equation (2)."""
  for i in np.flatnonzero(d >= rule.least).tolist():
    around = d[max(1, i - rule.window) : i + rule.window + 1]
    near = d[max(1, i - 2) : i + 3]
    if d[i] >= rule.ratio * np.median(around) and d[i] == near.max():
      yield i


def _flash(small: Small, i: int, least: float) -> bool:
  """Whether frames before and after i differ by less, farther apart than neighbours."""
  last = len(small) - 1
  pairs = [(i - 1, min(i - 1 + k, last)) for k in _LATER]
  pairs += [(max(i - k, 0), i) for k in _LATER]
  for a, b in pairs:
    both = hsv(small[[a, b]])
    if _difference(both[:1], both[1:])[0] < least:
      return True
  return False


def dissolved(small: Small, rule: SceneRule) -> Bool[np.ndarray, "F"]:
  """Says for every frame whether it lies within a window of equation (4).

  A longer window is asked only where no shorter one says so, for it reaches farther
  into the scenes on both sides.
  """
  found = np.zeros(len(small), bool)
  small = small[:, ::2, ::2]  # Every fourth pixel says as much.
  steps = np.array([0, *map(_apart, small[1:], small[:-1])], np.float32)
  for length in rule.lengths:
    centers = np.arange(length // 2, len(small) - length // 2)
    for start in (centers[~found[centers]] - length // 2).tolist():
      first, middle, last = (small[start + k] for k in (0, length // 2, length))
      apart = _apart(first, last)
      if apart < rule.least or steps[start + 1 : start + length + 1].max() > apart / 2:
        continue
      if _is_blend(first, middle, last, rule.blend * apart):
        found[start + 1 : start + length] = True
  return found


def _apart(one: Image, other: Image) -> float:
  """Returns the mean absolute difference of two frames."""
  return float(np.abs(one.astype(np.int16) - other).mean())


def _is_blend(first: Image, middle: Image, last: Image, most: float) -> bool:
  """Whether a frame is the mean of two others, or made of parts of both."""
  first, middle, last = (each.astype(np.int16) for each in (first, middle, last))
  if np.abs(2 * middle - first - last).mean() / 2 <= most:
    return True
  missing = np.abs(middle - np.stack([first, last])).sum(-1, dtype=np.int16)  # 2 h w
  later = (missing[1] < missing[0]).mean()
  nearest = missing.min(0).mean() / first.shape[-1]
  return bool(nearest <= most / 2 and 0.25 <= later <= 0.75)


def transitions(
  small: Small,
  mean: Float[np.ndarray, "F"],
  deviation: Float[np.ndarray, "F"],
  rule: SceneRule,
) -> Bool[np.ndarray, "F"]:
  """Says for every frame whether it belongs to a dissolve or a fade, to their ends.

  Args:
    small: The frames.
    mean: Mean luma of each, and
    deviation: its deviation, by `light`.
    rule: Numbers of the rule.
  """
  dark = black(mean, deviation, rule)
  found = dissolved(small, rule) | dark
  edges = np.flatnonzero(np.diff(found, prepend=False, append=False)).tolist()
  count = len(small)
  for start, stop in zip(edges[::2], edges[1::2], strict=True):
    last = _blend_end(small, mean, dark, start, stop)
    # The same, seen backwards in time.
    turned = small[::-1], mean[::-1], dark[::-1]
    first = count - _blend_end(*turned, count - stop, count - start)
    found[first:last] = True
  return found


def _blend_end(
  small: Small,
  mean: Float[np.ndarray, "F"],
  dark: Bool[np.ndarray, "F"],
  start: int,
  stop: int,
) -> int:
  """Returns the frame after a transition that is found from `start` to before `stop`.

  Args:
    small: The frames.
    mean: Mean luma of each.
    dark: Whether it is black.
    start: The first frame that was found.
    stop: The frame after the last one that was found.
  """
  last, third = len(small) - 1, max(-(-(stop - start) // 3), 4)
  if dark[stop - 1]:
    rises = mean[stop : stop + 3] - mean[stop - 1]
    if not len(rises) or rises[0] > rises.max() / 2:
      return stop  # It is there at once.
    line = _blend(small, stop - 1, min(stop + _RISE, last), stop - 1, stop + 3)
    most, hidden = stop + _RISE, stop
  else:
    darkest = start + int(mean[start:stop].argmin())
    fades = mean[darkest] < min(mean[max(start - 1, 0)], mean[min(stop, last)]) / 2
    middle = darkest if fades else (start + stop) // 2
    beyond = min(stop - 1 + third, last)
    line = _blend(small, middle, beyond, max(stop - third, middle), stop)
    # Motion in the scene beyond may hide the blend; then there is a little more.
    most, hidden = stop + third, stop + third * 3 // 4
  end = hidden if line is None or line > most else np.ceil(line) + 1
  return int(np.clip(end, stop, last + 1))


def _blend(
  small: Small, origin: int, beyond: int, start: int, stop: int
) -> float | None:
  """Returns where the line through p(t) of equation (5) is 1; None if it falls.

  Args:
    small: The frames.
    origin: Frame m.
    beyond: Frame b.
    start: The first t.
    stop: After the last t.
  """
  times = np.arange(start, min(stop, len(small)))
  if len(times) < 3:
    return None
  way = small[beyond] - small[origin].astype(np.float32)
  shares = ((small[times] - small[origin].astype(np.float32)) * way).mean((1, 2, 3))
  slope, offset = np.polyfit(times, shares / max((way * way).mean(), 1e-6), 1)
  return (1 - offset) / slope if slope > 0 else None


def luma(rgb: UInt8[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
  """Returns the luma of RGB on a scale of 0 to 255, by the weights of BT.601."""
  return rgb.astype(np.float32) @ _LUMA


def light(small: Small) -> tuple[Float[np.ndarray, "F"], Float[np.ndarray, "F"]]:
  """Returns the mean of each frame's luma and its deviation."""
  mean, deviation = np.zeros((2, len(small)), np.float32)
  for start in range(0, len(small), _PART):
    part = slice(start, start + _PART)
    y = luma(small[part])
    mean[part], deviation[part] = y.mean((1, 2)), y.std((1, 2))
  return mean, deviation


def black(
  mean: Float[np.ndarray, "F"], deviation: Float[np.ndarray, "F"], rule: SceneRule
) -> Bool[np.ndarray, "F"]:
  """Says for every frame whether it is black, by its `light`."""
  return (mean <= rule.dark) & (deviation <= rule.flat)


def flashes(
  mean: Float[np.ndarray, "F"], seconds: Float[np.ndarray, "F"], rule: SceneRule = RULE
) -> Float[np.ndarray, "F"]:
  """Returns for every frame the number of flashes in the second around it.

  Args:
    mean: Mean luma of each frame.
    seconds: When each is shown, ascending.
    rule: Numbers of the rule.
  """
  if not len(seconds):
    return np.zeros(0)
  turned = seconds[_swings(mean, rule.flash)]
  # At the ends, the second nearest to the frame.
  middle = np.clip(seconds, seconds[0] + 0.5, max(seconds[-1] - 0.5, seconds[0] + 0.5))
  until, since = (np.searchsorted(turned, middle + side) for side in (0.5, -0.5))
  return (until - since) / 2


def _swings(mean: Float[np.ndarray, "F"], least: float) -> list[int]:
  """Returns the frames at which the light has risen or fallen by enough, each once."""
  found, way = [], 0
  low = high = mean[0] if len(mean) else 0.0
  for k, value in enumerate(mean.tolist()):
    low, high = min(low, value), max(high, value)
    if way <= 0 and value - low >= least:
      way, high = 1, value
      found.append(k)
    elif way >= 0 and high - value >= least:
      way, low = -1, value
      found.append(k)
  return found


def scenes(
  small: Small, seconds: Float[np.ndarray, "F"], rule: SceneRule = RULE
) -> list[Scene]:
  """Returns the scenes of a span in order; what lies between them is transition.

  Args:
    small: The frames.
    seconds: When each is shown, ascending.
    rule: Numbers of the rule.
  """
  mean, deviation = light(small)
  strobes = flashes(mean, seconds, rule) > rule.strobe
  starts = {0, *(cut for cut in cuts(small, rule) if not strobes[cut])}
  out = transitions(small, mean, deviation, rule) & ~strobes
  found: list[Scene] = []
  for i in range(len(small)):
    if out[i]:
      continue
    if i not in starts and i and not out[i - 1]:
      found[-1] = found[-1]._replace(stop=i + 1)
      continue
    begins = "transition" if i and out[i - 1] else "cut" if i else "span"
    found.append(Scene(i, i + 1, begins))
  return found
