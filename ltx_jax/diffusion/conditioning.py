"""Conditions: images and clips that are given, each with a strength.

A condition at frame 0 replaces the first latent frames z of the noise by

  lerp(noise, z, strength)                                                       (1)

and its strength becomes theirs. While denoising, a token is at its own noise level,
the network is told that level, and the token moves only once the sampler has come down
to it:

  sigma_n = min(sigma, 1 - strength_n)                                           (2)
  moves_n = sigma - 1e-6 < 1 - strength_n                                        (3)

So a token of strength 1 is given and never moves, one of strength 0 is free, and one
between waits at level 1 - strength. Tokens of strength 1 are re-noised before every
step,

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
import numpy as np
from jaxtyping import Bool, Float, Int

from ltx_jax.diffusion.latents import patchify
from ltx_jax.typing import AnyArray, Latents, NoiseLevels, Scalar, Tokens

HARD = 1 - 1e-6
"""Tokens of a strength above this are given outright, and re-noised."""


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


class Strengths(NamedTuple):
  """How firmly each token is given, by the few distinct strengths there are.

  Attributes:
    values: The distinct strengths in [0, 1]; the first is 0, that of free tokens.
    index: Which of them a token has.
  """

  values: Float[AnyArray, "s"]
  index: Int[AnyArray, "n"]

  def per_token(self) -> Float[jax.Array, "n"]:
    """Returns the strength of every token."""
    return jnp.asarray(self.values)[self.index]


class Conditioned(NamedTuple):
  """What the sampler starts from.

  Attributes:
    tokens: Noise with the conditions mixed in; the first `extra` tokens are conditions
      alone.
    coords: Their positions, which all clips of a batch share.
    strengths: How firmly each token is given; None where nothing is.
    extra: How many tokens in front are not part of the clip.
  """

  tokens: Tokens
  coords: Float[AnyArray, "1 n 3"]
  strengths: Strengths | None
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
  noise: Latents,
  coords: Float[AnyArray, "1 n 3"],
  items: Sequence[EncodedCondition],
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
  latents, index = jnp.asarray(noise), np.zeros(noise.shape[1:-1], np.int32)
  for number, item in enumerate(items, 1):
    frames = item.latents.shape[1]
    if frames > noise.shape[1] or item.latents.shape[2:] != noise.shape[2:]:
      raise ValueError(
        f"A condition has latents {item.latents.shape[1:]} (frames, height, width, "
        f"channels), which do not fit into the clip's {noise.shape[1:]}."
      )
    z = jnp.broadcast_to(item.latents, (len(noise), *item.latents.shape[1:]))
    mixed = lerp(latents[:, :frames], z, np.float32(item.strength))
    latents = latents.at[:, :frames].set(mixed)
    index[:frames] = number
  values = np.array([0.0, *(item.strength for item in items)], np.float32)
  strengths = Strengths(values, index.reshape(-1))
  return Conditioned(patchify(latents), coords, strengths)


def noise_levels(sigma: Scalar, strengths: Strengths, clips: int) -> NoiseLevels:
  """Returns every token's noise level (equation 2), for a batch of `clips`."""
  levels = jnp.minimum(sigma, 1 - jnp.asarray(strengths.values))
  index = jnp.asarray(strengths.index)
  return NoiseLevels(
    jnp.broadcast_to(levels, (clips, len(levels))),
    jnp.broadcast_to(index, (clips, len(index))),
  )


def moves(
  sigma: Scalar, strengths: Strengths, epsilon: float = 1e-6
) -> Bool[jax.Array, "n"]:
  """Returns whether the step at `sigma` moves each token, equation (3)."""
  return jnp.less(sigma - epsilon, 1 - strengths.per_token())


def renoise(
  tokens: Tokens,
  initial: Tokens,
  strengths: Strengths,
  noise: Tokens,
  sigma: Scalar,
  scale: Scalar,
) -> Tokens:
  """Returns tokens whose given ones carry fresh noise, equation (4)."""
  fresh = initial + scale * noise * sigma**2
  return jnp.where((strengths.per_token() > HARD)[:, None], fresh, tokens)
