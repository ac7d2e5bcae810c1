"""Moving shapes: captioned clips of any size and length, rendered on demand.

A caption names a size, a colour, a shape, a direction and a background, 768 in all:

    a {size} {color} {shape} moving {direction} on a {background} background

S is the frame's shorter side; r = 0.13 S for a small shape and r = 0.22 S for a large
one. L is the frame's side in the direction of motion. The centre moves from -0.225 L to
+0.225 L about the frame's middle, from the first frame to the last, whatever their
number. The seed decides only a constant offset across the motion, U(-0.12, 0.12) of the
other side. A pixel whose centre is a signed distance of s pixels inside the shape is
covered to clip(s + 0.5, 0, 1).

One caption in ten (a checksum decides which) is held out, to measure how a model
combines words that it has seen only in other combinations. A ninth colour is in none of
the 768: its clips measure what a trained model learns later.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

SIZES = {"small": 0.13, "large": 0.22}  # r in units of the frame's shorter side
COLORS = {
  "red": (220, 40, 40),
  "green": (40, 190, 60),
  "blue": (50, 80, 230),
  "yellow": (235, 220, 50),
  "white": (240, 240, 240),
  "purple": (160, 50, 200),
  "orange": (240, 140, 30),
  "cyan": (40, 210, 220),
}
LATER_COLORS = {"magenta": (245, 90, 180)}
"""Colours that can be drawn and judged, but that no caption of `captions` has."""
PALETTE = COLORS | LATER_COLORS
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # y, x
BACKGROUNDS = {
  "black": (10, 10, 10),
  "gray": (90, 90, 90),
  "navy": (15, 20, 70),
  "brown": (80, 50, 25),
}
TRAVEL = 0.225  # The motion goes from -TRAVEL to +TRAVEL of the frame's side along it.
OFFSET = 0.12  # The offset across the motion lies within +-OFFSET of the other side.

SQUARE_SIDE = 0.9  # Half of it, in units of r, like the three below.
TRIANGLE_APEX, TRIANGLE_BASE, TRIANGLE_HALF_BASE = 1.1, 0.75, 1.03

_PLACES = {
  "size": (1, SIZES),
  "colour": (2, COLORS),
  "shape": (3, SHAPES),
  "direction": (5, DIRECTIONS),
  "background": (8, BACKGROUNDS),
}
"""Number of the word in a caption that varies, and its values."""

GRAMMAR = (
  f"a {{{'|'.join(SIZES)}}} {{{'|'.join(COLORS)}}} {{{'|'.join(SHAPES)}}} moving "
  f"{{{'|'.join(DIRECTIONS)}}} on a {{{'|'.join(BACKGROUNDS)}}} background"
)
EXAMPLES = (
  "a large red circle moving right on a navy background",
  "a small cyan triangle moving up on a brown background",
)


@dataclasses.dataclass(frozen=True)
class Caption:
  """The five words of a caption that vary."""

  size: str
  color: str
  shape: str
  direction: str
  background: str

  def __str__(self) -> str:
    return (
      f"a {self.size} {self.color} {self.shape} moving {self.direction} on a "
      f"{self.background} background"
    )


def _captions(colors: Iterable[str]) -> tuple[str, ...]:
  words = itertools.product(SIZES, colors, SHAPES, DIRECTIONS, BACKGROUNDS)
  return tuple(str(Caption(*each)) for each in words)


_CAPTIONS, _LATER_CAPTIONS = _captions(COLORS), _captions(LATER_COLORS)
_CAPTION_SET = frozenset((*_CAPTIONS, *_LATER_CAPTIONS))
_VOCABULARY = frozenset(word for caption in _CAPTIONS for word in caption.split())


def captions() -> list[str]:
  """Returns all 768 captions, always in the same order."""
  return list(_CAPTIONS)


def later_captions() -> list[str]:
  """Returns the 96 captions of colours that no other caption has."""
  return list(_LATER_CAPTIONS)


def is_held_out(caption: str) -> bool:
  """Whether a caption is kept from every training run."""
  return zlib.crc32(caption.encode()) % 10 == 0


def train_captions() -> list[str]:
  """Returns the captions to train on, in the order of `captions`."""
  return [caption for caption in _CAPTIONS if not is_held_out(caption)]


def held_out_captions() -> list[str]:
  """Returns the captions never trained on, in the order of `captions`."""
  return [caption for caption in _CAPTIONS if is_held_out(caption)]


def unknown_words(prompt: str) -> list[str]:
  """Returns the words of a prompt that no caption has, in order, each once."""
  words = re.findall(r"\w+", prompt.lower())
  return list(dict.fromkeys(word for word in words if word not in _VOCABULARY))


def misplaced_words(prompts: Iterable[str]) -> list[tuple[str, str]]:
  """Returns (word, what it is used as) of known words in a place of other ones.

  Only prompts of as many words as a caption have such places.
  """
  found = {}
  for words in (re.findall(r"\w+", prompt.lower()) for prompt in prompts):
    for slot, (place, allowed) in _PLACES.items():
      if len(words) == 10 and words[place] in _VOCABULARY - set(allowed):
        found[words[place], slot] = None
  return list(found)


def grammar_help() -> str:
  """Returns the sentence that shows how captions are made, with two examples."""
  first, second = EXAMPLES
  return f'Captions read "{GRAMMAR}", for example "{first}" or "{second}".'


def parse(caption: str) -> Caption:
  """Reads a caption; letter case, spacing and a final full stop do not matter.

  Raises:
    ValueError: If it is not a caption; the message has the unknown words, the grammar
      and two examples.
  """
  words = caption.lower().strip().removesuffix(".").split()
  if len(words) == 10:
    parsed = Caption(*(words[place] for place, _ in _PLACES.values()))
    if str(parsed) == " ".join(words) and str(parsed) in _CAPTION_SET:
      return parsed
  unknown = unknown_words(caption)
  why = f"no caption has the words {', '.join(unknown)}"
  if not unknown:
    why = "its words do not stand as in a caption"
  raise ValueError(f"{caption!r} cannot be drawn: {why}. {grammar_help()}")


def radius(size: str, height: int, width: int) -> float:
  """Returns r in pixels for a size's word."""
  return SIZES[size] * min(height, width)


def extents(shape: str, r: float) -> tuple[float, float, float]:
  """Returns how far a shape reaches from its centre: up, down, and to either side."""
  if shape == "circle":
    return r, r, r
  if shape == "square":
    return SQUARE_SIDE * r, SQUARE_SIDE * r, SQUARE_SIDE * r
  return TRIANGLE_APEX * r, TRIANGLE_BASE * r, TRIANGLE_HALF_BASE * r


def inscribed(shape: str) -> tuple[float, float]:
  """Returns the inscribed circle's radius and how far below the centre it is; r = 1."""
  if shape == "circle":
    return 1.0, 0.0
  if shape == "square":
    return SQUARE_SIDE, 0.0
  height = TRIANGLE_APEX + TRIANGLE_BASE
  flank = math.hypot(height, TRIANGLE_HALF_BASE)
  radius = height * TRIANGLE_HALF_BASE / (TRIANGLE_HALF_BASE + flank)
  return radius, TRIANGLE_BASE - radius


def centers(
  caption: Caption, seed: int, frames: int, height: int, width: int
) -> Float[np.ndarray, "F 2"]:
  """Returns the shape's centre in every frame: (y, x) in pixels."""
  direction = np.asarray(DIRECTIONS[caption.direction])
  side = np.asarray((height, width), float)
  along = np.linspace(-TRAVEL, TRAVEL, frames)[:, None] * direction
  across = np.random.default_rng(seed).uniform(-OFFSET, OFFSET) * (1 - abs(direction))
  return side * (0.5 + along + across)


def bounding_boxes(
  caption: str, seed: int, frames: int, height: int, width: int
) -> list[tuple[slice, slice]]:
  """Returns, for every frame of `clip`, the rows and columns that the shape touches."""
  words = parse(caption)
  up, down, side = extents(words.shape, radius(words.size, height, width))
  boxes = []
  for y, x in centers(words, seed, frames, height, width):
    top, left = (max(0, math.floor(edge - 1)) for edge in (y - up, x - side))
    rows = slice(top, min(height, math.ceil(y + down + 1)))
    boxes.append((rows, slice(left, min(width, math.ceil(x + side + 1)))))
  return boxes


def _circle(y: np.ndarray, x: np.ndarray, r: np.float32) -> np.ndarray:
  return r - np.sqrt(y * y + x * x)


def _square(y: np.ndarray, x: np.ndarray, r: np.float32) -> np.ndarray:
  half = np.float32(SQUARE_SIDE) * r
  y, x = abs(y) - half, abs(x) - half
  outside = np.sqrt(np.maximum(y, 0) ** 2 + np.maximum(x, 0) ** 2)
  return -np.minimum(np.maximum(y, x), 0) - outside


def _triangle(y: np.ndarray, x: np.ndarray, r: np.float32) -> np.ndarray:
  """Returns the distance to the base or a flank, the nearer; symmetric in x."""
  y, x = y + np.float32(TRIANGLE_APEX) * r, abs(x)  # the apex becomes the origin
  base = np.float32(TRIANGLE_APEX + TRIANGLE_BASE) * r
  half = np.float32(TRIANGLE_HALF_BASE) * r
  nearest = np.clip((y * base + x * half) / (base * base + half * half), 0, 1)
  flank = (y - nearest * base) ** 2 + (x - nearest * half) ** 2
  bottom = (y - base) ** 2 + np.maximum(x - half, 0) ** 2
  inside = (y < base) & (x * base < y * half)
  return np.sqrt(np.minimum(flank, bottom)) * np.where(inside, 1, -1).astype(np.float32)


_SIGNED_DISTANCE = {"circle": _circle, "square": _square, "triangle": _triangle}


def coverage(
  shape: str,
  y: Float[np.ndarray, "*_"],
  x: Float[np.ndarray, "*_"],
  r: float,
  grown: float = 0.0,
) -> Float[np.ndarray, "*_"]:
  """Returns the cover of pixels by a shape, in [0, 1].

  Args:
    shape: One of `SHAPES`.
    y: Pixels below the shape's centre; broadcast against x.
    x: Pixels to the right of the centre.
    r: Radius in pixels.
    grown: Pixels that the outline is moved outwards, which rounds the corners.
  """
  y, x = np.asarray(y, np.float32), np.asarray(x, np.float32)
  distance = _SIGNED_DISTANCE[shape](y, x, np.float32(r))
  return np.clip(distance + np.float32(0.5 + grown), 0, 1)


class Boxes(NamedTuple):
  """The pixels around a shape, a box of one size in every frame.

  Attributes:
    places: Rows and columns of each box.
    y: Pixels below the shape's centre.
    x: Pixels to the right of it.
  """

  places: list[tuple[slice, slice]]
  y: Float[np.ndarray, "F h 1"]
  x: Float[np.ndarray, "F 1 w"]


def around(
  reach: tuple[float, float, float],
  yx: Float[np.ndarray, "F 2"],
  height: int,
  width: int,
) -> Boxes:
  """Returns the boxes outside which a shape covers nothing.

  Args:
    reach: Result of `extents`.
    yx: Result of `centers`.
    height: Height of the frames in pixels.
    width: Width of the frames in pixels.
  """
  up, down, side = reach
  rows, columns = math.ceil(up + down) + 3, math.ceil(2 * side) + 3
  rows, columns = min(rows, height), min(columns, width)
  top = np.floor(yx[:, 0] - up - 1).clip(0, height - rows).astype(int)
  left = np.floor(yx[:, 1] - side - 1).clip(0, width - columns).astype(int)
  y = top[:, None] + np.arange(rows) + 0.5 - yx[:, :1]
  x = left[:, None] + np.arange(columns) + 0.5 - yx[:, 1:]
  places = [
    (slice(i, i + rows), slice(j, j + columns)) for i, j in zip(top, left, strict=True)
  ]
  return Boxes(places, y[:, :, None], x[:, None])


def clip(
  caption: str,
  seed: int,
  frames: int,
  height: int,
  width: int,
  rounded: float = 0.0,
) -> UInt8[np.ndarray, "F H W 3"]:
  """Renders a caption.

  Args:
    caption: One of `captions()` or `later_captions()`.
    seed: Non-negative integer that decides the offset across the motion.
    frames: Number of frames, at least 1; the motion takes all of them.
    height: Height in pixels.
    width: Width in pixels.
    rounded: Radius of the corners, below 1, in units of the inscribed circle's. No
      caption says so; it tests how sharp corners have to be.

  Returns:
    RGB frames.

  Raises:
    ValueError: If the caption does not follow the grammar.
  """
  words = parse(caption)
  r = radius(words.size, height, width)
  yx = centers(words, seed, frames, height, width)
  boxes = around(extents(words.shape, r), yx, height, width)
  inner, below = (rounded * r * each for each in inscribed(words.shape))
  smaller = words.shape, boxes.y - below, boxes.x, r - rounded * r
  covered = coverage(*smaller, grown=inner)[..., None]
  background = np.asarray(BACKGROUNDS[words.background], np.float32)
  color = np.asarray(PALETTE[words.color], np.float32)
  drawn = (background + covered * (color - background) + 0.5).astype(np.uint8)

  video = np.empty((frames, height, width, 3), np.uint8)
  video[:] = background.astype(np.uint8)
  for frame, box, place in zip(video, drawn, boxes.places, strict=True):
    frame[place] = box
  return video
