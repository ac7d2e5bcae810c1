"""T5 v1.1 encoder: tokens of prompts to the embeddings that the transformer attends to.

With N the RMS norm x / sqrt(mean(x^2) + eps) * scale, a block is

    h += softmax(q k^T + B + mask) v W_o      q, k, v = N(h) W_q, N(h) W_k, N(h) W_v
    h += (gelu(N(h) W_0) * N(h) W_1) W_2

There are no biases, and q k^T is not divided by sqrt(d_kv), because the initialisation
of W_q includes that factor. B is a learned number per head and bucket of relative
positions, one table for all blocks. A bucket holds one position nearby, and
logarithmically more further away.

Source: Raffel et al. 2020 (arXiv:1910.10683) and Shazeer 2020 (arXiv:2002.05202), as
`transformers` runs the checkpoints. Matmuls run in the policy's dtype; the residual
stream, the norms and the softmax stay in float32, because the activations of the XXL
model overflow float16 and lose digits in bfloat16.
"""

from __future__ import annotations

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ltx_jax.config import TextEncoderConfig
from ltx_jax.models.linear import Dense
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import AnyArray, Key, Params, Text, TextMask

TextTokens = Int[AnyArray, "b m"]


def relative_position_buckets(
  length: int, num_buckets: int, max_distance: int
) -> Int[np.ndarray, "m m"]:
  """Returns at [i, j] the bucket of key position j for query position i.

  The upper half of the buckets is for keys to the right. In each half, the first half
  has one distance per bucket; the rest covers distances up to `max_distance` in equal
  steps of their logarithm, and the last bucket everything beyond.
  """
  half = num_buckets // 2
  exact = half // 2
  position = np.arange(length)
  offset = position[None, :] - position[:, None]
  distance = np.abs(offset)
  # float32, as the checkpoints were trained: another rounding would move a boundary.
  scaled = np.maximum(distance, 1).astype(np.float32) / np.float32(exact)
  steps = np.log(scaled) / np.float32(math.log(max_distance / exact))
  far = exact + (steps * np.float32(half - exact)).astype(np.int64)
  near_or_far = np.where(distance < exact, distance, np.minimum(far, half - 1))
  return (near_or_far + half * (offset > 0)).astype(np.int32)


def _normal(fan: int) -> nn.initializers.Initializer:
  return nn.initializers.normal(fan**-0.5)


class _RMSNorm(nn.Module):
  config: TextEncoderConfig
  policy: Policy

  @nn.compact
  def __call__(self, h: Float[Array, "b m e"]) -> Float[Array, "b m e"]:
    scale = self.param("scale", nn.initializers.ones, (h.shape[-1],))
    mean_square = jnp.mean(jnp.square(h), axis=-1, keepdims=True)
    h = h * jax.lax.rsqrt(mean_square + self.config.layer_norm_epsilon)
    return (h * scale).astype(self.policy.dtype)


class _Table(nn.Module):
  """Looks up rows by index, in float32. An index outside the table gives NaN."""

  rows: int
  width: int
  init: nn.initializers.Initializer

  @nn.compact
  def __call__(self, index: Int[AnyArray, "i j"]) -> Float[Array, "i j w"]:
    table = self.param("embedding", self.init, (self.rows, self.width))
    return jnp.take(table, index, axis=0, mode="fill").astype(jnp.float32)


class _Block(nn.Module):
  """One layer of attention and feed-forward; h in float32."""

  config: TextEncoderConfig
  policy: Policy

  @nn.compact
  def __call__(
    self,
    h: Float[Array, "b m e"],
    bias: Float[Array, "k m m"],
    mask: Bool[Array, "b m"],
  ) -> tuple[Float[Array, "b m e"], None]:
    config, dtype = self.config, self.policy.dtype
    e, heads, inner = config.d_model, config.num_heads, config.num_heads * config.d_kv
    dense = functools.partial(Dense, policy=self.policy, use_bias=False)
    to_stream = functools.partial(dense, out_dtype="float32")

    def split(x: Float[Array, "b m i"]) -> Float[Array, "b m k x"]:
      return x.reshape(*x.shape[:2], heads, config.d_kv)

    x = _RMSNorm(config, self.policy, name="attention_norm")(h)
    q = split(dense(inner, kernel_init=_normal(e * config.d_kv), name="q")(x))
    k = split(dense(inner, kernel_init=_normal(e), name="k")(x))
    v = split(dense(inner, kernel_init=_normal(e), name="v")(x))
    scores = jnp.einsum(
      "bikx,bjkx->bkij", q, k, preferred_element_type=jnp.float32
    )  # b k m m
    hidden = jnp.finfo(jnp.float32).min
    scores = jnp.where(mask[:, None, None, :], scores + bias, hidden)
    weights = jax.nn.softmax(scores, axis=-1).astype(dtype)
    x = jnp.einsum("bkij,bjkx->bikx", weights, v).reshape(*h.shape[:2], inner)
    h = h + to_stream(e, kernel_init=_normal(inner), name="o")(x)

    x = _RMSNorm(config, self.policy, name="ff_norm")(h)
    gate = dense(config.d_ff, kernel_init=_normal(e), name="wi_0")(x)
    x = nn.gelu(gate) * dense(config.d_ff, kernel_init=_normal(e), name="wi_1")(x)
    h = h + to_stream(e, kernel_init=_normal(config.d_ff), name="wo")(x)
    return h, None


class TextEncoder(nn.Module):
  """Maps tokens [b m] and their mask to embeddings [b m e] in the policy's dtype.

  No token attends to padding. The embeddings of padding itself mean nothing, so whoever
  attends to the text must pass the mask on.
  """

  config: TextEncoderConfig
  policy: Policy

  @nn.compact
  def __call__(self, tokens: TextTokens, mask: TextMask) -> Text:
    config, policy = self.config, self.policy
    embedding_init = nn.initializers.normal(1.0)
    h = _Table(config.vocab_size, config.d_model, embedding_init, name="shared")(tokens)

    num_buckets = config.relative_attention_num_buckets
    buckets = relative_position_buckets(
      tokens.shape[1], num_buckets, config.relative_attention_max_distance
    )
    bias_init = _normal(config.d_model)
    bias = _Table(
      num_buckets, config.num_heads, bias_init, name="relative_attention_bias"
    )(buckets)  # m m k
    bias = jnp.transpose(bias, (2, 0, 1))  # k m m

    blocks = nn.scan(
      _Block,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=nn.broadcast,
      length=config.num_layers,
    )(config, policy, name="blocks")
    h, _ = blocks(h, bias, jnp.asarray(mask, bool))
    return _RMSNorm(config, policy, name="final_norm")(h)


def encode(
  params: Params,
  config: TextEncoderConfig,
  policy: Policy,
  tokens: TextTokens,
  mask: TextMask,
) -> Text:
  """Encodes prompts' tokens (`text.prompts.tokenize`); call it inside `jit`.

  Args:
    params: The encoder's parameters (`init`, `checkpoints.t5.load_t5`).
    tokens: Indices into the vocabulary; an index outside it gives NaN.
    mask: True for real tokens, including the end-of-sequence token.

  Returns:
    Embeddings [b m e] in `policy.dtype`; those of padding mean nothing.
  """
  return TextEncoder(config, policy).apply({"params": params}, tokens, mask)


def init(config: TextEncoderConfig, key: Key) -> Params:
  """Draws float32 parameters for training from scratch, initialised like T5 v1.1.

  Embeddings are drawn from N(0, 1), kernels from N(0, 1 / fan in), and the kernel of
  the queries from N(0, 1 / (fan in d_kv)), which replaces the missing factor 1 /
  sqrt(d_kv).
  """
  tokens = jnp.zeros((1, 2), jnp.int32)
  return TextEncoder(config, CPU).init(key, tokens, tokens)["params"]
