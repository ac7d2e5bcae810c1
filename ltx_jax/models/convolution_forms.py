"""The forms of a 3-D convolution, and of its gradients (`models.convolution`).

All forms of a result give the same numbers, and so do all forms of a gradient. They
take an input, a kernel, strides, and the width of the border of zeros that each frame
gets. The gradient of an input does not include its border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.models import winograd

Strides = tuple[int, int, int]
Input = Float[Array, "b f h w c"]
Kernel = Float[Array, "t y x c o"]
Result = Float[Array, "b f2 h2 w2 o"]

_LAYOUT_3D = ("NDHWC", "DHWIO", "NDHWC")
_LAYOUT_2D = ("NHWC", "HWIO", "NHWC")


def direct(x: Input, kernel: Kernel, strides: Strides, edge: int) -> Result:
  """One 3-D convolution."""
  padding = ((0, 0), (edge, edge), (edge, edge))
  return jax.lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_LAYOUT_3D
  )


def _with_edge(x: Array, edge: int, before: int = 0) -> Array:
  """Adds zeros around each frame, and frames of zeros at both ends."""
  around = (edge, edge)
  return jnp.pad(x, ((0, 0), (before, before), around, around, (0, 0)))


def _time_slices(x: Array, kernel: Array, stride: int) -> list[Array]:
  """Returns the frames that each time step of the kernel sees, one array per step."""
  size = kernel.shape[0]
  frames = (x.shape[1] - size) // stride + 1
  return [
    jax.lax.slice_in_dim(x, i, i + (frames - 1) * stride + 1, stride, axis=1)
    for i in range(size)
  ]


def frames(x: Input, kernel: Kernel, strides: Strides, edge: int) -> Result:
  """A 2-D convolution per time step of the kernel.

  If there is no border, it adds a row of zeros and drops its result, because XLA's CPU
  backend convolves two to four times slower without any padding.
  """
  rows = (x.shape[2] + 2 * edge - kernel.shape[1]) // strides[1] + 1
  padding = ((edge, edge or strides[1]), (edge, edge))

  def convolve(frames: Array, kernel_2d: Array) -> Array:
    b, f = frames.shape[:2]
    flat = frames.reshape(b * f, *frames.shape[2:])
    out = jax.lax.conv_general_dilated(
      flat, kernel_2d, strides[1:], padding, dimension_numbers=_LAYOUT_2D
    )
    return out[:, :rows].reshape(b, f, rows, *out.shape[2:])

  slices = _time_slices(x, kernel, strides[0])
  return sum(convolve(frames, kernel[i]) for i, frames in enumerate(slices))


def _places(size: Sequence[int]) -> Array:
  """Returns the kernel's places (t, y, x), in the order of its elements."""
  return jnp.asarray(list(np.ndindex(*size)))


def _extent(shape: Sequence[int], strides: Strides) -> list[int]:
  """Returns the span of positions that a tap sees, for a result of `shape`."""
  return [(n - 1) * stride + 1 for n, stride in zip(shape, strides, strict=True)]


def _seen(x: Array, at: Array, extent: list[int], strides: Strides) -> Array:
  """Returns what the tap at a place of the kernel sees, one row per position."""
  window = jax.lax.dynamic_slice(x, (0, *at, 0), (len(x), *extent, x.shape[-1]))
  window = window[:, :: strides[0], :: strides[1], :: strides[2]]
  return window.reshape(-1, x.shape[-1])


# The loops below run over taps. Their matmuls are as fast as one matmul over whole
# patches; they compile in a third of the time and keep no patches in memory.


def taps(x: Input, kernel: Kernel, strides: Strides, edge: int) -> Result:
  """A product per tap."""
  *size, c, out = kernel.shape
  x = _with_edge(x, edge)
  shape = [
    (n - k) // stride + 1
    for n, k, stride in zip(x.shape[1:4], size, strides, strict=True)
  ]
  extent = _extent(shape, strides)

  def add(y: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
    at, matrix = tap
    seen = _seen(x, at, extent, strides)
    return y + jnp.matmul(seen, matrix, preferred_element_type=y.dtype), None

  y = jnp.zeros((len(x) * math.prod(shape), out), jnp.float32)
  y, _ = jax.lax.scan(add, y, (_places(size), kernel.reshape(-1, c, out)))
  return y.astype(x.dtype).reshape(len(x), *shape, out)


def by_winograd(x: Input, kernel: Kernel, _: Strides, edge: int) -> Result:
  """Ignores the strides, which must be 1, because a tile covers adjacent positions."""
  return winograd.convolve(_with_edge(x, edge), kernel)


# The forms of the gradient of an input.


def frames_gradient(
  x: Input, kernel: Kernel, strides: Strides, edge: int, dy: Result
) -> Input:
  """Leaves the gradient of `frames` to JAX."""
  (dx,) = jax.vjp(lambda x: frames(x, kernel, strides, edge), x)[1](dy)
  return dx


def winograd_gradient(
  _: Input, kernel: Kernel, __: Strides, edge: int, dy: Result
) -> Input:
  """Convolves with the kernel backwards: dx_q = sum_j dy_{q - j} K_j^T."""
  backwards = jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)
  return winograd.convolve(_with_edge(dy, 2 - edge, before=2), backwards)


def taps_gradient(
  x: Input, kernel: Kernel, strides: Strides, edge: int, dy: Result
) -> Input:
  """Adds dy K_j^T of each tap j to the positions that the tap saw."""
  *size, c, out = kernel.shape
  b, f, height, width, _ = x.shape
  flat = dy.reshape(-1, out)
  between = [(0, 0, stride - 1) for stride in strides]

  def add(dx: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
    at, matrix = tap
    more = jnp.matmul(flat, matrix.T, preferred_element_type=dx.dtype)
    more = more.reshape(*dy.shape[:-1], c)
    more = jax.lax.pad(more, jnp.zeros((), dx.dtype), [(0, 0, 0), *between, (0, 0, 0)])
    start = (0, *at, 0)
    more += jax.lax.dynamic_slice(dx, start, more.shape)
    return jax.lax.dynamic_update_slice(dx, more, start), None

  dx = jnp.zeros((b, f, height + 2 * edge, width + 2 * edge, c), jnp.float32)
  dx, _ = jax.lax.scan(add, dx, (_places(size), kernel.reshape(-1, c, out)))
  return dx[:, :, edge : edge + height, edge : edge + width].astype(x.dtype)


# The forms of the gradient of a kernel.


def winograd_kernel_gradient(
  x: Input, _: Kernel, __: Strides, edge: int, dy: Result
) -> Kernel:
  """The sum over tiles, transformed."""
  return winograd.kernel_gradient(_with_edge(x, edge), dy)


def taps_kernel_gradient(
  x: Input, kernel: Kernel, strides: Strides, edge: int, dy: Result
) -> Kernel:
  """Returns for each tap its input, transposed, times the gradient of the result."""
  *size, c, out = kernel.shape
  x = _with_edge(x, edge)
  extent, flat = _extent(dy.shape[1:4], strides), dy.reshape(-1, out)

  def of_tap(at: Array) -> Array:
    return _seen(x, at, extent, strides).T @ flat

  return jax.lax.map(of_tap, _places(size)).reshape(kernel.shape)
