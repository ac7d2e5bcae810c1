"""Random arrays, made on the device, so that no file is read and the host holds none.

A number is a hash of its place, so making it takes no extra memory. The numbers are
spread like trained weights, because a card multiplies zeros faster than other numbers:
it draws less power.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.quantization import quantize_params
from ltx_jax.checkpoints.trees import path_name
from ltx_jax.models.linear import SCALE
from ltx_jax.platforms import Policy
from ltx_jax.typing import Params

_STD = 0.02
_INT8_STD = 127 / 3


def make(init: Callable[[jax.Array], Params], dtype: str) -> Params:
  """Returns a network's parameters, floats in `dtype`, each near 0.

  Args:
    init: Function that draws them (such as `models.transformer.init`); only its shapes
      are used.
    dtype: Dtype of the floats: as they are loaded for sampling, or float32 for
      training.
  """
  return fill(_cast(jax.eval_shape(init, jax.random.key(0)), dtype))


def make_int8(init: Callable[[jax.Array], Params], policy: Policy) -> Params:
  """Returns a transformer's parameters with the kernels of its blocks in 8 bits."""

  def quantized(key: jax.Array) -> Params:
    return quantize_params({"transformer": init(key)}, "int8")["transformer"]

  shapes = jax.eval_shape(quantized, jax.random.key(0))

  def cast(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return leaf if path_name(path).endswith(SCALE) else _cast(leaf, policy.dtype)

  return fill(jax.tree.map_with_path(cast, shapes))


def fill(shapes: Any) -> Any:
  """Returns arrays of these shapes and dtypes, compiled as one program."""
  return jax.block_until_ready(jax.jit(lambda: jax.tree.map_with_path(_leaf, shapes))())


def normal(*shape: int, dtype: str = "float32") -> jax.Array:
  """Returns a network's input with mean 0 and standard deviation 1."""
  return jax.jit(lambda: _spread(shape, 1.0).astype(dtype))()


def bytes_of(tree: Any) -> int:
  """Returns the bytes of a tree's arrays."""
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _cast(tree: Any, dtype: str) -> Any:
  def cast(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.update(dtype=jnp.dtype(dtype)) if floating else x

  return jax.tree.map(cast, tree)


def _leaf(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.Array:
  name = path_name(path)
  if name.startswith(keys.MEASURED):  # Statistics are positive.
    return jnp.ones(shape.shape, shape.dtype)
  if name.endswith(SCALE):
    return jnp.full(shape.shape, _STD / _INT8_STD, shape.dtype)
  std = _INT8_STD if jnp.issubdtype(shape.dtype, jnp.integer) else _STD
  return _spread(shape.shape, std).astype(shape.dtype)


def _spread(shape: tuple[int, ...], std: float) -> jax.Array:
  """Returns uniform numbers around 0: MurmurHash3's last step on their places."""
  place = jnp.zeros(shape, jnp.uint32)
  for axis in range(len(shape)):
    stride = math.prod(shape[axis + 1 :]) % 2**32
    place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride)
  bits = place * np.uint32(0x9E3779B1)
  bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
  bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
  bits ^= bits >> 16
  unit = (bits >> 8).astype(jnp.float32) * np.float32(2**-23) - 1  # In [-1, 1).
  return unit * np.float32(std * math.sqrt(3))
