"""The denoising transformer: noisy latent tokens and text to velocities v = noise - x0.

    tokens -> patchify_proj -> l blocks -> norm, scale, shift -> proj_out -> velocity

`transformer_layers` holds the block. The other inputs of the blocks are computed once:

- The noise level acts only through the modulation, which is computed once per distinct
  level of a clip; each token picks its own.
- The text acts only through the keys and values of the cross-attentions, which depend
  on nothing else. `text_state` computes them for all steps of a sampling run, and
  `Transformer.velocity` takes them.
- Positions become rotary tables (`rope`).

Rows of the batch may share a text and may be perturbed (`typing.Branches`). Guidance
uses this to evaluate several branches of a clip at once.

Source: LTX-Video (arXiv:2501.00103), section on the transformer, and the PyTorch
original, whose parameter names are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ltx_jax.config import TransformerConfig
from ltx_jax.models.attention import keeps_attention
from ltx_jax.models.linear import Dense, keeps_products
from ltx_jax.models.rope import Positions, RopeTables, rope_tables
from ltx_jax.models.sharded import (
  drop_padding,
  pad_tokens,
  split_stream,
  split_tables,
  whole,
)
from ltx_jax.models.transformer_layers import (
  XAVIER,
  ZEROS,
  AdaLNSingle,
  CaptionProjection,
  TransformerBlock,
  layer_norm,
  per_token,
  table_init,
)
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import (
  PLAIN,
  AnyArray,
  Branches,
  Key,
  NoiseLevels,
  Params,
  Sigma,
  Text,
  TextMask,
  Tokens,
  VelocityFn,
)

Velocity = Float[Array, "b n channels"]
"""Velocities with `config.out_channels` channels; in every release as many as the
tokens have."""

MASK_BIAS = -10000.0
"""Added to the logits of padding. Finite, so that text of only padding is averaged."""

REMAT_POLICIES = {
  "none": None,
  "full": jax.checkpoint_policies.nothing_saveable,
  "dots": keeps_products,
  "attention": keeps_attention,
  "dots+attention": jax.checkpoint_policies.save_from_both_policies(
    keeps_products, keeps_attention
  ),
}
"""What a block keeps for the backward pass: everything (no recomputation), nothing, its
projections, attention results, or both of these, which recomputes no product."""

_NORM_OUT_EPS = 1e-6


class TextState(NamedTuple):
  """Keys and values of the text in every block, for all steps of a sampling run.

  Attributes:
    keys: Keys of every block's cross-attention, normed.
    values: Values of every block's cross-attention.
    bias: 0 for real tokens, `MASK_BIAS` for padding.
  """

  keys: Float[Array, "l b m d"]
  values: Float[Array, "l b m d"]
  bias: Float[Array, "b m"]


class Transformer(nn.Module):
  """The transformer; `__call__` is one evaluation: `text_state`, then `velocity`.

  Attributes:
    config: Sizes and options, named as in a checkpoint's metadata.
    policy: Compute dtype and attention.
    remat: What blocks keep for the backward pass, one of `REMAT_POLICIES`.

  Raises:
    ValueError: If `cross_attention_dim` is not the width, or `remat` is unknown.
  """

  config: TransformerConfig
  policy: Policy
  remat: str = "none"

  def setup(self):
    config, policy = self.config, self.policy
    _check(config, self.remat)
    dense = functools.partial(Dense, policy=policy)
    self.patchify_proj = dense(config.width, kernel_init=XAVIER)
    self.adaln_single = AdaLNSingle(config, policy)
    self.caption_projection = CaptionProjection(config, policy)
    self.blocks = TransformerBlock(config, policy)
    self.scale_shift_table = self.param(
      "scale_shift_table", table_init, (2, config.width)
    )
    self.proj_out = dense(config.out_channels, kernel_init=ZEROS)

  def _scan(self, body: Callable, in_axes: int | nn.broadcast) -> Callable:
    """Returns body(block, carry, xs) as a loop over the stacked blocks."""
    return nn.scan(
      body,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=in_axes,
      length=self.config.num_layers,
      unroll=self.config.num_layers if self.policy.unroll else 1,
    )

  def text_state(self, text: Text, mask: TextMask) -> TextState:
    """Returns the text's keys and values for every block, from T5's embeddings."""
    text = self.caption_projection(jnp.asarray(text, self.policy.dtype))  # b m d

    def body(block: TransformerBlock, carry: None, text: Array) -> tuple:
      return carry, block.text_keys_values(text)

    _, (keys, values) = self._scan(body, nn.broadcast)(self.blocks, None, text)
    bias = (1 - jnp.asarray(mask, jnp.float32)) * MASK_BIAS
    return TextState(keys, values, bias)  # l b m d

  def velocity(
    self,
    tokens: Tokens,
    rope: RopeTables,
    text: TextState,
    sigma: Sigma,
    branches: Branches = PLAIN,
    count: int | None = None,
  ) -> Velocity:
    """Returns the float32 velocity of the tokens.

    Args:
      tokens: Noisy latents, normalised.
      rope: `rope_tables` of their positions.
      text: What `text_state` returned.
      sigma: Noise levels in [0, 1], per clip or per token; per token, `NoiseLevels` is
        the cheapest form.
      branches: The text of each row, and the row's perturbations.
      count: Number of tokens that are not padding; None means all.
    """
    dtype = self.policy.dtype
    levels, index = distinct_levels(sigma)  # b s
    t = self.config.timestep_scale_multiplier * levels
    modulation, embedding = self.adaln_single(t.reshape(-1))
    modulation = modulation.reshape(*levels.shape, 6, -1)  # b s 6 d
    embedding = embedding.reshape(*levels.shape, 1, -1)  # b s 1 d
    rope = RopeTables(*(table.astype(dtype) for table in rope))

    def body(block: TransformerBlock, x: Array, layer: tuple) -> tuple:
      *text, perturbed = layer
      text = tuple(_of_rows(a, branches.text) for a in text)
      options = {"perturbed": perturbed, "count": count}
      x = block(x, text, bias, modulation, index, rope, **options)
      return split_stream(x, self.policy), None

    bias = _of_rows(text.bias, branches.text)
    policy = REMAT_POLICIES[self.remat]
    if policy is not None:
      body = nn.remat(body, policy=policy, prevent_cse=False)
    x = self.patchify_proj(jnp.asarray(tokens, dtype))  # b n d
    x = split_stream(x.astype(self.policy.stream), self.policy)
    layers = text.keys, text.values, branches.perturbation
    x, _ = self._scan(body, 0)(self.blocks, x, layers)  # b n d

    table = self.scale_shift_table.astype(jnp.float32)
    shift, scale = per_token(embedding + table, index)  # b n d
    x = (layer_norm(x, _NORM_OUT_EPS) * (1 + scale) + shift).astype(dtype)
    return self.proj_out(x).astype(jnp.float32)  # b n c

  def __call__(
    self, tokens: Tokens, coords: Positions, text: Text, mask: TextMask, sigma: Sigma
  ) -> Velocity:
    """Returns the float32 velocity v = noise - x0.

    Args:
      tokens: Noisy latents, normalised.
      coords: Positions (seconds, y pixels, x pixels); [1 n 3] if all clips share them.
      text: T5's embeddings.
      mask: True or 1 for real text tokens, False or 0 for padding.
      sigma: Noise levels in [0, 1], per clip or per token.
    """
    rows, count = tokens.shape[:2]
    rope = rope_tables(coords, self.config)
    inputs = tokens, rope, sigma
    tokens, rope, sigma = pad_tokens(inputs, (rows, count), self.policy)
    rope = RopeTables(*(split_tables(table, rows, self.policy) for table in rope))
    state = self.text_state(text, mask)
    velocity = self.velocity(tokens, rope, state, sigma, count=count)
    return drop_padding(velocity, count, self.policy)


def _check(config: TransformerConfig, remat: str) -> None:
  if config.cross_attention_dim != config.width:
    raise ValueError(
      f"The transformer's config has cross_attention_dim = "
      f"{config.cross_attention_dim}; text is projected to the width of the "
      f"transformer, so it must be {config.width}."
    )
  if remat not in REMAT_POLICIES:
    raise ValueError(
      f"No remat policy is called {remat!r}; known are {', '.join(REMAT_POLICIES)}."
    )


def _of_rows(
  texts: Float[Array, "u ..."], row: Int[AnyArray, "b"] | None
) -> Float[Array, "b ..."]:
  """Gives each row its text; called per block, so that only one block's is copied."""
  if row is None:
    return texts
  return texts.at[jnp.asarray(row)].get(mode="promise_in_bounds")


def distinct_levels(
  sigma: Sigma,
) -> tuple[Float[Array, "b s"], Int[Array, "b n"] | None]:
  """Returns the distinct noise levels of each clip, and which one each token has."""
  if isinstance(sigma, NoiseLevels):
    return jnp.asarray(sigma.sigma, jnp.float32), jnp.asarray(sigma.index)
  levels = jnp.asarray(sigma, jnp.float32)
  return levels.reshape(len(levels), -1), None


def init(config: TransformerConfig, key: Key) -> Params:
  """Returns float32 parameters for training from scratch, as a nested dict.

  `jax.eval_shape(functools.partial(init, config), key)` gives only their shapes. Under
  `jax.jit` with `out_shardings` each device computes and holds only its own shards.
  """
  clip = jnp.zeros((1, 1, config.in_channels)), jnp.zeros((1, 1, 3))
  text = jnp.zeros((1, 1, config.caption_channels)), jnp.ones((1, 1), bool)
  module = Transformer(config, CPU)
  return module.init(key, *clip, *text, jnp.zeros(1))["params"]


def text_state(
  params: Params,
  config: TransformerConfig,
  policy: Policy,
  text: Text,
  mask: TextMask,
) -> TextState:
  """Returns the text input of `velocity`: every block's keys and values."""
  module = Transformer(config, policy)
  return module.apply({"params": params}, text, mask, method="text_state")


def velocity_fn(config: TransformerConfig, policy: Policy) -> VelocityFn:
  """Returns velocity(params, text_state, tokens, rope_tables, sigma, branches).

  It is the form for sampling: the result is replicated on every device of the mesh.
  """
  module = Transformer(config, policy)

  def velocity(
    params: Params,
    text: TextState,
    tokens: Tokens,
    rope: RopeTables,
    sigma: Sigma,
    branches: Branches = PLAIN,
  ) -> Velocity:
    rows, count = tokens.shape[:2]
    inputs = pad_tokens((tokens, rope, sigma), (rows, count), policy)
    tokens, rope, sigma = inputs
    inputs = tokens, rope, text, sigma, branches, count
    padded = module.apply({"params": params}, *inputs, method="velocity")
    return whole(padded, policy)[:, :count]

  return velocity
