"""Plans for decoding in tiles: where tiles lie, and which part of each is kept.

    exact     the stages before some up-sampling run whole, the rest in tiles
    blended   everything runs in tiles, which are blended into one another

A tile is a window of the frame. The network pads a tile at its own borders, as it pads
frames. At a border of the frame that is correct. At a border inside the frame it is an
error, which every layer spreads further: by one position per convolution (two frames
from the start of causal time), and twice as far after an up-sampling. Exact tiles
discard everything that the error reaches, so they keep only pixels of the whole decode.
Blended tiles discard the outer quarter of each overlap and blend linearly over the half
between, because most of the error is near the border.

All tiles have the same shape: the last one along a side starts early enough to end with
the frame. At every position, the weights of the tiles add up to 1.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from ltx_jax.config.vae import VAEConfig

Size = tuple[int, int, int]

BLENDED_OVERLAP = 3
"""Latent positions that two blended tiles share."""


class Side(NamedTuple):
  """How a part of the decoder maps n positions along time or space to its result.

  Attributes:
    ratio: n positions become ratio * n - lost.
    lost: Number of frames that are dropped: ratio - 1 in time, 0 in space.
    low: Number of result positions that a false border at the start spoils.
    high: Number of result positions that a false border at the end spoils.
  """

  ratio: int
  lost: int
  low: int
  high: int

  def made(self, n: int) -> int:
    """Returns the number of result positions for n positions."""
    return self.ratio * n - self.lost

  @property
  def overlap(self) -> int:
    """Number of positions that two exact tiles must share: their halo."""
    return -(-(self.low + self.high + self.lost) // self.ratio)


class Axis(NamedTuple):
  """The tiles along one side of a frame.

  Attributes:
    size: Positions of a tile where the decode is cut.
    ratio: Pixels (or frames) per position.
    starts: First position of each tile.
    weights: [tiles, pixels of a tile]; they add up to 1 wherever tiles meet.
  """

  size: int
  ratio: int
  starts: np.ndarray
  weights: np.ndarray

  @property
  def pixels(self) -> int:
    """Pixels (or frames) of the whole frame along this side."""
    return self.ratio * int(self.starts[-1]) + self.weights.shape[1]


def sides(config: VAEConfig, begin: int | None) -> tuple[Side, Side]:
  """Returns (time, space) of the decoder from block `begin` on, as `Decoder` counts."""
  early, late = (2, 0) if config.causal_decoder else (1, 1)
  low = high = reach = 0
  time = space = 1

  def convolve(times: int) -> None:
    nonlocal low, high, reach
    low, high, reach = low + times * early, high + times * late, reach + times

  convolve(1 if begin is None else 0)
  for block in config.decoder_blocks[::-1][begin:]:
    convolve(1 if block.resizes else 2 * block.resnets)
    if block.strides[0] == 2:  # n frames become 2n - 1: the first makes one.
      time, low, high = 2 * time, 2 * low - 1, 2 * high
    if block.strides[1] == 2:
      space, reach = 2 * space, 2 * reach
  convolve(1)
  space, reach = config.patch_size * space, config.patch_size * reach
  return Side(time, time - 1, low, high), Side(space, 0, reach, reach)


def cuts(config: VAEConfig) -> list[int]:
  """Returns the blocks that exact tiles may begin with, last one first.

  These are the last two up-samplings that no attention over the whole frame follows.
  There are none if norms take statistics of the whole frame.
  """
  found = []
  if config.norm_layer == "group_norm":
    return found
  blocks = config.decoder_blocks[::-1]
  for i in range(len(blocks) - 1, -1, -1):
    if blocks[i].attention_head_dim is not None:
      break
    if blocks[i].resizes:
      found.append(i)
  return found[:2]


def why_not(config: VAEConfig) -> str | None:
  """Says why a VAE cannot be decoded in blended tiles, or None if it can."""
  if config.norm_layer == "group_norm":
    what = "group norm takes its statistics"
  elif any(block.attention_head_dim for block in config.decoder_blocks):
    what = "attention looks"
  else:
    return None
  return f"{what} over the whole frame, so this VAE is not decoded in such tiles"


def spread(n: int, most: int, overlap: int) -> tuple[int, np.ndarray]:
  """Returns (size, starts) of the fewest equal tiles of at most `most` positions."""
  if n <= most:
    return n, np.zeros(1, np.int32)
  tiles = -(-(n - overlap) // (most - overlap))
  size = -(-(n + (tiles - 1) * overlap) // tiles)
  starts = np.minimum(np.arange(tiles) * (size - overlap), n - size)
  return size, starts.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class ExactTiles:
  """Tiles whose video equals that of the whole decode.

  Attributes:
    begin: First block that runs in tiles, one of `cuts`.
    window: Largest number of frames, rows and columns of a tile, overlap included, in
      positions before that block. Each exceeds `Side.overlap`, or covers the frame.
  """

  begin: int
  window: Size

  def axes(self, config: VAEConfig, size: Size) -> tuple[Axis, Axis, Axis]:
    """Plans the tiles of a frame whose size is in positions before block `begin`."""
    time, space = sides(config, self.begin)
    places = zip((time, space, space), size, self.window, strict=True)
    return tuple(_exact(*place) for place in places)


def _exact(side: Side, n: int, most: int) -> Axis:
  size, starts = spread(n, most, side.overlap)
  made = side.made(size)
  weights = np.zeros((len(starts), made), np.float32)
  done = 0  # Pixels of the frame that earlier tiles cover.
  for row, start in zip(weights, starts, strict=True):
    last = start + size == n
    row[done - side.ratio * start : made if last else made - side.high] = 1
    done = side.ratio * start + made - side.high
  return Axis(size, side.ratio, starts, weights)


@dataclasses.dataclass(frozen=True)
class BlendedTiles:
  """Tiles of the whole decoder, whose video is close to that of the whole decode.

  Attributes:
    window: Largest number of frames, rows and columns of a tile, in latent positions;
      each exceeds the overlap of tiles, or covers the frame.
  """

  window: Size

  begin = None

  def axes(self, config: VAEConfig, size: Size) -> tuple[Axis, Axis, Axis]:
    """Plans the tiles of latents of a size."""
    time, space = sides(config, None)
    places = zip((time, space, space), size, self.window, strict=True)
    return tuple(_blended(*place) for place in places)


def _blended(side: Side, n: int, most: int) -> Axis:
  size, starts = spread(n, most, BLENDED_OVERLAP)
  made = side.made(size)
  shared = side.ratio * BLENDED_OVERLAP - side.lost
  # From one end: weight 0 for a quarter of the overlap, 1 after three quarters.
  up = np.clip((np.arange(made) + 0.5 - shared / 4) / (shared / 2), 0, 1)
  weights = np.ones((len(starts), made), np.float32)
  weights[1:] *= up
  weights[:-1] *= up[::-1]
  total = np.zeros(side.made(n), np.float32)
  places = [slice(side.ratio * start, side.ratio * start + made) for start in starts]
  for row, place in zip(weights, places, strict=True):
    total[place] += row
  for row, place in zip(weights, places, strict=True):
    row /= total[place]
  return Axis(size, side.ratio, starts, weights)


Tiles = ExactTiles | BlendedTiles


def count(axes: tuple[Axis, Axis, Axis]) -> int:
  """Returns the number of tiles."""
  return math.prod(len(axis.starts) for axis in axes)
