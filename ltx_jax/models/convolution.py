"""Causal 3-D convolution, in the form that is fastest on the platform.

A kernel of 3 x 3 x 3 sees the current frame and two earlier ones (causal), or one frame
on either side. Time is padded by repeating the first (and last) frame, space by one
pixel in the configured mode. The four forms below give the same result:

  direct   one 3-D convolution; best on GPU and TPU
  frames   y_t = sum_i conv2d(x_{t + i}, K_i): three 2-D convolutions
  taps     y = sum_j x_j K_j over the kernel's 27 places j: one matmul each, in a loop
  winograd  144 matmuls over tiles of 2 x 4 x 4: a sixth of the work (models.winograd);
    in float32

On a CPU the result, the gradient of the input and the gradient of the kernel each use
the form that was measured to be fastest for that computation
(models.convolution_forms).

Source: `CausalConv3d` of the PyTorch original; the choice for CPUs is by measurement.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.models import convolution_forms as forms
from ltx_jax.models.convolution_forms import Strides
from ltx_jax.models.sharded import whole
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray

Shape = tuple[int, int, int, int]

_PAD_MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}


def pad_time(
  x: Float[Array, "b f h w c"], size: int, causal: bool
) -> Float[Array, "b f2 h w c"]:
  """Repeats the first frame (causal), or both end frames half as often each."""
  before, after = (size - 1, 0) if causal else ((size - 1) // 2, (size - 1) // 2)
  return _repeat_ends(x, before, after)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _repeat_ends(x: Array, before: int, after: int) -> Array:
  return jnp.concatenate([x[:, :1]] * before + [x] + [x[:, -1:]] * after, axis=1)


def _repeat_ends_forward(x: Array, before: int, after: int) -> tuple[Array, None]:
  return _repeat_ends(x, before, after), None


def _repeat_ends_backward(before: int, after: int, _: None, dy: Array) -> tuple[Array]:
  """Adds up the gradients of each end's copies, and touches no other frame.

  JAX would add arrays of the whole clip, one per copy, and on a CPU compute that sum
  again wherever it is used.
  """
  frames = dy.shape[1] - before - after
  if frames == 1:
    return (jnp.sum(dy, axis=1, keepdims=True),)
  first, rest, last = jnp.split(dy, [before + 1, before + frames - 1], axis=1)
  ends = [jnp.sum(copies, axis=1, keepdims=True) for copies in (first, last)]
  return (jnp.concatenate([ends[0], rest, ends[1]], axis=1),)


_repeat_ends.defvjp(_repeat_ends_forward, _repeat_ends_backward)


def pad_space(x: Float[Array, "b f h w c"], mode: str) -> Float[Array, "b f h2 w2 c"]:
  """Adds one pixel on each side of a frame."""
  widths = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))
  return jnp.pad(x, widths, mode=_PAD_MODES[mode])


def _few_positions(shape: Shape, c: int) -> bool:
  """Whether the input is small compared to a kernel, or frames are hardly more than
  their padding: 2 x 2."""
  return shape[2] * shape[3] <= 16 or math.prod(shape) <= c


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
  enough = min(max(2000, 4 * (c + out)), 4096)
  return positions >= enough and c * out >= 8 * (c + out)


class Forms(NamedTuple):
  """The forms of a convolution and of its gradients."""

  result: Callable
  input_gradient: Callable
  kernel_gradient: Callable


_WINOGRAD = Forms(
  forms.by_winograd, forms.winograd_gradient, forms.winograd_kernel_gradient
)


def _forms(x: Array, kernel: Array, strides: Strides, edge: int) -> Forms:
  """Returns the forms that were fastest on CPUs for such shapes (see the module)."""
  b, f, height, width, _ = x.shape
  shape = b, f, height + 2 * edge, width + 2 * edge
  *size, c, out = kernel.shape
  positions, few = math.prod(shape), _few_positions(shape, c)
  in_tiles = size == [3, 3, 3] and strides == (1, 1, 1)
  if in_tiles and pays_transforms(positions, c, out, kernel.dtype):
    return _WINOGRAD
  forward = forms.taps if few else forms.frames
  backwards = forms.taps_gradient if few or out >= 2 * c else forms.frames_gradient
  return Forms(forward, backwards, forms.taps_kernel_gradient)


# On a CPU XLA computes what a loop reads again for each loop that reads it, unless a
# barrier makes it an array. So every convolution begins and ends with arrays.


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _measured(
  x: Array, kernel: Array, bias: Array, strides: Strides, edge: int
) -> Array:
  form = _forms(x, kernel, strides, edge).result
  y = form(jax.lax.optimization_barrier(x), kernel, strides, edge) + bias
  return jax.lax.optimization_barrier(y)


def _measured_forward(
  x: Array, kernel: Array, bias: Array, strides: Strides, edge: int
) -> tuple[Array, tuple[Array, Array]]:
  x = jax.lax.optimization_barrier(x)
  return _measured(x, kernel, bias, strides, edge), (x, kernel)


def _measured_backward(
  strides: Strides, edge: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array, Array]:
  x, kernel = saved
  dy = jax.lax.optimization_barrier(dy)
  operands = x, kernel, strides, edge, dy
  _, of_input, of_kernel = _forms(*operands[:4])
  # A sum as a product, because XLA's own sum over positions is up to 20 times slower.
  flat = dy.reshape(-1, dy.shape[-1])
  of_bias = jnp.ones(len(flat), dy.dtype) @ flat
  dx = jax.lax.optimization_barrier(of_input(*operands))
  return dx, of_kernel(*operands), of_bias


_measured.defvjp(_measured_forward, _measured_backward)


def _direct_and_bias(
  x: Array, kernel: Array, bias: Array, strides: Strides, edge: int
) -> Array:
  return forms.direct(x, kernel, strides, edge) + bias


_WAYS = {"direct": _direct_and_bias, "measured": _measured}


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
  if padding == "zeros":
    # Padding rows before a split over devices would shift most rows to another device.
    # Padding within the convolution moves only the rows at the edges.
    return convolve(x, kernel, bias, strides, policy, edge=1)
  return convolve(pad_space(x, padding), kernel, bias, strides, policy)


def convolve(
  x: Float[Array, "b f h w c"],
  kernel: Float[AnyArray, "t y x c o"],
  bias: Float[AnyArray, "o"],
  strides: Strides,
  policy: Policy,
  *,
  edge: int = 0,
) -> Float[Array, "b f2 h2 w2 o"]:
  """Convolves an input and adds the bias, in the policy's dtype.

  Args:
    x: Activations, padded already except for zeros around frames.
    kernel: Kernel of any size.
    bias: Added to each position of the result.
    strides: Strides over (time, height, width).
    policy: How the platform runs it.
    edge: Width of the border of zeros around each frame.
  """
  kernel, bias = jnp.asarray(kernel, policy.dtype), jnp.asarray(bias, policy.dtype)
  return _WAYS[policy.convolution](x, kernel, bias, strides, edge)
