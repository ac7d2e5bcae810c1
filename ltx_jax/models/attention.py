"""Softmax attention behind one signature.

  attend(q, k, v, bias) = softmax(q k^T / sqrt(x) + bias) v        per clip and head

The logits of a whole clip are n x m: 4.8 GB in float32 for 6144 tokens and 32 heads.
`xla` therefore works on as many queries at a time as keep them within `LOGITS_BYTES`,
and computes a chunk again when gradients are taken rather than keep it. `cudnn` is the
fused kernel of NVIDIA GPUs, which never has them in memory; for shapes that it does not
take, `xla` stands in. `splash` is that of TPUs (`attention_splash`).

Logits and softmax are float32 in all of them.

For the backward pass each kernel keeps what it gives, and its softmax's sums; a block
that is computed again need not run it again where `keeps_attention` lets it keep those.
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
"""What the float32 logits of one chunk of queries may take, over batch and heads."""

_FUSED_WIDTHS = range(8, 129, 8)


# cuDNN's kernel under gradients. What it keeps cannot be named from outside: a name is
# a copy, and the backward pass reads the kernel's own results.
_CUDNN_FORWARD = "dot_product_attention_fwd_wrapper"


def _is_cudnn(primitive: Any, *__: Any, **_: Any) -> bool:
  return primitive.name == _CUDNN_FORWARD


keeps_attention = jax.checkpoint_policies.save_from_both_policies(
  jax.checkpoint_policies.save_only_these_names(RESIDUALS), _is_cudnn
)
"""A policy of `jax.checkpoint`: keeps results and softmax sums of attention alone."""


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
  # The sum divides the result, which is smaller than the weights wherever m > x.
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
  """`attend` by XLA, with at most `logits_bytes` of logits, or one query's, at a time.

  The bound counts the batch that it is given: over a mesh a device's share of it.
  """
  # Head-major operands make both products plain batched matmuls: 1.3x faster on a CPU
  # than leaving the transposes to the compiler.
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
  """`attend` by the fused kernel, or by XLA what that does not take.

  It has heads of a multiple of 8 channels, at most 128 on every GPU, and no gradient of
  a bias where a number of tokens is odd. Who calls does not say whether there will be
  a gradient.
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
    # The kernel wants a bias for every query. It stays a finite bias, not a mask: a
    # clip whose text is all padding then averages over it, as in the other path.
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
  """Returns attention of the queries to the keys' values, per clip and head.

  Args:
    q: Queries of n tokens.
    k: Keys of m tokens.
    v: Their values.
    bias: Added to the logits of a key, the same for all queries and heads: 0 to attend
      to it, a large negative number not to. None attends to all.
    implementation: The policy's `attention`.

  Raises:
    ValueError: where `cudnn` is asked to compute in float32.
  """
  return IMPLEMENTATIONS[implementation](q, k, v, bias)
