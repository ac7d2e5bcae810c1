"""Causal 3-D convolution, in the form that is fastest on the platform.

A kernel of 3 x 3 x 3 sees the current frame and two earlier ones (causal), or one frame
on either side. Time is padded by repeating the first (and last) frame, space by one
pixel in the configured mode. The four forms below give the same result:

  direct   one 3-D convolution; best on GPU and TPU
  frames   y_t = sum_i conv2d(x_{t + i}, K_i): three 2-D convolutions
  taps     y = sum_j x_j K_j over the kernel's 27 places j: one matmul each, in a loop
  winograd  64 matmuls over tiles of 2 x 2 x 2: a third of the work (models.winograd);
    in float32

On a CPU the result, the gradient of the input and the gradient of the kernel each use
the form that was measured to be fastest for that computation.

Source: `CausalConv3d` of the PyTorch original; the choice for CPUs is by measurement.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.models import winograd
from ltx_jax.models.sharded import whole
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray

Strides = tuple[int, int, int]

_PAD_MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}
_LAYOUT_3D = ("NDHWC", "DHWIO", "NDHWC")
_LAYOUT_2D = ("NHWC", "HWIO", "NHWC")


def pad_time(
  x: Float[Array, "b f h w c"], size: int, causal: bool
) -> Float[Array, "b f2 h w c"]:
  """Repeats the first frame (causal), or both end frames half as often each."""
  before, after = (size - 1, 0) if causal else ((size - 1) // 2, (size - 1) // 2)
  return jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)), mode="edge")


def pad_space(x: Float[Array, "b f h w c"], mode: str) -> Float[Array, "b f h2 w2 c"]:
  """Adds one pixel on each side of a frame."""
  widths = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))
  return jnp.pad(x, widths, mode=_PAD_MODES[mode])


def _direct(x: Array, kernel: Array, strides: Strides, edge: int = 0) -> Array:
  """One 3-D convolution, with `edge` pixels of zeros around each frame."""
  padding = ((0, 0), (edge, edge), (edge, edge))
  return jax.lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_LAYOUT_3D
  )


def _time_slices(x: Array, kernel: Array, stride: int) -> list[Array]:
  """Returns the frames that each time step of the kernel sees, one array per step."""
  size = kernel.shape[0]
  frames = (x.shape[1] - size) // stride + 1
  return [
    jax.lax.slice_in_dim(x, i, i + (frames - 1) * stride + 1, stride, axis=1)
    for i in range(size)
  ]


def _frames(x: Array, kernel: Array, strides: Strides) -> Array:
  """Adds a row of zeros and drops its result, because XLA's CPU backend convolves two
  to four times slower without any padding."""
  rows = (x.shape[2] - kernel.shape[1]) // strides[1] + 1
  padding = ((0, strides[1]), (0, 0))

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


def _taps(x: Array, kernel: Array, strides: Strides) -> Array:
  *size, c, out = kernel.shape
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


def _winograd(x: Array, kernel: Array, _: Strides) -> Array:
  """Ignores the strides, which must be 1, because a tile covers adjacent positions."""
  return winograd.convolve(x, kernel)


def _frames_gradient(x: Array, kernel: Array, strides: Strides, dy: Array) -> Array:
  (dx,) = jax.vjp(lambda x: _frames(x, kernel, strides), x)[1](dy)
  return dx


def _taps_gradient(x: Array, kernel: Array, strides: Strides, dy: Array) -> Array:
  """Adds dy K_j^T of each tap j to the positions that the tap saw."""
  *size, c, out = kernel.shape
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

  dx = jnp.zeros(x.shape, jnp.float32)
  dx, _ = jax.lax.scan(add, dx, (_places(size), kernel.reshape(-1, c, out)))
  return dx.astype(x.dtype)


def _kernel_gradient(x: Array, kernel: Array, strides: Strides, dy: Array) -> Array:
  """Returns for each tap its input, transposed, times the gradient of the result."""
  *size, c, out = kernel.shape
  extent, flat = _extent(dy.shape[1:4], strides), dy.reshape(-1, out)

  def of_tap(at: Array) -> Array:
    return _seen(x, at, extent, strides).T @ flat

  return jax.lax.map(of_tap, _places(size)).reshape(kernel.shape)


def _few_positions(x: Array) -> bool:
  """Whether the input is small compared to a kernel, or frames are hardly more than
  their padding: 2 x 2."""
  b, f, height, width, c = x.shape
  return height * width <= 16 or b * f * height * width <= c


def pays_transforms(positions: int, c: int, out: int, dtype: jnp.dtype | str) -> bool:
  """Whether Winograd's form is worth its transforms: there must be enough positions for
  the kernel's transform, and enough channels for the transforms of the positions.

  Args:
    positions: Number of positions of all clips together, padding included.
    c: Channels of the input.
    out: Channels of the result.
    dtype: Dtype of input, kernel and result. 16-bit numbers would be rounded at every
      transform, which triples the error.
  """
  if jnp.dtype(dtype) != jnp.float32:
    return False
  return positions >= 4096 and c * out >= 32 * (c + out)


def _takes_winograd(x: Array, kernel: Array, strides: Strides) -> bool:
  *size, c, out = kernel.shape
  if size != [3, 3, 3] or strides != (1, 1, 1):
    return False
  return pays_transforms(math.prod(x.shape[:-1]), c, out, kernel.dtype)


def _result_form(x: Array, kernel: Array, strides: Strides) -> Callable:
  if _takes_winograd(x, kernel, strides):
    return _winograd
  return _taps if _few_positions(x) else _frames


def _input_gradient_form(x: Array, kernel: Array) -> Callable:
  c, out = kernel.shape[-2:]
  takes_taps = out >= 2 * c or _few_positions(x)
  return _taps_gradient if takes_taps else _frames_gradient


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _measured(x: Array, kernel: Array, strides: Strides) -> Array:
  """Uses the forms that were fastest on CPUs for such shapes (see the module)."""
  return _result_form(x, kernel, strides)(x, kernel, strides)


def _measured_forward(
  x: Array, kernel: Array, strides: Strides
) -> tuple[Array, tuple[Array, Array]]:
  return _measured(x, kernel, strides), (x, kernel)


def _measured_backward(
  strides: Strides, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
  x, kernel = saved
  dx = _input_gradient_form(x, kernel)(x, kernel, strides, dy)
  return dx, _kernel_gradient(x, kernel, strides, dy)


_measured.defvjp(_measured_forward, _measured_backward)


_FORMS = {"direct": _direct, "measured": _measured}


def causal_conv(
  x: Float[Array, "b f h w c"],
  kernel: Float[AnyArray, "t y x c o"],
  bias: Float[AnyArray, "o"],
  *,
  strides: Strides,
  causal: bool,
  padding: str,
  policy: Policy,
) -> Float[Array, "b f2 h2 w2 o"]:
  """Pads time and space, convolves and adds the bias, in the policy's dtype.

  Args:
    x: Activations.
    kernel: Kernel of odd size in every direction; space is padded for size 3.
    strides: Strides over (time, height, width). With causal padding and a time stride
      of 2, 8k + 1 frames become 4k + 1.
    causal: Whether an output frame sees only its own and earlier input frames.
    padding: Padding of space: `zeros`, `replicate` or `reflect`.
  """
  if x.shape[1] == 1:
    # All padding repeats the one frame, so the kernel's time steps add up.
    kernel = jnp.sum(kernel, axis=0, keepdims=True)
  # XLA's partitioner gives wrong gradients where both a kernel's channels and a frame's
  # rows are split over devices, so each device gathers the kernel first.
  kernel = whole(jnp.asarray(kernel, policy.dtype), policy)
  x = pad_time(x, kernel.shape[0], causal)
  if padding == "zeros" and policy.convolution == "direct":
    # Padding rows before a split over devices would shift most rows to another device.
    # Padding within the convolution moves only the rows at the edges.
    y = _direct(x, jnp.asarray(kernel, policy.dtype), strides, edge=1)
    return y + bias.astype(policy.dtype)
  return convolve(pad_space(x, padding), kernel, bias, strides, policy)


def convolve(
  x: Float[Array, "b f h w c"],
  kernel: Float[AnyArray, "t y x c o"],
  bias: Float[AnyArray, "o"],
  strides: Strides,
  policy: Policy,
) -> Float[Array, "b f2 h2 w2 o"]:
  """Convolves a padded input and adds the bias, in the policy's dtype."""
  y = _FORMS[policy.convolution](x, jnp.asarray(kernel, policy.dtype), strides)
  return y + bias.astype(policy.dtype)
