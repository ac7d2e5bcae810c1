"""Winograd's minimal filtering: convolution of size 3 with a sixth of the products.

m neighbouring results of a kernel g of size 3, from m + 2 inputs d, need m + 2
products, where the plain sum needs 3 m:

    y = A^T [(G g) * (B^T d)]                                                    (1)

Inputs, kernel and results are those of polynomials: a row of A^T, G and B^T for each of
m + 1 points p and one at infinity (Cook and Toom),

    A^T g-th power of p,   G  powers of p over prod (p - q),   B^T  prod (x - q)

over the other points q. Along time m is 2, with the points 0, 1 and -1; along height
and width m is 4, with 1/2 and -2 as well. Together that is 144 products for 2 x 4 x 4
results instead of 864. Each is of matrices over channels, for all tiles at once:

    x  [b f+2 h+2 w+2 c] --B^T--> [4 6 6, b f/2 h/4 w/4, c]
    144 products                  [4 6 6, b f/2 h/4 w/4, o]
    y  [b f h w o]       <--A^T--

(1) is linear in d and in g, so the gradient of the kernel is

    dg = G^T [sum over tiles of (B^T d) * (A dy)]                                (2)

The points keep the factors of the transforms small: with 40 to 1024 channels in
float32, norm(error) / norm(result) is 1e-6 to 2e-6 on random data.

Source: Winograd, Arithmetic Complexity of Computations (1980); for convolutional
networks Lavin and Gray, arXiv:1509.09308; for the points Barabasz et al.,
arXiv:1803.10986.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_OVERLAP = 2
_ENOUGH_TILES = 64
"""Number of tiles from which the products of matrices are fast."""


class _Filter(NamedTuple):
  """The matrices of equation (1) along an axis.

  Attributes:
    tile: Number of results, m.
    results: A, [m + 2, m].
    kernel: G, [m + 2, 3].
    inputs: B^T, [m + 2, m + 2].
  """

  tile: int
  results: np.ndarray
  kernel: np.ndarray
  inputs: np.ndarray


def _filter(*points: float) -> _Filter:
  """Returns the matrices for m + 1 points."""
  tile = len(points) - 1
  rows, scales = [], []
  for i, p in enumerate(points):
    others = [q for j, q in enumerate(points) if j != i]
    rows.append(np.append(np.poly(others)[::-1], 0.0))
    scales.append(np.prod([p - q for q in others]))
  kernel = np.vander(points, 3, increasing=True) / np.array(scales)[:, None]
  return _Filter(
    tile,
    results=np.vstack([np.vander(points, tile, increasing=True), np.eye(tile)[-1]]),
    kernel=np.vstack([kernel, [0.0, 0.0, 1.0]]),
    inputs=np.vstack([*rows, np.poly(points)[::-1]]),
  )


_TIME = _filter(0, 1, -1)
_SPACE = _filter(0, 1, -1, 0.5, -2)
_FILTERS = _TIME, _SPACE, _SPACE
TILE = tuple(each.tile for each in _FILTERS)
"""Frames, rows and columns of a tile's results."""
PRODUCTS = math.prod(len(each.kernel) for each in _FILTERS)
"""Number of products of a tile, for each pair of channels."""


def convolve(
  x: Float[Array, "b f2 h2 w2 c"], kernel: Float[Array, "3 3 3 c o"]
) -> Float[Array, "b f h w o"]:
  """Convolves an input that is padded already, with strides of 1.

  Works through the clip a few frames at a time: the tiles of a whole clip would take
  five times its memory, and their products as much again.
  """
  *_, c, out = kernel.shape
  frames, height, width = (size - _OVERLAP for size in x.shape[1:4])
  count, starts = _rounds(len(x), frames, height, width)
  x = _whole_tiles(x, starts[-1] + count, _OVERLAP)
  for i, each in enumerate(_FILTERS):
    kernel = _combine(_parts(kernel, i), each.kernel, i)
  matrices = kernel.reshape(PRODUCTS, c, out)

  def some_frames(start: Array) -> Array:
    seen = jax.lax.dynamic_slice_in_dim(x, start, count + _OVERLAP, axis=1)
    tiles = _input_tiles(seen)
    products = jnp.einsum("ntc,nco->nto", tiles.reshape(PRODUCTS, -1, c), matrices)
    return _from_tiles(products.reshape(*tiles.shape[:-1], out))

  y = jax.lax.map(some_frames, jnp.array(starts))  # rounds b count h w o
  y = jnp.moveaxis(y, 0, 1).reshape(len(x), -1, *y.shape[3:])
  return y[:, :frames, :height, :width]


def kernel_gradient(
  x: Float[Array, "b f2 h2 w2 c"], dy: Float[Array, "b f h w o"]
) -> Float[Array, "3 3 3 c o"]:
  """Returns the gradient of the kernel of `convolve`, equation (2)."""
  c, out = x.shape[-1], dy.shape[-1]
  count, starts = _rounds(*dy.shape[:4])
  frames = starts[-1] + count
  x, dy = _whole_tiles(x, frames, _OVERLAP), _whole_tiles(dy, frames, 0)

  def add(total: Array, start: Array) -> tuple[Array, None]:
    seen = jax.lax.dynamic_slice_in_dim(x, start, count + _OVERLAP, axis=1)
    tiles = _input_tiles(seen).reshape(PRODUCTS, -1, c)
    results = _result_tiles(jax.lax.dynamic_slice_in_dim(dy, start, count, axis=1))
    results = results.reshape(PRODUCTS, -1, out)
    return total + jnp.einsum("ntc,nto->nco", tiles, results), None

  total = jnp.zeros((PRODUCTS, c, out), x.dtype)
  total, _ = jax.lax.scan(add, total, jnp.array(starts))
  kernel = total.reshape(*(len(each.kernel) for each in _FILTERS), c, out)
  for i, each in enumerate(_FILTERS):
    kernel = _combine(_parts(kernel, i), each.kernel.T, i)
  return kernel


def tiles_at_once(b: int, frames: int, height: int, width: int) -> int:
  """Returns the number of tiles that `convolve` works on at a time."""
  _, rows, columns = _tiles(frames, height, width)
  count, _ = _rounds(b, frames, height, width)
  return b * rows * columns * count // TILE[0]


def _tiles(*size: int) -> list[int]:
  return [-(-side // tile) for side, tile in zip(size, TILE, strict=True)]


def _rounds(b: int, frames: int, height: int, width: int) -> tuple[int, list[int]]:
  """Returns the number of frames to work on at a time, and the first of each round.

  Two frames have enough tiles for fast products, except those of a few small clips.
  """
  pairs, rows, columns = _tiles(frames, height, width)
  rounds = min(max(b * pairs * rows * columns // _ENOUGH_TILES, 1), pairs)
  count = TILE[0] * -(-pairs // rounds)
  return count, list(range(0, frames, count))


def _whole_tiles(x: Array, frames: int, overlap: int) -> Array:
  """Adds zeros behind each axis, for results of that many frames and of whole tiles."""
  sizes = zip(x.shape[2:4], TILE[1:], strict=True)
  behind = [(0, (overlap - size) % tile) for size, tile in sizes]
  more = 0, frames + overlap - x.shape[1]
  return jnp.pad(x, ((0, 0), more, *behind, (0, 0)))


def _combine(parts: Sequence[Array], matrix: np.ndarray, axis: int) -> Array:
  """Returns a matrix times the parts, stacked along an axis.

  The barrier keeps XLA from joining the transforms of two axes into one loop, where it
  would recompute the first transform for each result of the second.
  """
  rows = [
    functools.reduce(
      jnp.add, [_times(a, part) for a, part in zip(row, parts, strict=True) if a]
    )
    for row in matrix
  ]
  return jax.lax.optimization_barrier(jnp.stack(rows, axis))


def _times(factor: float, x: Array) -> Array:
  return x if factor == 1 else factor * x


def _parts(x: Array, axis: int) -> list[Array]:
  return [
    jax.lax.index_in_dim(x, n, axis, keepdims=False) for n in range(x.shape[axis])
  ]


def _windows(x: Array, axis: int, size: int, stride: int) -> list[Array]:
  """Returns the first, second, ... element of each window along an axis."""
  count = (x.shape[axis] - size) // stride + 1
  last = (count - 1) * stride + 1
  return [jax.lax.slice_in_dim(x, i, i + last, stride, axis) for i in range(size)]


# The axes of products stand in front, in the order in which they are made.


def _input_tiles(x: Array) -> Array:
  """Applies B^T along each axis: [b f+2 h+2 w+2 c] to [4 6 6 b f/2 h/4 w/4 c]."""
  for i, each in enumerate(_FILTERS):
    windows = _windows(x, 2 * i + 1, each.tile + _OVERLAP, each.tile)
    x = _combine(windows, each.inputs, i)
  return x


def _result_tiles(y: Array) -> Array:
  """Applies A along each axis: [b f h w o] to [4 6 6 b f/2 h/4 w/4 o]."""
  for i, each in enumerate(_FILTERS):
    y = _combine(_windows(y, 2 * i + 1, each.tile, each.tile), each.results, i)
  return y


def _from_tiles(m: Array) -> Array:
  """Applies A^T along each axis: [4 6 6 b f/2 h/4 w/4 o] to [b f h w o]."""
  for i, each in enumerate(_FILTERS):
    m = _combine(_parts(m, i), each.results.T, i)
  b, *tiles, out = m.shape[3:]
  m = m.transpose(3, 4, 0, 5, 1, 6, 2, 7)
  sides = [count * tile for count, tile in zip(tiles, TILE, strict=True)]
  return m.reshape(b, *sides, out)
