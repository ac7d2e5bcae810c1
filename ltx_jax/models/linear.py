"""Dense layers with full-precision weights, or with 8-bit weights and a scale.

    y = x W + b            y = (x Q) * s + b

Q is W in int8 or float8, and s has one float32 number per output channel
(`checkpoints.quantization` makes both). A layer is 8-bit if its params have the leaf
`kernel_scale` next to `kernel`; stacked layers stack their scales as well. If they have
`lora_down` A and `lora_up` B, a low-rank update is added (`training.lora`):

    y = ... + (x A) B

Q is widened to the compute dtype just before the product; that dtype holds all its
values exactly. The product is summed in float32 and scaled before it is rounded,
because sums over int8 are up to 127 times larger than y and would overflow float16. Q
and s are never trained. The gradient that passes through them, to low-rank updates, is

    dx = (s * dy) Q^T

in the compute dtype. Q itself is kept for the backward pass and widened again. With the
policy `keeps_products`, a rematerialised block keeps only y of these products.

In the backward pass, with the tokens of all clips as the rows of x and of dy = dL/dy,

    dx = dy W^T            dW = x^T dy            db = 1^T dy

On a CPU these are computed as exactly these matrix products (`measured`). By default
JAX makes dW from a transposed copy of dy, and XLA adds up db by a slow tree of sums.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Shaped

from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray

SCALE = "kernel_scale"
DOWN, UP = "lora_down", "lora_up"

_PRODUCT = "product"
keeps_products = jax.checkpoint_policies.save_from_both_policies(
  jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  jax.checkpoint_policies.save_only_these_names(_PRODUCT),
)
"""A policy of `jax.checkpoint` that keeps the results of dense layers."""


def linear(
  x: Float[AnyArray, "*b i"],
  kernel: Shaped[AnyArray, "i o"],
  scale: Float[AnyArray, "o"] | None,
  bias: Float[AnyArray, "o"] | None,
  dtype: str,
  *,
  out_dtype: str | None = None,
) -> Float[Array, "*b o"]:
  """Returns x W + b.

  Args:
    x: Inputs.
    kernel: W, or Q if there is a scale. A float8 kernel without a scale is W itself.
    scale: One number per output channel; None for a kernel without a scale.
    bias: b; None for no bias.
    dtype: Dtype in which x and kernel are multiplied.
    out_dtype: Dtype of the result, and of the sums if it is wider; None means `dtype`.
  """
  x = jnp.asarray(x, dtype)
  if scale is None:
    y = _product(x, jnp.asarray(kernel, dtype), out_dtype)
    return y if bias is None else y + jnp.asarray(bias, y.dtype)
  y = _scaled(dtype, x, jnp.asarray(kernel), jnp.asarray(scale))
  y = y if bias is None else y + bias
  return y.astype(out_dtype or dtype)


def _product(x: Array, kernel: Array, dtype: str | None) -> Array:
  axes = ((x.ndim - 1,), (0,)), ((), ())
  return jax.lax.dot_general(x, kernel, axes, preferred_element_type=dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scaled(
  dtype: str,
  x: Float[Array, "*b i"],
  kernel: Shaped[Array, "i o"],
  scale: Float[Array, "o"],
) -> Float[Array, "*b o"]:
  return _product(x, kernel.astype(dtype), "float32") * scale


def _scaled_forward(dtype: str, x: Array, kernel: Array, scale: Array) -> tuple:
  return _scaled(dtype, x, kernel, scale), (kernel, scale)


def _scaled_backward(dtype: str, saved: tuple, dy: Array) -> tuple:
  kernel, scale = saved
  return (dy * scale).astype(dtype) @ kernel.astype(dtype).T, None, None


_scaled.defvjp(_scaled_forward, _scaled_backward)


@jax.custom_vjp
def _affine(
  x: Float[Array, "*b i"],
  kernel: Float[Array, "i o"],
  bias: Float[AnyArray, "o"] | None,
) -> Float[Array, "*b o"]:
  y = x @ kernel
  return y if bias is None else y + bias


def _forward(x: Array, kernel: Array, bias: AnyArray | None) -> tuple:
  return _affine(x, kernel, bias), (x, kernel, bias)


def _backward(saved: tuple, dy: Array) -> tuple:
  x, kernel, bias = saved
  rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
  db = None if bias is None else (jnp.ones((1, len(rows)), dy.dtype) @ dy_rows)[0]
  return (dy_rows @ kernel.T).reshape(x.shape), rows.T @ dy_rows, db


_affine.defvjp(_forward, _backward)


def measured(
  x: Float[AnyArray, "*b i"],
  kernel: Shaped[AnyArray, "i o"],
  scale: Float[AnyArray, "o"] | None,
  bias: Float[AnyArray, "o"] | None,
  dtype: str,
  *,
  out_dtype: str | None = None,
) -> Float[Array, "*b o"]:
  """Does what `linear` does in float32, with the gradients that are fastest on CPUs."""
  if scale is not None or dtype != "float32":
    return linear(x, kernel, scale, bias, dtype, out_dtype=out_dtype)
  y = _affine(jnp.asarray(x, dtype), jnp.asarray(kernel, dtype), bias)
  return y.astype(out_dtype or dtype)


_FORMS = {"derived": linear, "measured": measured}


class Dense(nn.Module):
  """`linear` with parameters: kernel (in, out), optional bias, scale, low-rank update.

  `init` makes no scale, which comes with its 8-bit kernel, and no low-rank update,
  which is trained for an existing kernel.
  """

  features: int
  policy: Policy
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  out_dtype: str | None = None

  @nn.compact
  def __call__(self, x: Float[AnyArray, "*b i"]) -> Float[Array, "*b o"]:
    dtype, shape = self.policy.dtype, (x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    scale = self.get_variable("params", SCALE)
    bias = None
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
    form = _FORMS[self.policy.dense]
    y = form(x, kernel, scale, bias, dtype, out_dtype=self.out_dtype)
    down, up = (self.get_variable("params", name) for name in (DOWN, UP))
    if down is not None:
      narrow = form(x, down, None, None, dtype)  # *b r
      y = y + form(narrow, up, None, None, dtype, out_dtype=self.out_dtype)
    if down is None and scale is None:
      return y
    # The name is on the whole sum: a policy cannot see into a product with a custom
    # gradient.
    return checkpoint_name(y, _PRODUCT)
