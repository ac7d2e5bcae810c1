"""What the transformer learns: the rectified-flow loss of clips, some partly given.

    xt   = (1 - sigma) x0 + sigma noise         sigma: shifted log-normal, tails filled
    loss = |v(xt, text, sigma) - (noise - x0)|^2      mean over tokens, then over clips

Text-to-video and image-to-video are one model. Of some clips the first latent frame is
given: its tokens have a low noise level of their own, which the network is told, and do
not count in the loss. An image, being nothing but a first frame, is never given.

Every token of a clip has one of its few noise levels (`NoiseLevels`), by what the token
is (`conditioning.Layout`):

    0, free       sigma ~ the law of `timesteps`, shifted by the whole clip's tokens
    1, the first  where it is given min(sigma, U[0, first_frame_max_sigma]), else sigma

Source: the LTX-Video paper (arXiv:2501.00103), sections on training and on
image-to-video.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ltx_jax.config.runs import FlowConfig
from ltx_jax.diffusion import flow, timesteps
from ltx_jax.diffusion.conditioning import Layout
from ltx_jax.typing import AnyArray, Key, NoiseLevels, Tokens

Network = Callable[[Tokens, Float[AnyArray, "#b n 3"], NoiseLevels], Tokens]
"""(xt, coordinates, noise levels) -> velocity, under the clips' texts."""


class ClipLosses(NamedTuple):
  """The loss of each clip, and the noise level of its free tokens."""

  loss: Float[Array, "b"]
  sigma: Float[Array, "b"]


Grids = Int[AnyArray, "b 3"]
"""Frames, rows and columns of each clip's latents, before any token is dropped."""


def first_frame(
  tokens: Tokens,
  coords: Float[AnyArray, "#b n 3"],
  places: Int[AnyArray, "b n 3"],
  grids: Grids,
) -> Layout:
  """Returns clips of which the first latent frame may be given; of images it is not.

  Args:
    tokens: Tokens of the clips, those that are kept.
    coords: Their positions.
    places: Frame, row and column of each in its clip's latents.
    grids: Sizes of the clips' latents.
  """
  first = (places[..., 0] == 0) & (grids[:, :1] > 1)  # b n
  return Layout(tokens, coords, first.astype(jnp.int32))


def draw_levels(
  key: Key, layout: Layout, grids: Grids, config: FlowConfig
) -> tuple[NoiseLevels, Bool[Array, "b n"]]:
  """Draws each clip's noise level, and that of its first frame where it is given.

  Args:
    key: A random key.
    layout: Tokens of the clips.
    grids: Sizes of the clips' latents.
    config: The law of the levels, and how much is given.

  Returns:
    The levels [b 2] with each token's choice [b n], and which tokens are given.
  """
  key_sigma, key_given, key_first = jax.random.split(key, 3)
  clips = len(layout.tokens)
  mu = timesteps.token_shift(jnp.prod(grids, axis=1), config.shift_at_most)  # b
  sigma = timesteps.draw(
    key_sigma, (clips,), mu, config.quantiles, config.uniform_share
  )
  given = jax.random.bernoulli(key_given, config.first_frame_probability, (clips,))
  low = config.first_frame_max_sigma * jax.random.uniform(key_first, (clips,))
  given = given[:, None] & (layout.source == 1)  # b n
  levels = jnp.stack([sigma, jnp.minimum(low, sigma)], axis=1)  # b 2
  return NoiseLevels(levels, given.astype(jnp.int32)), given


def loss(
  network: Network, layout: Layout, grids: Grids, key: Key, config: FlowConfig
) -> ClipLosses:
  """Returns the loss of each clip at noise levels, and for noise, drawn from a key."""
  key_levels, key_noise = jax.random.split(key)
  levels, given = draw_levels(key_levels, layout, grids, config)
  noise = jax.random.normal(key_noise, layout.tokens.shape)
  return _clip_losses(network, layout, levels, noise, ~given)


def loss_at(
  network: Network, layout: Layout, sigma: Float[Array, "b"], key: Key
) -> ClipLosses:
  """Returns the loss of each clip at a noise level of its own, none of it given."""
  noise = jax.random.normal(key, layout.tokens.shape)
  clips, tokens = noise.shape[:2]
  levels = NoiseLevels(sigma[:, None], jnp.zeros((clips, tokens), jnp.int32))
  return _clip_losses(network, layout, levels, noise, None)


def _clip_losses(
  network: Network,
  layout: Layout,
  levels: NoiseLevels,
  noise: Tokens,
  counts: Bool[Array, "b n"] | None,
) -> ClipLosses:
  x0 = layout.tokens  # b n c
  sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)  # b n
  xt = flow.interpolate(x0, noise, sigma)
  v = network(xt, layout.coords, levels)
  losses = flow.clip_losses(v, flow.velocity(x0, noise), counts)
  return ClipLosses(losses, levels.sigma[:, 0])
