"""Weights in 8 bits: half the memory of bfloat16, for networks that are not trained.

The kernels in the blocks of the transformer and of the text encoder are nearly all of
their weights. They become 8-bit numbers with one float32 scale per output channel o:

    s_o = max_i |W_io| / M       Q_io = round(W_io / s_o)        W_io ~ Q_io s_o

For int8, M is 127 and an error is at most s_o / 2. For fp8 (float8_e4m3fn), M is 448,
its largest number, and an error is at most 1/16 of the weight itself, or s_o / 1024 if
that is larger. A channel whose weights are float8 numbers already, as in the fp8 files
of the releases, stays unchanged, with a scale of 1.

Q replaces the leaf `kernel`, and s is stored next to it as `kernel_scale`; both are
stacked over the layers. `models.linear` multiplies with them. Embeddings, norms, biases
and everything before and after the blocks stay unchanged, as in those files.
"""

from __future__ import annotations

import re
from typing import get_args

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Float, Shaped

from ltx_jax.checkpoints.arrays import Place, Placed
from ltx_jax.checkpoints.safetensors_io import aligned_empty
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.models.linear import SCALE
from ltx_jax.typing import AnyArray, Params, Weights

_DTYPES = {"int8": np.dtype(np.int8), "fp8": np.dtype(ml_dtypes.float8_e4m3fn)}
_LARGEST = {"int8": 127.0, "fp8": 448.0}
_KERNEL = re.compile(r"(transformer|text_encoder)/blocks/(.+/)?kernel")


def quantize(
  kernel: Float[AnyArray, "*l i o"], weights: Weights
) -> tuple[Shaped[AnyArray, "*l i o"], Float[AnyArray, "*l o"]]:
  """Returns Q and s of a kernel, or of a stack of them, on the kernel's own device.

  A channel of zeros has a scale of 1. A weight that is not finite makes its scale so
  too.
  """
  xp = jnp if isinstance(kernel, jax.Array) else np
  dtype, kernel = _DTYPES[weights], kernel.astype(np.float32)
  # Multiplied, because XLA divides by a constant differently from NumPy in the last
  # digit.
  scale = abs(kernel).max(axis=-2) * np.float32(1 / _LARGEST[weights])
  as_it_is = scale == 0
  if weights == "fp8":
    as_it_is |= (kernel.astype(dtype).astype(np.float32) == kernel).all(axis=-2)
  scale = xp.where(as_it_is, np.float32(1), scale)
  scaled = kernel / scale[..., None, :]
  return (scaled.round() if weights == "int8" else scaled).astype(dtype), scale


def quantize_params(params: Params, weights: Weights) -> Params:
  """Returns params with the kernels of blocks in 8 bits, and the rest unchanged.

  Args:
    params: {"transformer", "vae", "text_encoder"}, or some of them.
    weights: 8-bit format of the kernels.
  """
  flat = {}
  for path, array in flatten(params).items():
    flat[path] = array
    if _KERNEL.fullmatch(path):
      flat[path], flat[_scale_of(path)] = quantize(array, weights)
  return nest(flat)


def quantizing(weights: Weights | None, place: Place) -> Place:
  """Returns a `Place` that converts kernels of blocks to 8 bits before placing them.

  Host memory then holds one stack in full precision; the device never does.

  Args:
    weights: 8-bit format of the kernels; None leaves them unchanged.
    place: Function that places arrays; paths begin with "transformer/" or
      "text_encoder/".

  Raises:
    ValueError: If the format is unknown. The returned function raises it for a kernel
      that is not finite.
  """
  if weights is None:
    return place
  if weights not in _DTYPES:
    raise ValueError(
      f"Weights {weights!r} are not known; give {', '.join(get_args(Weights))}, or "
      "None for full precision."
    )

  def put(path: str, array: Shaped[np.ndarray, "..."]) -> Placed:
    if not _KERNEL.fullmatch(path):
      return place(path, array)
    kernel = aligned_empty(array.shape, _DTYPES[weights])
    scale = aligned_empty((*array.shape[:-2], array.shape[-1]), np.float32)
    with np.errstate(invalid="ignore"):  # Refused below if not finite.
      for layer in np.ndindex(array.shape[:-2]):
        kernel[layer], scale[layer] = quantize(array[layer], weights)
    if not np.isfinite(scale).all():
      raise ValueError(
        f"{path} has numbers that are not finite, which {weights} cannot hold; "
        "download or train the checkpoint again."
      )
    return {"kernel": place(path, kernel), SCALE: place(_scale_of(path), scale)}

  return put


def is_quantized(params: Params) -> bool:
  """Whether any kernel is in 8 bits."""
  return any(path.endswith(SCALE) for path in flatten(params))


def widened_bytes(params: Params, dtype: str) -> int:
  """Returns the bytes of one block's 8-bit kernels when widened for a product.

  Args:
    params: Parameters of networks, with or without 8-bit kernels (see
      `quantize_params`).
    dtype: Compute dtype of the networks.
  """
  flat = flatten(params)
  kernels = (flat[path] for path in flat if _scale_of(path) in flat)
  return sum(x.size // x.shape[0] for x in kernels) * jnp.dtype(dtype).itemsize


def _scale_of(path: str) -> str:
  return path.removesuffix("kernel") + SCALE
