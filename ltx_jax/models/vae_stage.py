"""A stage of the Video-VAE: equal residual blocks, scanned.

A block keeps for the backward pass what its derivatives need, or its input alone, from
which it is then computed a second time.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from ltx_jax.config.vae import Block, VAEConfig
from ltx_jax.models.embeddings import TimestepEmbedder
from ltx_jax.models.vae_layers import ResnetBlock, TilePlace
from ltx_jax.platforms import Policy
from ltx_jax.typing import Key


def _recomputed(body: Callable, policy: Policy) -> Callable:
  # XLA would merge the second computation with the first, except inside a loop.
  return nn.remat(body, prevent_cse=policy.unroll)


REMAT = {"none": lambda body, policy: body, "full": _recomputed}
"""What a residual block keeps for the backward pass: everything, or its input alone."""


class ResStage(nn.Module):
  """Identical residual blocks, scanned, each followed by attention if configured.

  All blocks of a conditioned stage share one embedding of the noise level.

  Attributes:
    remat: What the blocks keep for the backward pass, one of `REMAT`.
  """

  block: Block
  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  conditioned: bool = False
  remat: str = "none"

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b f h w c"],
    scaled_sigma: Float[Array, "b"] | None = None,
    key: Key | None = None,
    place: TilePlace | None = None,
  ) -> Float[Array, "b f h w c"]:
    embedding = None
    if self.conditioned:
      embedder = TimestepEmbedder(4 * self.features, self.policy, name="time_embedder")
      embedding = embedder(scaled_sigma)  # b 4c
    keys = None if key is None else jax.random.split(key, self.block.num_layers)

    # A scanned function scans only the parameters of a module that it is passed.
    def body(layer: nn.Module, x: Array, embedding: Array | None, key: Key | None):
      return layer(x, embedding, key, place), None

    layers = nn.scan(
      REMAT[self.remat](body, self.policy),
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=(nn.broadcast, 0),
      length=self.block.num_layers,
      # One more than there are layers, because JAX keeps a loop over a single one.
      unroll=self.block.num_layers + 1 if self.policy.unroll else 1,
    )
    resnet = ResnetBlock(
      self.features,
      self.config,
      self.policy,
      self.causal,
      self.conditioned,
      self.block.inject_noise,
      self.block.attention_head_dim,
      name="res_blocks",
    )
    return layers(resnet, x, embedding, keys)[0]
