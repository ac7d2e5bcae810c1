"""Windows that a picture places itself, by which cropped copies are found.

A crop moves and stretches a picture within its frame, so what lies at a fixed part of
the frame is something else. But the strongest spots of a picture, light or dark, stay
where they are in the scene. A square around two of them is the same part of the scene
in every crop that has both:

    spots = largest |G(2) * x - G(3.2) * x|,  G(s) a Gaussian of s pixels
    hash  = which of 5 x 5 cells are brighter than the next ones right, and below

Of the windows of a still, some lie in the crop as well. They have nearly the same 40
bits, and say where the one frame lies in the other; the other 24 bits of a window are
the places of its sides in its frame. A clip is a cropped copy if its whole frame lies
in the other's, by windows of enough stills that agree. The same scene from a camera
that turned is none.

Windows also speak against it: those at the same place of the scene that have other
bits. So pictures with the same outline, such as two sides of a globe, are no copies.

Source: spots are those of D. G. Lowe, "Distinctive Image Features from Scale-Invariant
Keypoints", 2004, at one scale. That two of them need no scale is our own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt64
from PIL import Image

COUNT = 12
"""Largest number of windows of a still."""

_SIDE = 64  # Root of the number of pixels in which spots are looked for.
_NARROW, _BROAD = 2.0, 3.2  # Deviations of the two Gaussians, in those pixels.
_EDGE = 3  # Pixels next to the frame's edge that have no spot.
_SPOTS = 12
_FAINT = 1.0  # Least strength of a spot, of 255.
_LEAST = 0.25  # Least side of a window, as a part of the frame's shorter side.
_CELLS = 5
_PLAIN = 3  # Least number of ones, and of zeros, of the 20 bits of a direction.
_PLACE = 6  # Bits of the place of a side.
_HASH = 64 - 4 * _PLACE
_KEY = 27  # Bits of a hash by which windows are looked up.
_CHUNK = 1 << 9  # Pairs that are compared at one time, within a processor's cache.

Windows = UInt64[np.ndarray, "clips stills windows"]
Window = tuple[float, float, float, float]
Pairs = tuple[np.ndarray, np.ndarray]


class WindowRule(NamedTuple):
  """Numbers of the comparison.

  Attributes:
    bits: Largest number of bits in which hashes of the same window differ.
    likeness: Least sum, over the windows of one still that agree, of how many bits
      fewer differ than would be too many; a window that contradicts takes away as much
      as one gives in which no bit differs.
    smallest: Least side of a crop, as a part of the whole's.
    beyond: How far a crop may seem to reach out of the whole, as a part of its side.
    agree: How far the sides of a crop may lie apart by two windows that agree.
    same: How far the sides of windows lie apart at most at the same place, as a part of
      the whole's.
    crowd: A key that more windows share, as those of a logo, says nothing.
  """

  bits: int = 3
  likeness: int = 8
  smallest: float = 0.6
  beyond: float = 0.06
  agree: float = 0.1
  same: float = 0.02
  crowd: int = 64


RULE = WindowRule()
"""The numbers that were measured."""


def windows(
  stills: UInt8[np.ndarray, "n H W 3"],
) -> UInt64[np.ndarray, "n windows"]:
  """Returns the windows of each still, those of strong spots first; 0 is none."""
  found = np.zeros((len(stills), COUNT), np.uint64)
  for codes, still in zip(found, stills, strict=True):
    told = itertools.islice(_told(_gray(still)), COUNT)
    for number, bits in enumerate(told):
      codes[number] = np.packbits(bits).view(">u8")[0]
  return found


def _told(gray: Float[np.ndarray, "h w"]) -> Iterator[Bool[np.ndarray, "64"]]:
  """Yields the bits of windows that say something."""
  height, width = gray.shape
  sums = np.zeros((height + 1, width + 1))
  sums[1:, 1:] = gray.cumsum(0, dtype=float).cumsum(1)
  steps = (1 << _PLACE) - 1
  for window in _squares(_spots(gray), width, height):
    bits = _hash(sums, window)
    if bits is not None:
      places = np.divide(window, (width, height, width, height))
      codes = np.round(places * steps).astype(np.uint8)[:, None]
      yield np.append(bits, np.unpackbits(codes, axis=1)[:, -_PLACE:].astype(bool))


def _gray(still: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
  """Returns a still in gray, in about the same number of pixels as any other."""
  height, width = still.shape[:2]
  shape = (_SIDE * (width / height) ** 0.5, _SIDE * (height / width) ** 0.5)
  size = [max(round(side), 4 * _EDGE) for side in shape]
  image = Image.fromarray(still).convert("L")
  # Pillow averages over the area where the image shrinks.
  return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


@functools.lru_cache(64)
def _blur(size: int, deviation: float) -> Float[np.ndarray, "n n"]:
  """Returns the matrix of a Gaussian along a line of so many pixels."""
  at = np.arange(size, dtype=np.float32)
  weights = np.exp(-((at[:, None] - at) ** 2) / (2 * deviation**2))
  return weights / weights.sum(1, keepdims=True)


def _spots(gray: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "spots 2"]:
  """Returns x and y of the strongest spots, strongest first."""
  height, width = gray.shape
  narrow, broad = (
    _blur(height, s) @ gray @ _blur(width, s).T for s in (_NARROW, _BROAD)
  )
  strength = np.abs(narrow - broad)
  inner = slice(_EDGE, height - _EDGE), slice(_EDGE, width - _EDGE)
  top = strength[inner] > _FAINT
  for shift in itertools.product((-1, 0, 1), repeat=2):
    top &= strength[inner] >= np.roll(strength, shift, (0, 1))[inner]
  y, x = (places + _EDGE for places in np.nonzero(top))
  first = np.argsort(-strength[y, x], kind="stable")[:_SPOTS]
  y, x = y[first], x[first]
  across = _top(*(strength[y, x + step] for step in (-1, 0, 1)))
  down = _top(*(strength[y + step, x] for step in (-1, 0, 1)))
  return np.stack([x + 0.5 + across, y + 0.5 + down], 1)


def _top(
  before: Float[np.ndarray, "n"],
  here: Float[np.ndarray, "n"],
  after: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
  """Returns where the parabola through three pixels has its top, from the middle."""
  bend = np.maximum(2 * here - before - after, 1e-6)
  return ((after - before) / (2 * bend)).clip(-0.5, 0.5)


def _squares(
  spots: Float[np.ndarray, "n 2"], width: int, height: int
) -> Iterator[Window]:
  """Yields squares around two spots, as wide as these are apart along one axis.

  Args:
    spots: Spots, strongest first.
    width: Width of the frame, out of which no square reaches.
    height: Its height.
  """
  for second, first in ((b, a) for b in range(len(spots)) for a in range(b)):
    side = np.abs(spots[second] - spots[first]).max()
    left, top = (spots[second] + spots[first] - side) / 2
    inside = min(left, top) >= 0 and left + side <= width and top + side <= height
    if inside and side >= _LEAST * min(width, height):
      yield float(left), float(top), float(left + side), float(top + side)


def _hash(
  sums: Float[np.ndarray, "h w"], window: Window
) -> Bool[np.ndarray, "bits"] | None:
  """Returns the bits of a window; None if it is plain.

  Args:
    sums: Sums of all pixels above and left of the corners between pixels.
    window: Its left, top, right and bottom side.
  """
  left, top, right, bottom = window
  down, across = _cells(top, bottom, len(sums)), _cells(left, right, len(sums.T))
  cells = down @ sums @ across.T
  directions = cells[:, :-1] > cells[:, 1:], cells[:-1] > cells[1:]
  if any(not _PLAIN <= bits.sum() <= bits.size - _PLAIN for bits in directions):
    return None
  return np.concatenate([bits.ravel() for bits in directions])


def _cells(start: float, stop: float, count: int) -> Float[np.ndarray, "cells n"]:
  """Returns the matrix that makes sums of cells of sums up to each line."""
  edges = np.linspace(start, stop, _CELLS + 1)
  before = np.minimum(edges.astype(int), count - 2)
  found, each = np.zeros((len(edges), count)), np.arange(len(edges))
  found[each, before] = 1 - (edges - before)
  found[each, before + 1] = edges - before
  return np.diff(found, axis=0)


def to_text(windows: UInt64[np.ndarray, "n windows"]) -> tuple[str, ...]:
  """Returns the windows of each still as a clip stores them."""
  return tuple(still[still > 0].astype("<u8").tobytes().hex() for still in windows)


def from_text(windows: Sequence[str]) -> bytes:
  """Returns the bytes of what `to_text` wrote, those of missing windows are 0.

  Raises:
    ValueError: If a still has too many windows, or what is none.
  """
  found = b""
  for still in windows:
    try:
      codes = bytes.fromhex(still)
    except ValueError:
      codes = b"?"
    if len(codes) % 8 or len(codes) > 8 * COUNT:
      raise ValueError(
        f"windows {still[:40]!r} are not up to {COUNT} numbers of 64 bits in "
        "hexadecimal"
      )
    found += codes.ljust(8 * COUNT, b"\0")
  return found


def cropped(windows: Windows, stills: int, rule: WindowRule = RULE) -> Pairs:
  """Returns all pairs of clips of which one is a cropped copy of the other.

  Args:
    windows: Windows of the stills of each clip.
    stills: Least number of stills that have the same window.
    rule: Numbers of the comparison.
  """
  codes = np.zeros(0, np.int64)
  for still in range(windows.shape[1]):
    found = _candidates(windows[:, still], rule)
    codes = np.unique(np.concatenate([codes, *found]))
  same = [np.zeros((2, 0), np.int64)]
  for start in range(0, len(codes), _CHUNK):
    pairs = np.stack(np.divmod(codes[start : start + _CHUNK], len(windows)))
    pairs = pairs[:, _may(*windows[pairs], stills, rule)]
    one, other = windows[pairs]
    crops = _is_crop(one, other, stills, rule) | _is_crop(other, one, stills, rule)
    same.append(pairs[:, crops])
  one, other = np.concatenate(same, axis=1)
  return one, other


def _candidates(
  windows: UInt64[np.ndarray, "clips windows"], rule: WindowRule
) -> Iterator[Int[np.ndarray, "pairs"]]:
  """Yields pairs of clips that have a window of nearly the same hash, as one number.

  A key is the first bits of a hash, which most windows of a copy share.

  Args:
    windows: Windows of one still of each clip.
    rule: Numbers of the comparison.
  """
  # Key and place in one number: sorting these is much faster than sorting places.
  low = np.uint64(64 - _KEY)
  keys = (windows >> low) << low
  keys |= np.arange(keys.size, dtype=np.uint64).reshape(keys.shape)
  keys = keys[windows > 0]
  keys.sort()
  key = (keys >> low).astype(np.uint32)
  here = np.flatnonzero(key[1:] == key[:-1])
  first = np.flatnonzero(np.diff(here, prepend=-2) != 1)
  more = np.diff(first, append=len(here))  # Windows with the same key after the first.
  last = np.repeat(here[first] + more, more)
  few = np.repeat(more < rule.crowd, more)
  here, last = here[few], last[few]
  mask = (np.uint64(1) << low) - np.uint64(1)
  for apart in range(1, rule.crowd):
    here, last = here[here + apart <= last], last[here + apart <= last]
    if not len(here):
      return
    one, w1 = np.divmod((keys[here] & mask).astype(np.int64), windows.shape[1])
    other, w2 = np.divmod(
      (keys[here + apart] & mask).astype(np.int64), windows.shape[1]
    )
    near = _differ(windows[one, w1], windows[other, w2]) <= rule.bits
    near &= one != other
    yield np.unique(one[near] * len(windows) + other[near])


def _differ(
  one: UInt64[np.ndarray, "..."], other: UInt64[np.ndarray, "..."]
) -> UInt8[np.ndarray, "..."]:
  """Returns in how many bits hashes differ."""
  return np.bitwise_count((one ^ other) >> np.uint64(4 * _PLACE))


def _may(
  one: Windows, other: Windows, stills: int, rule: WindowRule
) -> Bool[np.ndarray, "clips"]:
  """Says which pairs may be crops, wherever their windows lie: most are not."""
  near, differ = _near(one, other, rule)
  found = _enough(_likeness(near, differ, rule), stills, rule)
  turned = (each.swapaxes(-1, -2) for each in (near, differ))
  return found | _enough(_likeness(*turned, rule), stills, rule)


def _near(
  first: Windows, second: Windows, rule: WindowRule
) -> tuple[
  Bool[np.ndarray, "clips stills w1 w2"], UInt8[np.ndarray, "clips stills w1 w2"]
]:
  """Says which windows have nearly the same hash, and returns how many bits differ."""
  one, other = first[..., :, None], second[..., None, :]
  differ = _differ(one, other)
  return (differ <= rule.bits) & (one > 0) & (other > 0), differ


def _enough(
  likeness: Int[np.ndarray, "clips stills"], stills: int, rule: WindowRule
) -> Bool[np.ndarray, "clips"]:
  """Says which clips share enough windows."""
  return ((likeness > 0).sum(1) >= stills) & (likeness.max(1) >= rule.likeness)


def _likeness(
  same: Bool[np.ndarray, "clips stills w1 w2"],
  differ: UInt8[np.ndarray, "clips stills w1 w2"],
  rule: WindowRule,
) -> Int[np.ndarray, "clips stills"]:
  """Sums how near windows are to those that are the same, each of the second once."""
  near = np.where(same, np.uint8(rule.bits + 1) - differ, np.uint8(0))
  return near.max(-2).sum(-1, dtype=np.int64)


def _is_crop(
  whole: Windows, crop: Windows, stills: int, rule: WindowRule
) -> Bool[np.ndarray, "clips"]:
  """Says of which pairs the second clip is a crop of the first one."""
  return _enough(shared(whole, crop, rule), stills, rule)


def shared(
  whole: Windows, crop: Windows, rule: WindowRule = RULE
) -> Int[np.ndarray, "clips stills"]:
  """Returns how sure windows are that the frame of one clip lies in the other's.

  Only those count that agree on where it lies with the ones whose hashes differ least.
  From the first that differ least also follows which windows lie at the same place.

  Args:
    whole: Windows of the clip with the larger frame.
    crop: Windows of the other one.
    rule: Numbers of the comparison.
  """
  near, differ = _near(whole, crop, rule)
  first = [_side(whole[..., :, None], side) for side in range(4)]
  second = [_side(crop[..., None, :], side) for side in range(4)]
  begins, ends = [], []
  for axis in (0, 1):
    length = np.maximum(second[axis + 2] - second[axis], 1e-3)
    size = (first[axis + 2] - first[axis]) / length
    begins.append(first[axis] - size * second[axis])
    ends.append(begins[axis] + size)
    near &= (size >= rule.smallest) & (begins[axis] >= -rule.beyond)
    near &= ends[axis] <= 1 + rule.beyond
  flat = *near.shape[:-2], near.shape[-2] * near.shape[-1]
  best = np.where(near, differ, _HASH).reshape(flat).argmin(-1)[..., None]
  frame = []
  for side in (*begins, *ends):
    frame.append(np.take_along_axis(side.reshape(flat), best, -1)[..., None])
    near &= np.abs(side - frame[-1]) <= rule.agree
  beside = (whole > 0)[..., :, None] & (crop > 0)[..., None, :]
  for side in range(4):
    begin, end = frame[side % 2], frame[side % 2 + 2]
    place = begin + (end - begin) * second[side]
    beside &= np.abs(first[side] - place) <= rule.same
  against = (beside.any(-2) & ~near.any(-2)).sum(-1)
  return np.maximum(_likeness(near, differ, rule) - (rule.bits + 1) * against, 0)


def _side(windows: UInt64[np.ndarray, "..."], side: int) -> Float[np.ndarray, "..."]:
  """Returns the places of left, top, right or bottom sides, as parts of the frame."""
  steps = (1 << _PLACE) - 1
  codes = (windows >> np.uint64(_PLACE * (3 - side))) & np.uint64(steps)
  return codes.astype(np.float32) / np.float32(steps)
