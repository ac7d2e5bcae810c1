"""Sinusoidal embedding of a noise level, as in PixArt-alpha and DiT.

    e(t) = (cos(t w_0), ..., cos(t w_127), sin(t w_0), ..., sin(t w_127))
    w_i = 10000^(-i / 128)

followed by two dense layers. Cosines come first. The computation is in float32.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.models.linear import Dense
from ltx_jax.platforms import Policy

CHANNELS = 256
_MAX_PERIOD = 10000.0


def sinusoid(t: Float[Array, "s"]) -> Float[Array, "s 256"]:
  """Embeds scaled noise levels (sigma x 1000 in the releases)."""
  half = CHANNELS // 2
  frequencies = jnp.exp(-jnp.log(_MAX_PERIOD) * jnp.arange(half) / half)
  angles = t.astype(jnp.float32)[:, None] * frequencies.astype(jnp.float32)
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class _Layers(nn.Module):
  width: int
  policy: Policy

  @nn.compact
  def __call__(self, embedding: Float[Array, "s 256"]) -> Float[Array, "s d"]:
    h = Dense(self.width, self.policy, name="linear_1")(embedding)
    return Dense(self.width, self.policy, name="linear_2")(nn.silu(h))


class TimestepEmbedder(nn.Module):
  """Maps scaled noise levels [s] to embeddings [s d]."""

  width: int
  policy: Policy

  @nn.compact
  def __call__(self, t: Float[Array, "s"]) -> Float[Array, "s d"]:
    layers = _Layers(self.width, self.policy, name="timestep_embedder")
    return layers(sinusoid(t))
