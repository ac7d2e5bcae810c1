"""The best linear code: a baseline that a VAE of the same size must beat.

A causal Video-VAE turns every block of t x s x s pixels into c numbers, and every block
of 1 x s x s pixels in the first frame as well. Among linear maps from a block to c
numbers and back, the projection on the first c principal components of the blocks has
the least squared error. Blocks of the first frame have a basis of their own.

A block has 3 t s^2 = 24,576 numbers in the releases' sizes, too many for a covariance
matrix. The components come from subspace iteration, Q <- orth(X^T (X Q)), over the
blocks X minus their mean. Blocks of a single colour, which fill most of a clip, are
counted instead of repeated.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Float64, UInt8

_SPARE = 16  # Extra directions, which make the last component more accurate.
_ITERATIONS = 5
_ROWS = 512  # Number of blocks in floating point at the same time.


@dataclasses.dataclass(frozen=True)
class Basis:
  """Principal components of one kind of blocks.

  Attributes:
    mean: [d], mean of the blocks.
    components: [d k], orthonormal columns.
  """

  mean: Float32[np.ndarray, "d"]
  components: Float32[np.ndarray, "d k"]


@dataclasses.dataclass(frozen=True)
class LinearCode:
  """A code of clips.

  Attributes:
    first: Basis of the first frame's blocks.
    rest: Basis of the other blocks.
    frames: t, frames of a block after the first frame.
    side: s, side of a block in pixels.
  """

  first: Basis
  rest: Basis
  frames: int
  side: int

  def reconstruct(
    self, video: UInt8[np.ndarray, "F H W 3"]
  ) -> Float32[np.ndarray, "F H W 3"]:
    """Encodes and decodes a clip of 1 + k t frames; values are clipped to [0, 255].

    Raises:
      ValueError: If the clip cannot be cut into blocks.
    """
    parts = [
      _project(basis, part, frames, self.side)
      for basis, part, frames in (
        (self.first, video[:1], 1),
        (self.rest, video[1:], self.frames),
      )
      if len(part)
    ]
    return np.clip(np.concatenate(parts), 0, 255)


def to_blocks(
  video: UInt8[np.ndarray, "F H W 3"], frames: int, side: int
) -> UInt8[np.ndarray, "n d"]:
  """Cuts a clip into blocks of `frames` x `side` x `side`, each flattened.

  Raises:
    ValueError: If the clip is not a whole number of blocks.
  """
  f, h, w = video.shape[0] // frames, video.shape[1] // side, video.shape[2] // side
  if (f * frames, h * side, w * side) != video.shape[:3]:
    raise ValueError(
      f"A clip of shape {video.shape} cannot be cut into blocks of {frames} frames, "
      f"{side} x {side} pixels; give multiples of these, after a first frame."
    )
  blocks = video.reshape(f, frames, h, side, w, side, 3)
  return blocks.transpose(0, 2, 4, 1, 3, 5, 6).reshape(f * h * w, 3 * frames * side**2)


def _project(
  basis: Basis, video: np.ndarray, frames: int, side: int
) -> Float32[np.ndarray, "F H W 3"]:
  blocks = to_blocks(video, frames, side) - basis.mean
  blocks = blocks @ basis.components @ basis.components.T + basis.mean
  f, h, w = video.shape[0] // frames, video.shape[1] // side, video.shape[2] // side
  blocks = blocks.reshape(f, h, w, frames, side, side, 3)
  return blocks.transpose(0, 3, 1, 4, 2, 5, 6).reshape(video.shape)


class _Counted:
  """Blocks; those of a single colour are one row each, with their number as weight."""

  def __init__(self) -> None:
    self._several: list[np.ndarray] = []
    self._single: collections.Counter[tuple[int, ...]] = collections.Counter()

  def add(self, blocks: UInt8[np.ndarray, "n d"]) -> None:
    pixels = blocks.reshape(len(blocks), blocks.shape[1] // 3, 3)
    plain = (pixels == pixels[:, :1]).all((1, 2))
    self._several.append(blocks[~plain])
    self._single.update(map(tuple, pixels[plain, 0].tolist()))

  def rows(self) -> tuple[UInt8[np.ndarray, "n d"], Float64[np.ndarray, "n"]]:
    several = np.concatenate(self._several)
    colors = np.array([*self._single], np.uint8).reshape(-1, 3)
    plain = np.tile(colors, (1, several.shape[1] // 3))
    weights = [np.ones(len(several)), np.array([*self._single.values()], np.float64)]
    return np.concatenate([several, plain]), np.concatenate(weights)


def fit_basis(
  blocks: UInt8[np.ndarray, "n d"],
  weights: Float64[np.ndarray, "n"],
  components: int,
  seed: int = 0,
) -> Basis:
  """Finds the principal components of weighted blocks.

  Args:
    blocks: Blocks, one per row.
    weights: Number of times that each block counts.
    components: Largest number of components to return; there are never more than rows.
    seed: Seed of the initial subspace of the iteration.
  """
  chunks = [slice(i, i + _ROWS) for i in range(0, len(blocks), _ROWS)]
  sums = sum(
    weights[c].astype(np.float32) @ blocks[c].astype(np.float32) for c in chunks
  )
  mean = (sums / weights.sum()).astype(np.float32)
  scale = np.sqrt(weights).astype(np.float32)[:, None]

  def times_covariance(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns X^T X Q and Q^T X^T X Q."""
    out, small = np.zeros_like(q), np.zeros((q.shape[1],) * 2, np.float32)
    for chunk in chunks:
      rows = scale[chunk] * (blocks[chunk] - mean)
      coordinates = rows @ q
      out += rows.T @ coordinates
      small += coordinates.T @ coordinates
    return out, small

  width = min(components + _SPARE, *blocks.shape)
  start = np.random.default_rng(seed).standard_normal((blocks.shape[1], width))
  q = np.linalg.qr(start.astype(np.float32))[0]
  for _ in range(_ITERATIONS):
    q = np.linalg.qr(times_covariance(q)[0])[0]
  turn = np.linalg.eigh(times_covariance(q)[1])[1][:, ::-1]
  return Basis(mean, (q @ turn)[:, : min(components, width)])


def fit_linear_code(
  clips: Iterable[UInt8[np.ndarray, "_ _ _ 3"]],
  components: int = 128,
  frames: int = 8,
  side: int = 32,
) -> LinearCode:
  """Fits the code to clips, whose blocks must fit into memory as bytes.

  Args:
    clips: Clips of 1 + k t frames; sizes may differ.
    components: c, numbers per block.
    frames: t, frames of a block after the first frame.
    side: s, side of a block in pixels.

  Raises:
    ValueError: If a clip cannot be cut into blocks.
  """
  first, rest = _Counted(), _Counted()
  for clip in clips:
    first.add(to_blocks(clip[:1], 1, side))
    rest.add(to_blocks(clip[1:], frames, side))
  return LinearCode(
    fit_basis(*first.rows(), components),
    fit_basis(*rest.rows(), components),
    frames,
    side,
  )
