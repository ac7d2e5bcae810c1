"""Moving shapes with fine texture: the captions of `world`, and detail to be kept.

    ground = background (1 + 0.6 p(position))
    pixel  = ground + cover (color (1 + 0.35 q(position - centre)) - ground)

p and q are patterns in [-1, 1] of mean 0: stripes, grain, or rows of small letters. The
seed decides their kinds and everything about them. q moves with the shape, in parts of
a pixel, and p stands still. A pattern's cell, the width of a letter's stroke, is S / 48
for the frame's shorter side S, at least 1.25 pixels. At any size of 60
pixels or more, the same seed shows the same patterns.

The seed also decides the speed: over as many frames, one clip in two travels a quarter
of the way of `world`, about the same centre. The words of the caption hold for all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax.moving_shapes import world

SPEEDS = (0.25, 1.0)
"""Speeds that clips have, in units of those of `world.clip`."""

CELL, LEAST_CELL = 1 / 48, 1.25
"""Side of a cell in units of the frame's shorter side; the least in pixels."""

_DRAWS = 7364  # Makes the draws independent of the one for the offset.
_SIDE = 120  # Cells after which grain and letters repeat: whole letters in both axes.
_LETTER = (5, 3)  # Cells of a letter; one more is left free after it.
_INK, _SHADE = 0.35, 0.6  # Contrast of the shape's pattern and of the background's.

Pattern = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, "..."]]
"""(y, x) in cells -> values in [-1, 1]."""


def _generator(seed: int) -> np.random.Generator:
  return np.random.default_rng((_DRAWS, seed))


def speed(seed: int) -> float:
  """Returns one of `SPEEDS`: how fast the clip of a seed is."""
  return SPEEDS[_generator(seed).integers(len(SPEEDS))]


def _stripes(rng: np.random.Generator) -> Pattern:
  angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
  turn = 2 * np.pi / rng.uniform(2.5, 5.0)
  dy, dx = turn * np.sin(angle), turn * np.cos(angle)
  return lambda y, x: np.clip(1.5 * np.cos(dy * y + dx * x + phase), -1, 1)


def _grain(rng: np.random.Generator) -> Pattern:
  return _sampled(rng.uniform(-1, 1, (_SIDE, _SIDE)))


def _letters(rng: np.random.Generator) -> Pattern:
  rows, columns = (_SIDE // (n + 1) for n in _LETTER)
  ink = np.pad(
    rng.integers(0, 2, (rows, columns, *_LETTER)), [(0, 0)] * 2 + [(0, 1)] * 2
  )
  cells = ink.swapaxes(1, 2).reshape(_SIDE, _SIDE).astype(float)
  return _sampled((cells - cells.mean()) / max(cells.mean(), 1 - cells.mean()))


PATTERNS = {"stripes": _stripes, "grain": _grain, "letters": _letters}
"""What draws a pattern of each kind."""

KINDS = tuple(PATTERNS)


def _sampled(cells: Float[np.ndarray, "_ _"]) -> Pattern:
  """Returns the pattern that lies linearly between cells, which repeat."""

  def pattern(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    (top, down), (left, right) = (_between(z) for z in (y, x))
    below, beside = (top + 1) % _SIDE, (left + 1) % _SIDE
    upper = (1 - right) * cells[top, left] + right * cells[top, beside]
    lower = (1 - right) * cells[below, left] + right * cells[below, beside]
    return (1 - down) * upper + down * lower

  return pattern


def _between(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  whole = np.floor(z)
  return whole.astype(int) % _SIDE, z - whole


def patterns(seed: int) -> tuple[Pattern, Pattern]:
  """Returns the patterns of a seed: the background's and the shape's."""
  rng = _generator(seed)
  rng.integers(len(SPEEDS))
  first, second = (PATTERNS[KINDS[i]] for i in rng.integers(len(KINDS), size=2))
  return first(rng), second(rng)


def centers(
  caption: str, seed: int, frames: int, height: int, width: int
) -> Float[np.ndarray, "F 2"]:
  """Returns the shape's centre in every frame: (y, x) in pixels."""
  yx = world.centers(world.parse(caption), seed, frames, height, width)
  middle = (yx[:1] + yx[-1:]) / 2
  return middle + speed(seed) * (yx - middle)


def clip(
  caption: str, seed: int, frames: int, height: int, width: int
) -> UInt8[np.ndarray, "F H W 3"]:
  """Renders a caption with texture.

  Args:
    caption: One of `world.captions()` or `world.later_captions()`.
    seed: Non-negative integer that decides offset, speed and patterns.
    frames: Number of frames, at least 1.
    height: Height in pixels.
    width: Width in pixels.

  Returns:
    RGB frames.

  Raises:
    ValueError: If the caption does not follow the grammar.
  """
  words = world.parse(caption)
  r = world.radius(words.size, height, width)
  cell = max(CELL * min(height, width), LEAST_CELL)
  behind, inside = patterns(seed)
  y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
  shade = 1 + _SHADE * behind(y / cell, x / cell)[..., None]
  background = np.asarray(world.BACKGROUNDS[words.background]) * shade

  yx = centers(caption, seed, frames, height, width)
  boxes = world.around(world.extents(words.shape, r), yx, height, width)
  covered = world.coverage(words.shape, boxes.y, boxes.x, r)[..., None]
  ink = 1 + _INK * inside(boxes.y / cell, boxes.x / cell)[..., None]
  color = np.asarray(world.PALETTE[words.color]) * ink
  below = np.stack([background[place] for place in boxes.places])
  drawn = below + covered * (color - below)

  video = np.tile(_bytes(background), (frames, 1, 1, 1))
  for frame, box, place in zip(video, _bytes(drawn), boxes.places, strict=True):
    frame[place] = box
  return video


def _bytes(pixels: Float[np.ndarray, "*_"]) -> UInt8[np.ndarray, "*_"]:
  return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
