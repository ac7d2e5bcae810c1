"""The parts of the denoising transformer: its block, and what feeds all blocks.

N is the RMS norm without weights, and (shift, scale, gate) x 2 are six vectors that
depend on the noise level and the block. A block is

    x += gate_1 SelfAttention(N(x) (1 + scale_1) + shift_1)     rotary positions
    x += CrossAttention(x, text)                                not normed, not gated
    x += gate_2 MLP(N(x) (1 + scale_2) + shift_2)

Queries and keys are RMS-normed over the full width. The six vectors are a projection of
the noise level that all blocks share, plus a table that belongs to the block
(AdaLN-single). Norms, modulation and gates are float32. The matmuls are in the policy's
dtype, and the residual stream in its `stream`, which differs from it only for float16.

A row of the batch may be perturbed in a block (`typing.Perturbation`, for guidance).
Then the result of its self-attention, before the output projection, is replaced by each
token's own value or by the attention's input, or the row skips the block. The masks are
data, so that one program serves every choice of blocks.

Source: LTX-Video (arXiv:2501.00103), section on the transformer; PixArt-alpha
(arXiv:2310.00426) for AdaLN-single; DiT (arXiv:2212.09748) for the initial values. The
details follow the PyTorch original, whose parameter names are kept.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ltx_jax.config import TransformerConfig
from ltx_jax.models.embeddings import TimestepEmbedder
from ltx_jax.models.linear import Dense
from ltx_jax.models.rope import RopeTables, rotate
from ltx_jax.models.sharded import attend
from ltx_jax.platforms import Policy
from ltx_jax.typing import Key, Perturbation

_QK_NORM_EPS = 1e-5
_MLP_RATIO = 4

# Initial values for training from scratch, after DiT. Layers that write to the residual
# stream without a gate start at zero (cross-attention, the output), and so does the
# projection of the noise level. The gates are then rows of the tables, of size 1 /
# sqrt(d) as in the original, so blocks start close to the identity.
XAVIER = nn.initializers.xavier_uniform()
ZEROS = nn.initializers.zeros_init()


def table_init(key: Key, shape: tuple[int, ...], dtype: type = jnp.float32) -> Array:
  """Draws a modulation table (rows, d) of size 1 / sqrt(d)."""
  return jax.random.normal(key, shape, dtype) * shape[-1] ** -0.5


def rms_norm(x: Float[Array, "b n d"], eps: float) -> Float[Array, "b n d"]:
  """Divides by the root mean square of the channels; float32 in and out of bfloat16."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + eps)


def modulated(
  x: Float[Array, "b n d"],
  shift: Float[Array, "b _ d"],
  scale: Float[Array, "b _ d"],
  eps: float,
) -> Float[Array, "b n d"]:
  """Normalises, scales and shifts, in float32."""
  return rms_norm(x, eps) * (1 + scale) + shift


def layer_norm(x: Float[Array, "b n d"], eps: float) -> Float[Array, "b n d"]:
  """Normalises the channels to mean 0 and variance 1, without weights, in float32."""
  x = x.astype(jnp.float32)
  return rms_norm(x - x.mean(axis=-1, keepdims=True), eps)


def per_token(
  values: Float[Array, "b s r d"], index: Int[Array, "b n"] | None
) -> list[Float[Array, "b _ d"]]:
  """Returns the r rows of each token's noise level, each [b n d], or [b 1 d].

  If s is 1 or n, the rows broadcast or fit already, and `index` is None. Otherwise each
  row is a chain of s - 1 selects. The compiler fuses them into the arithmetic that
  follows, so that no [b n d] array of modulation is stored. Their gradient is a sum
  over tokens, where the gradient of a gather would be a scatter.
  """
  rows = [values[:, :, r] for r in range(values.shape[2])]
  if index is None:
    return rows

  def pick(row: Float[Array, "b s d"]) -> Float[Array, "b n d"]:
    picked = jnp.where(index[..., None] == 0, row[:, :1], row[:, -1:])
    for level in range(1, row.shape[1] - 1):
      picked = jnp.where(index[..., None] == level, row[:, level : level + 1], picked)
    return picked

  return [pick(row) for row in rows]


def saturate(x: Float[Array, "b n d"], dtype: str) -> Float[Array, "b n d"]:
  """Casts a stream that is not normed; values beyond float16's range stay finite."""
  if x.dtype == dtype:
    return x
  largest = jnp.finfo(dtype).max
  return jnp.clip(x, -largest, largest).astype(dtype)


def _where_row(
  rows: Bool[Array, "b"], there: Float[Array, "..."], elsewhere: Float[Array, "b n d"]
) -> Float[Array, "b n d"]:
  return jnp.where(jnp.asarray(rows)[:, None, None], there, elsewhere)


def _added(
  x: Float[Array, "b n d"], more: Float[Array, "b n d"], perturbed: Perturbation | None
) -> Float[Array, "b n d"]:
  """Adds to the stream, except in rows that skip the block.

  Choosing between the stream before and after the block would keep both in memory.
  """
  if perturbed is not None:
    more = _where_row(perturbed.block, jnp.zeros((), more.dtype), more)
  return (x + more).astype(x.dtype)


class Attention(nn.Module):
  """Multi-head attention; the block calls its parts one by one."""

  config: TransformerConfig
  policy: Policy
  out_init: Callable = XAVIER

  def setup(self):
    project = functools.partial(
      Dense, self.config.width, self.policy, kernel_init=XAVIER
    )
    self.to_q = project(use_bias=self.config.attention_bias)
    self.to_k = project(use_bias=self.config.attention_bias)
    self.to_v = project(use_bias=self.config.attention_bias)
    self.to_out = project(kernel_init=self.out_init, out_dtype=self.policy.stream)
    if self.config.qk_norm is not None:
      self.q_norm = nn.RMSNorm(_QK_NORM_EPS, dtype=self.policy.dtype)
      self.k_norm = nn.RMSNorm(_QK_NORM_EPS, dtype=self.policy.dtype)

  def queries(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    q = self.to_q(x)
    return q if self.config.qk_norm is None else self.q_norm(q)

  def keys_values(
    self, context: Float[Array, "b m d"]
  ) -> tuple[Float[Array, "b m d"], Float[Array, "b m d"]]:
    k = self.to_k(context)
    k = k if self.config.qk_norm is None else self.k_norm(k)
    return k, self.to_v(context)

  def mix(
    self,
    q: Float[Array, "b n d"],
    k: Float[Array, "b m d"],
    v: Float[Array, "b m d"],
    bias: Float[Array, "b m"] | None,
    count: int | None = None,
  ) -> Float[Array, "b n d"]:
    """Returns the results of all heads, side by side; `to_out` comes after.

    Keys after the first `count` are padding.
    """
    heads = self.config.num_attention_heads, self.config.attention_head_dim
    q, k, v = (a.reshape(*a.shape[:2], *heads) for a in (q, k, v))  # b n k x
    out = attend(q, k, v, bias, self.policy, count)
    return out.reshape(*out.shape[:2], -1)  # b n d


class FeedForward(nn.Module):
  """Two dense layers, four times as wide between, with a tanh-approximated GELU."""

  config: TransformerConfig
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    dense = functools.partial(Dense, policy=self.policy, kernel_init=XAVIER)
    h = dense(_MLP_RATIO * self.config.width, name="proj_in")(x)  # b n 4d
    out = dense(self.config.width, out_dtype=self.policy.stream, name="proj_out")
    return out(nn.gelu(h, approximate=True))


class TransformerBlock(nn.Module):
  """One transformer block; see the equations above."""

  config: TransformerConfig
  policy: Policy

  def setup(self):
    self.scale_shift_table = self.param(
      "scale_shift_table", table_init, (6, self.config.width)
    )
    self.attn1 = Attention(self.config, self.policy)
    self.attn2 = Attention(self.config, self.policy, out_init=ZEROS)
    self.ff = FeedForward(self.config, self.policy)

  def text_keys_values(
    self, text: Float[Array, "b m d"]
  ) -> tuple[Float[Array, "b m d"], Float[Array, "b m d"]]:
    return self.attn2.keys_values(text)

  def __call__(
    self,
    x: Float[Array, "b n d"],
    text: tuple[Float[Array, "b m d"], Float[Array, "b m d"]],
    bias: Float[Array, "b m"],
    modulation: Float[Array, "b s 6 d"],
    index: Int[Array, "b n"] | None,
    rope: RopeTables,
    *,
    perturbed: Perturbation | None = None,
    count: int | None = None,
  ) -> Float[Array, "b n d"]:
    """Returns the stream after the block.

    Args:
      x: The stream.
      text: Keys and values of the text, from `text_keys_values`.
      bias: Bias of the text's keys, which masks padding.
      modulation: The six vectors of each noise level, shared by all blocks.
      index: Index of each token's noise level (`per_token`).
      rope: Rotary tables.
      perturbed: Masks [b] of this block; None perturbs no row.
      count: Number of tokens that are not padding; None means all.
    """
    dtype = self.policy.dtype
    add = functools.partial(_added, perturbed=perturbed)
    eps = self.config.norm_eps
    modulation = modulation + self.scale_shift_table.astype(jnp.float32)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = per_token(modulation, index)

    h = modulated(x, shift_1, scale_1, eps).astype(dtype)
    q, (k, v) = self.attn1.queries(h), self.attn1.keys_values(h)
    q, k = (rotate(a, rope, self.policy.rotation) for a in (q, k))
    mixed = self.attn1.mix(q, k, v, None, count)
    if perturbed is not None:
      mixed = _where_row(perturbed.values, v, mixed)
      mixed = _where_row(perturbed.attention, h, mixed)
    x = add(x, gate_1 * self.attn1.to_out(mixed))

    mixed = self.attn2.mix(self.attn2.queries(saturate(x, dtype)), *text, bias)
    x = add(x, self.attn2.to_out(mixed))

    h = modulated(x, shift_2, scale_2, eps).astype(dtype)
    return add(x, gate_2 * self.ff(h))


class CaptionProjection(nn.Module):
  """Projects text embeddings to the transformer's width."""

  config: TransformerConfig
  policy: Policy

  @nn.compact
  def __call__(self, text: Float[Array, "b m e"]) -> Float[Array, "b m d"]:
    dense = functools.partial(Dense, self.config.width, self.policy, kernel_init=XAVIER)
    return dense(name="linear_2")(
      nn.gelu(dense(name="linear_1")(text), approximate=True)
    )


class AdaLNSingle(nn.Module):
  """Maps noise levels to their embedding and the six vectors that all blocks share."""

  config: TransformerConfig
  policy: Policy

  @nn.compact
  def __call__(
    self, t: Float[Array, "s"]
  ) -> tuple[Float[Array, "s 6 d"], Float[Array, "s d"]]:
    width = self.config.width
    float32 = dataclasses.replace(self.policy, dtype="float32")
    embedding = TimestepEmbedder(width, float32, name="emb")(t)  # s d
    # The large matrix is read in the compute dtype; the sums are float32.
    modulation = Dense(
      6 * width,
      self.policy,
      kernel_init=ZEROS,
      out_dtype="float32",
      name="linear",
    )(nn.silu(embedding))
    return modulation.reshape(-1, 6, width), embedding
