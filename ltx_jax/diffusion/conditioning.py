"""Conditions: images and clips that are given, each with a strength.

A condition at frame 0 replaces the first latent frames z of the noise by

  lerp(noise, z, strength)                                                       (1)

and writes `strength` into a mask with one entry a token. While denoising, a token is
at its own noise level, the network is told that level, and the token moves only once
the sampler has come down to it:

  sigma_n = min(sigma, 1 - mask_n)                                               (2)
  moves_n = sigma - 1e-6 < 1 - mask_n                                            (3)

So mask 1 is a given token that never moves, mask 0 a free one, and a strength between
waits at level 1 - strength. Tokens with mask 1 are re-noised before every step,

  x_n = initial_n + scale noise_n sigma^2                                        (4)

which keeps the network from copying the given frame's grain into frozen motion.

A condition elsewhere (a keyframe) will be extra tokens in front of the clip's own,
with positions of their own; `Conditioned.extra` counts them, and they are dropped at
the end.

Source: the original's conditioning, and the paper's section on image-to-video.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from ltx_jax.diffusion.latents import patchify
from ltx_jax.typing import AnyArray, Coords, Latents, Scalar, Tokens

HARD = 1 - 1e-6
"""Tokens whose mask is above this are given outright, and re-noised."""


@dataclasses.dataclass(frozen=True)
class Condition:
  """An image or a clip placed at a frame of the video to come.

  Attributes:
    media: A path, a PIL image, uint8 [F H W 3] or [H W 3], or float in [-1, 1] of
      those shapes; it is scaled to cover the frame and cropped about its centre.
    frame: The frame at which it starts.
    strength: From 0, ignored, to 1, kept as it is.
  """

  media: Any
  frame: int = 0
  strength: float = 1.0

  def __post_init__(self):
    if not 0 <= self.strength <= 1:
      raise ValueError(
        f"The strength of a condition is {self.strength}; it must lie in [0, 1]."
      )
    if self.frame < 0:
      raise ValueError(
        f"A condition starts at frame {self.frame}; frames count from 0."
      )
    if self.frame > 0:
      raise ValueError(
        f"A condition starts at frame {self.frame}; so far only frame 0, the start of "
        "the video, can be given."
      )


class EncodedCondition(NamedTuple):
  """A condition as normalised latents, at a frame and a strength."""

  latents: Latents
  frame: int
  strength: float


class Conditioned(NamedTuple):
  """What the sampler starts from.

  Attributes:
    tokens: Noise with the conditions mixed in; the first `extra` tokens are conditions
      alone.
    coords: Their positions.
    mask: The strength with which each token is given; None where nothing is.
    extra: How many tokens in front are not part of the clip.
  """

  tokens: Tokens
  coords: Coords
  mask: Float[AnyArray, "b n"] | None
  extra: int = 0


def lerp(
  start: Float[AnyArray, "*shape"],
  end: Float[AnyArray, "*shape"],
  weight: Scalar,
) -> Float[jax.Array, "*shape"]:
  """Interpolates so that weight 0 gives exactly `start` and 1 exactly `end`."""
  difference = jnp.subtract(end, start)
  near_end = end - difference * (1 - weight)
  return jnp.where(weight < 0.5, start + weight * difference, near_end)


def condition(
  noise: Latents, coords: Coords, items: Sequence[EncodedCondition]
) -> Conditioned:
  """Mixes conditions into the initial noise, in their order (equation 1).

  Args:
    noise: Initial noise [b f h w c].
    coords: Positions of the clip's tokens.
    items: Encoded conditions at frame 0, as high and wide as `noise` and no longer.

  Raises:
    ValueError: where an item's latents do not fit.
  """
  if not items:
    return Conditioned(patchify(noise), coords, None)
  latents, mask = jnp.asarray(noise), jnp.zeros(noise.shape[:-1], jnp.float32)
  for item in items:
    frames = item.latents.shape[1]
    if frames > noise.shape[1] or item.latents.shape[2:] != noise.shape[2:]:
      raise ValueError(
        f"A condition has latents {item.latents.shape[1:]} (frames, height, width, "
        f"channels), which do not fit into the clip's {noise.shape[1:]}."
      )
    z = jnp.broadcast_to(item.latents, (len(noise), *item.latents.shape[1:]))
    mixed = lerp(latents[:, :frames], z, jnp.float32(item.strength))
    latents = latents.at[:, :frames].set(mixed)
    mask = mask.at[:, :frames].set(jnp.float32(item.strength))
  return Conditioned(patchify(latents), coords, mask.reshape(len(noise), -1))


def token_sigma(sigma: Scalar, mask: Float[AnyArray, "b n"]) -> Float[jax.Array, "b n"]:
  """Returns each token's noise level, equation (2)."""
  return jnp.minimum(sigma, 1 - mask)


def moves(
  sigma: Scalar, mask: Float[AnyArray, "b n"], epsilon: float = 1e-6
) -> Bool[jax.Array, "b n"]:
  """Returns whether the step at `sigma` moves each token, equation (3)."""
  return jnp.less(sigma - epsilon, 1 - mask)


def renoise(
  tokens: Tokens,
  initial: Tokens,
  mask: Float[AnyArray, "b n"],
  noise: Tokens,
  sigma: Scalar,
  scale: Scalar,
) -> Tokens:
  """Returns tokens whose given ones carry fresh noise, equation (4)."""
  fresh = initial + scale * noise * sigma**2
  return jnp.where((mask > HARD)[..., None], fresh, tokens)
