"""Attention by the fused kernel of TPUs: splash attention, written in Pallas.

The kernel works on blocks of queries and keys. Only the logits of one pair of blocks
exist at a time, in the chip's fast memory. The kernel needs

- head-major operands [k n x];
- numbers of tokens that are multiples of 128: others are padded, and the padding gets a
  segment of its own, because a query attends only to the keys of its own segment;
- operands [k x n] (`SEQ_MINOR`) if a head is narrower than the 128 lanes of a register:
  as [k n x] they would take twice the memory, half of it padding.

It does not divide the logits by sqrt(x), so the queries are divided first.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

RESIDUALS = "attention"
"""Name under which attention keeps its residuals for the backward pass."""

_LANES = 128
_BLOCKS = (512, 384, 256, 128)
_MASKED = -1000.0
"""Keys with a bias below this are masked; the kernel adds no biases."""


def attend_by_splash(
  q: Float[Array, "b n k x"],
  k: Float[Array, "b m k x"],
  v: Float[Array, "b m k x"],
  bias: Float[Array, "b m"] | None,
  *,
  interpret: bool = False,
) -> Float[Array, "b n k x"]:
  """Does what `attention.attend` does, by the fused kernel.

  A clip whose keys are all masked attends to all of them equally, as with finite
  biases.

  Args:
    q: Queries.
    k: Keys.
    v: Values of the keys.
    bias: 0, or a large negative number for a masked key.
    interpret: Runs the kernel without a TPU, slowly, for tests.
  """
  n, heads, x = q.shape[1:]
  m = k.shape[1]
  q = (q * (1 / math.sqrt(x))).astype(q.dtype)
  q, k, v = (_head_major(a) for a in (q, k, v))  # b k n x
  kernel = _kernel(q.shape[2], k.shape[2], heads, x, interpret)
  segments = None
  if bias is not None or k.shape[2] != m:
    segments = _segments(bias, len(q), m, (q.shape[2], k.shape[2]))
  out = jax.vmap(kernel)(q, k, v, segments)
  return jnp.moveaxis(out[:, :, :n], 1, 2)


def _head_major(a: Float[Array, "b n k x"]) -> Float[Array, "b k _ x"]:
  spare = -a.shape[1] % _LANES
  return jnp.pad(jnp.moveaxis(a, 2, 1), ((0, 0), (0, 0), (0, spare), (0, 0)))


def _segments(
  bias: Float[Array, "b m"] | None, b: int, m: int, padded: tuple[int, int]
) -> tuple[Int[Array, "b _"], Int[Array, "b _"]]:
  """Returns segments of queries and keys: 0 for queries and the keys they attend to."""
  from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

  masked = jnp.zeros((b, m), bool) if bias is None else bias < _MASKED
  masked = masked & ~masked.all(axis=1, keepdims=True)
  keys = jnp.pad(masked, ((0, 0), (0, padded[1] - m)), constant_values=True)
  return SegmentIds(jnp.zeros((b, padded[0]), jnp.int32), keys.astype(jnp.int32))


def _block(tokens: int) -> int:
  return next(size for size in _BLOCKS if tokens % size == 0)


def _kernel(n: int, m: int, heads: int, x: int, interpret: bool):
  """Makes the kernel for a shape; imports it here, so that other platforms need not."""
  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  layout = splash.QKVLayout.SEQ_MINOR if x % _LANES else splash.QKVLayout.HEAD_DIM_MINOR
  of_q, of_kv = _block(n), _block(m)
  sizes = splash.BlockSizes(
    **dict.fromkeys(("block_q", "block_q_dkv", "block_q_dq"), of_q),
    **dict.fromkeys(("block_kv", "block_kv_dkv", "block_kv_dq"), of_kv),
    **{f"{name}_layout": layout for name in "qkv"},
  )
  mask = splash.MultiHeadMask([splash.FullMask((n, m))] * heads)
  return splash.make_splash_mha(
    mask,
    block_sizes=sizes,
    head_shards=1,
    q_seq_shards=1,
    residual_checkpoint_name=RESIDUALS,
    interpret=interpret,
  )
