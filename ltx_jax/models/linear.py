"""Dense layers, of full-precision weights or of 8-bit ones with a scale.

    y = x W + b            y = (x Q) * s + b

Q is W in int8 or float8, and s has one float32 number for each output channel
(`checkpoints.quantization` makes both). A layer of a model's params is 8-bit where it
has the leaf `kernel_scale` beside `kernel`; stacked layers stack their scales as well.
Where it has `lora_down` A and `lora_up` B, a low-rank update is added
(`training.lora`):

    y = ... + (x A) B

Q is widened to the compute dtype on its way into the product, which holds all its
values exactly. The product is summed in float32 and scaled before it is rounded: sums
over int8 are up to 127 times larger than y, and would leave the range of float16. Q and
s are never trained; what goes backwards through them, to low-rank updates, is

    dx = (s * dy) Q^T

in the compute dtype. Q itself is kept for it, and is widened a second time. A block
that is computed again keeps y alone of these products where `keeps_products` has it
keep what products give.

Backwards, with all clips' tokens as the rows of x and of dy = dL/dy,

    dx = dy W^T            dW = x^T dy            db = 1^T dy

On a CPU they are these very products of matrices (`measured`). As JAX derives them, dW
is made from a transposed copy of dy, and XLA adds up db by a slow tree of sums.
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
"""A policy of `jax.checkpoint`: keeps what dense layers give."""


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
    kernel: W, or Q where there is a scale. Float8 without a scale is W as it is.
    scale: One number for each output channel; None for a kernel that needs none.
    bias: b; None for none.
    dtype: Dtype in which x and kernel are multiplied.
    out_dtype: Dtype of the result, and of the sums where it is wider; None: `dtype`.
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
  """`linear`, in float32 with the gradients that CPUs are fastest at."""
  if scale is not None or dtype != "float32":
    return linear(x, kernel, scale, bias, dtype, out_dtype=out_dtype)
  y = _affine(jnp.asarray(x, dtype), jnp.asarray(kernel, dtype), bias)
  return y.astype(out_dtype or dtype)


_FORMS = {"derived": linear, "measured": measured}


class Dense(nn.Module):
  """`linear` with its parameters: kernel (in, out), bias, and what else is there.

  A scale is never initialised: it comes with the kernel that it was made with. Nor is a
  low-rank update, which is trained for a kernel that is there.
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
    # A policy sees no sum, nor into a product with a gradient of its own.
    return checkpoint_name(y, _PRODUCT)
