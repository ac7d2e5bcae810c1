"""Rows for attention alone, by the device's own kernel, and its gradients."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from ltx_jax.models.attention import attend, attend_in_chunks
from ltx_jax.models.transformer import MASK_BIAS
from ltx_jax.platforms import Policy
from sample.benchmark.device import weights
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes

_REFERENCE_BYTES = (
  64 * 2**20
)  # Limit of the logits, so that chunks differ from those of the tested kernel.


def short(sizes: Sizes, policy: Policy) -> Job:
  """One call at the number of tokens of a clip."""
  return _forward(sizes, policy, sizes.attention[0])


def long(sizes: Sizes, policy: Policy) -> Job:
  """One call at the number of tokens of a clip four times as long."""
  return _forward(sizes, policy, sizes.attention[1])


def gradients(sizes: Sizes, policy: Policy) -> Job:
  """A call and its gradients, timed, with errors against float32 in plain chunks.

  An error is the gradient's largest error divided by its largest number, for a clip's
  attention to itself, and to a text of which half is padding.
  """
  n = sizes.attention[0]
  q, k, v = _inputs(sizes, policy, n, n)
  program = jax.jit(functools.partial(_gradients, policy.attention))
  figures = {"error": _error(policy, q, k, v, None)}
  m = sizes.text_tokens
  _, k_text, v_text = _inputs(sizes, policy, n, m)
  bias = jnp.where(jnp.arange(m) < m // 2, 0.0, MASK_BIAS)[None]
  figures["error, text"] = _error(policy, q, k_text, v_text, bias)
  flops = 3 * _flops(sizes, n)
  return Job(lambda: program(q, k, v, None), flops, figures=figures)


def _forward(sizes: Sizes, policy: Policy, tokens: int) -> Job:
  q, k, v = _inputs(sizes, policy, tokens, tokens)
  program = jax.jit(lambda q, k, v: attend(q, k, v, None, policy.attention))
  return Job(lambda: program(q, k, v), _flops(sizes, tokens))


def _flops(sizes: Sizes, tokens: int) -> int:
  return 4 * tokens**2 * sizes.model.transformer.width


def _inputs(
  sizes: Sizes, policy: Policy, queries: int, keys: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  config = sizes.model.transformer
  shape = config.num_attention_heads, config.attention_head_dim
  q = weights.normal(1, queries, *shape, dtype=policy.dtype)
  k, v = (weights.normal(2, keys, *shape, dtype=policy.dtype)[i, None] for i in (0, 1))
  return q, k, v


def _loss(attention, q, k, v, bias):
  """Returns a sum in which every output has a different weight."""
  out = attention(q, k, v, bias).astype(jnp.float32)
  return jnp.sum(
    out * jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)
  )


def _gradients(implementation, q, k, v, bias):
  attention = functools.partial(attend, implementation=implementation)
  return jax.grad(functools.partial(_loss, attention), (0, 1, 2))(q, k, v, bias)


def _error(policy: Policy, q, k, v, bias) -> float:
  found = jax.jit(functools.partial(_gradients, policy.attention))(q, k, v, bias)
  plain = functools.partial(attend_in_chunks, logits_bytes=_REFERENCE_BYTES)
  inputs = (a.astype(jnp.float32) for a in (q, k, v))
  with jax.default_matmul_precision("highest"):  # No TF32.
    right = jax.jit(jax.grad(functools.partial(_loss, plain), (0, 1, 2)))(*inputs, bias)
  errors = [
    jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max()
    for a, b in zip(found, right, strict=True)
  ]
  return float(max(errors))
