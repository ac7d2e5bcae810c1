"""The transformer's training loss: rectified flow on clips that may be partly given.

    xt   = (1 - sigma) x0 + sigma noise         sigma: shifted log-normal, tails filled
    loss = |v(xt, text, sigma) - (noise - x0)|^2      mean over tokens, then over clips

One model makes videos from texts, from images and from clips. The tasks differ in what
is given: the first latent frame of a clip or several of them, its last frame, or
another clip. Given tokens have a low noise level of their own, which the network is
told, and do not count in the loss. Every token has one of its clip's few noise levels
(`NoiseLevels`), chosen by what it belongs to (`conditioning.Layout`):

    0  learned tokens    sigma ~ the law of `timesteps`, shifted by the clip's tokens
    1  first frames      min(sigma, U[0, max_sigma])
    2  extra tokens      the same, drawn again for each item that is shown next to the
    clip

An image consists of a first frame only, so that frame is never given.

Source: the LTX-Video paper (arXiv:2501.00103), sections on training and on
image-to-video.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import FlowConfig
from ltx_jax.diffusion import flow as flow_lib
from ltx_jax.diffusion import timesteps
from ltx_jax.diffusion.conditioning import Beside, Layout, lay_out
from ltx_jax.typing import AnyArray, Key, NoiseLevels, Tokens

Network = Callable[[Tokens, Float[AnyArray, "#b n 3"], NoiseLevels], Tokens]
"""(xt, coordinates, noise levels) -> velocity, under the clips' texts."""


class ClipLosses(NamedTuple):
  """Loss of each clip, and the noise level of its learned tokens."""

  loss: Float[Array, "b"]
  sigma: Float[Array, "b"]


Grids = Int[AnyArray, "b 3"]
"""Frames, rows and columns of each clip's latents, before any token is dropped."""


class Clips(NamedTuple):
  """Clips to learn from.

  Attributes:
    tokens: Tokens of the clips that are kept.
    coords: Positions of these tokens.
    places: Frame, row and column of each token in its clip's latents.
    grids: Sizes of the clips' latents.
    beside: Extra tokens that are shown next to the clips, with positions.
  """

  tokens: Tokens
  coords: Float[AnyArray, "#b n 3"]
  places: Int[AnyArray, "b n 3"]
  grids: Grids
  beside: tuple[Beside, ...] = ()


def draw_given(key: Key, clips: Clips, config: ConditionConfig) -> Layout:
  """Draws how many first latent frames of each clip are given; none of an image."""
  count = len(clips.tokens)
  kind = jax.random.uniform(key, (count,))
  most = config.first_frames_at_most + 1
  several = jax.random.randint(jax.random.fold_in(key, 1), (count,), 2, most)
  several = jnp.where(kind < config.first_frame + config.first_frames, several, 0)
  frames = jnp.where(kind < config.first_frame, 1, several)
  frames = jnp.minimum(frames, clips.grids[:, 0] - 1)  # b
  source = (clips.places[..., 0] < frames[:, None]).astype(jnp.int32)  # b n
  return lay_out(clips.tokens, clips.coords, source, clips.beside, first=2)


def draw_levels(
  key: Key, clips: Clips, flow: FlowConfig, conditions: ConditionConfig
) -> tuple[Layout, NoiseLevels]:
  """Draws which tokens of each clip are given, and at which noise levels.

  Args:
    key: A random key.
    clips: Clips to learn from.
    flow: Law of the noise levels.
    conditions: How often and how much is given.

  Returns:
    The tokens in the network's order, and the levels [b s] with each token's choice.
  """
  key_sigma, key_given, key_low = jax.random.split(key, 3)
  layout = draw_given(key_given, clips, conditions)
  count = len(clips.tokens)
  mu = flow.shift
  if mu is None:
    mu = timesteps.token_shift(jnp.prod(clips.grids, axis=1), flow.shift_at_most)  # b
  law = flow.quantiles, flow.uniform_share, flow.spread
  sigma = timesteps.draw(key_sigma, (count,), mu, *law)
  keys = [key_low, *(jax.random.fold_in(key_low, k) for k in range(len(clips.beside)))]
  low = [conditions.max_sigma * jax.random.uniform(key, (count,)) for key in keys]
  levels = jnp.stack([sigma, *(jnp.minimum(x, sigma) for x in low)], axis=1)  # b s
  return layout, NoiseLevels(levels, layout.source)


def loss(
  network: Network,
  clips: Clips,
  key: Key,
  flow: FlowConfig,
  conditions: ConditionConfig,
) -> ClipLosses:
  """Returns the loss of each clip, at noise levels and for noise drawn from a key."""
  key_levels, key_noise = jax.random.split(key)
  layout, levels = draw_levels(key_levels, clips, flow, conditions)
  noise = jax.random.normal(key_noise, layout.tokens.shape)
  return _clip_losses(network, layout, levels, noise)


def loss_at(
  network: Network, clips: Clips, sigma: Float[Array, "b"], key: Key
) -> ClipLosses:
  """Returns the loss of each clip at a given noise level, with no frame given.

  Extra tokens are shown without noise.
  """
  nothing = jnp.zeros(clips.places.shape[:2], jnp.int32)
  layout = lay_out(clips.tokens, clips.coords, nothing, clips.beside)
  shown = jnp.zeros((len(sigma), len(clips.beside)))
  levels = NoiseLevels(jnp.column_stack([sigma, shown]), layout.source)
  noise = jax.random.normal(key, layout.tokens.shape)
  return _clip_losses(network, layout, levels, noise)


def _clip_losses(
  network: Network, layout: Layout, levels: NoiseLevels, noise: Tokens
) -> ClipLosses:
  x0 = layout.tokens  # b n c
  sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)  # b n
  xt = flow_lib.interpolate(x0, noise, sigma)
  v = network(xt, layout.coords, levels)
  learned = layout.source == 0  # b n
  losses = flow_lib.clip_losses(v, flow_lib.velocity(x0, noise), learned)
  return ClipLosses(losses, levels.sigma[:, 0])
