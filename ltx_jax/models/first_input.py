"""The input of the transformer's first block, computed without running the block.

It shows how much a step's input differs from another step's (`diffusion.step_cache`).
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config import TransformerConfig
from ltx_jax.models.transformer import distinct_levels
from ltx_jax.models.transformer_layers import AdaLNSingle, modulated, per_token
from ltx_jax.platforms import Policy
from ltx_jax.typing import Params, Sigma, Tokens


def first_input_fn(
  config: TransformerConfig, policy: Policy
) -> Callable[[Params, Tokens, Sigma], Float[Array, "b n d"]]:
  """Returns (params, tokens, sigma) -> the first block's normed, modulated tokens."""

  def first_input(
    params: Params, tokens: Tokens, sigma: Sigma
  ) -> Float[Array, "b n d"]:
    levels, index = distinct_levels(sigma)  # b s
    t = config.timestep_scale_multiplier * levels.reshape(-1)
    adaln = {"params": params["adaln_single"]}
    modulation, _ = AdaLNSingle(config, policy).apply(adaln, t)
    modulation = modulation.reshape(*levels.shape, 6, -1)  # b s 6 d
    table = params["blocks"]["scale_shift_table"][0]
    shift, scale, *_ = per_token(modulation + table.astype(jnp.float32), index)
    project = nn.Dense(config.width, dtype=policy.dtype)
    x = project.apply({"params": params["patchify_proj"]}, tokens)  # b n d
    return modulated(x, shift, scale, config.norm_eps).astype(policy.dtype)

  return first_input
