"""Softmax attention behind one signature.

  attend(q, k, v, bias) = softmax(q k^T / sqrt(x) + bias) v        per clip and head

The logits of a whole clip are n x m: 4.8 GB in float32 for 6144 tokens and 32 heads.
`xla` therefore works on chunks of queries whose logits stay within `LOGITS_BYTES`; for
gradients it computes a chunk again instead of keeping it. `cudnn` is the fused kernel
of NVIDIA GPUs, which never stores the logits; for shapes that it does not support,
`xla` runs instead. `splash` is the fused kernel of TPUs (`attention_splash`). All of
them use float32 for logits and softmax.

For the backward pass each kernel keeps its result and the sums of its softmax. With the
policy `keeps_attention`, a rematerialised block reuses these instead of running
attention again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from ltx_jax.models.attention_splash import RESIDUALS, attend_by_splash
from ltx_jax.platforms import Attention

Queries = Float[Array, "b n k x"]
Keys = Float[Array, "b m k x"]
Bias = Float[Array, "b m"]

LOGITS_BYTES = 256 * 2**20
"""Limit for the float32 logits of one chunk of queries, over batch and heads."""

_FUSED_WIDTHS = range(8, 129, 8)


# Forward pass of cuDNN's kernel under gradients. It is matched by function, because
# what it keeps cannot be named from outside: a name makes a copy, and the backward pass
# reads the kernel's own results.
_CUDNN_FORWARD = "dot_product_attention_fwd_wrapper"


def _is_cudnn(primitive: Any, *__: Any, **_: Any) -> bool:
  return primitive.name == _CUDNN_FORWARD


keeps_attention = jax.checkpoint_policies.save_from_both_policies(
  jax.checkpoint_policies.save_only_these_names(RESIDUALS), _is_cudnn
)
"""A policy of `jax.checkpoint` that keeps only attention results and softmax sums."""


def _head_major_attention(
  q: Float[Array, "b k n x"],
  k: Float[Array, "b k m x"],
  v: Float[Array, "b k m x"],
  bias: Bias | None,
) -> Float[Array, "b k n x"]:
  scale = 1 / math.sqrt(q.shape[-1])
  logits = jnp.einsum("bknx,bkmx->bknm", q, k, preferred_element_type=jnp.float32)
  logits = logits * scale
  if bias is not None:
    logits = logits + bias[:, None, None, :].astype(jnp.float32)
  # Divide the result, not the weights: it is the smaller array when m > x.
  largest = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
  weights = jnp.exp(logits - largest)
  total = weights.sum(axis=-1, keepdims=True)
  out = jnp.einsum(
    "bknm,bkmx->bknx", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
  )
  return (out / total).astype(q.dtype)


def attend_in_chunks(
  q: Queries, k: Keys, v: Keys, bias: Bias | None, logits_bytes: int = LOGITS_BYTES
) -> Queries:
  """Does what `attend` does, by XLA, with at most `logits_bytes` of logits at a time.

  A chunk has at least one query. The limit counts the local batch: on a mesh, the share
  of one device.
  """
  # With head-major operands both products are plain batched matmuls: 1.3x faster on a
  # CPU than leaving the transposes to the compiler.
  q, k, v = (jnp.moveaxis(a, 2, 1) for a in (q, k, v))  # b k n x
  b, heads, n, x = q.shape
  most = max(1, logits_bytes // (4 * b * heads * k.shape[2]))
  chunks = math.ceil(n / most)
  if chunks == 1:
    out = jnp.moveaxis(_head_major_attention(q, k, v, bias), 1, 2)
    return checkpoint_name(out, RESIDUALS)

  size = math.ceil(n / chunks)
  q = jnp.pad(q, ((0, 0), (0, 0), (0, chunks * size - n), (0, 0)))
  q = jnp.moveaxis(q.reshape(b, heads, chunks, size, x), 2, 0)
  chunk = jax.checkpoint(lambda q: _head_major_attention(q, k, v, bias))
  out = jax.lax.map(chunk, q)  # chunks b k size x
  out = jnp.moveaxis(out, (0, 3), (1, 2))  # b chunks size k x
  return checkpoint_name(out.reshape(b, chunks * size, heads, x)[:, :n], RESIDUALS)


def _cudnn(q: Queries, k: Keys, v: Keys, bias: Bias | None) -> Queries:
  """Does what `attend` does, by the fused kernel, or by XLA if that does not support
  it.

  The kernel needs heads of a multiple of 8 channels, at most 128 on every GPU. It has
  no gradient of a bias if a number of tokens is odd; since the caller does not say
  whether gradients follow, such shapes always go to XLA.
  """
  if q.dtype not in (jnp.bfloat16, jnp.float16):
    raise ValueError(
      f"Attention 'cudnn' got {q.dtype} queries; it runs in bfloat16 or float16. "
      "Choose one of them as the policy's dtype, or attention 'xla'."
    )
  odd = q.shape[1] % 2 or k.shape[1] % 2
  if q.shape[-1] not in _FUSED_WIDTHS or (bias is not None and odd):
    return attend_in_chunks(q, k, v, bias)
  if bias is not None:
    # The kernel needs a bias for every query. It stays a finite bias, not a mask: a
    # clip whose text is all padding then averages over it, as on the other path.
    shape = (q.shape[0], 1, q.shape[1], k.shape[1])
    bias = jnp.broadcast_to(bias[:, None, None, :].astype(q.dtype), shape)
  return jax.nn.dot_product_attention(q, k, v, bias=bias, implementation="cudnn")


IMPLEMENTATIONS: dict[str, Callable[[Queries, Keys, Keys, Bias | None], Queries]] = {
  "xla": attend_in_chunks,
  "cudnn": _cudnn,
  "splash": attend_by_splash,
}


def attend(
  q: Queries, k: Keys, v: Keys, bias: Bias | None, implementation: Attention
) -> Queries:
  """Returns attention of the queries over the keys' values, per clip and head.

  Args:
    q: Queries of n tokens.
    k: Keys of m tokens.
    v: Values of m tokens.
    bias: Added to the logits of each key, for all queries and heads: 0 attends to the
      key, a large negative number masks it. None attends to all.
    implementation: The policy's `attention`.

  Raises:
    ValueError: If `cudnn` is asked to compute in float32.
  """
  return IMPLEMENTATIONS[implementation](q, k, v, bias)
