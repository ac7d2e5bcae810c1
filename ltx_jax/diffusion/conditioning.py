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

A condition that starts later, at frame s, is encoded as if it were a video of its own.
The encoder's first latent frame then stands for one frame, where the clip's latent
frame there stands for 8, and the second has seen nothing before it. So an image, or the
first two latent frames of a clip, become tokens of their own in front of the clip's,
keyframes: noise mixed with them by (1), at the positions that they have as a video,
moved by s frames. They guide the clip's tokens by attention alone and are dropped at
the end. What a clip has beyond two latent frames means the same in both, and replaces
the clip's latent frames from s / 8 + 2 on by (1).

A reference is a clip that is shown beside the video and is no part of it: its outlines,
say, or its depth, for an in-context LoRA that was trained to follow them. All of its
latent frames become such tokens, at the very positions of the frames that they belong
to. One that is d times smaller has a token for every d x d of the video's, which stands
where the first of them does.

Source: the original's conditioning, and the paper's section on image-to-video; for
references the LTX-Video trainer, and for smaller ones ComfyUI-LTXVideo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ltx_jax.diffusion.latents import patchify
from ltx_jax.typing import AnyArray, Latents, NoiseLevels, Scalar, Tokens, Whole

HARD = 1 - 1e-6
"""Tokens of a strength above this are given outright, and re-noised."""

PREFIX = 2
"""Latent frames of a later clip that become keyframes."""


@dataclasses.dataclass(frozen=True)
class Condition:
  """An image or a clip placed at a frame of the video to come.

  Attributes:
    media: A path, a PIL image, uint8 [F H W 3] or [H W 3], or float in [-1, 1] of
      those shapes; it is scaled to cover the frame and cropped about its centre. Of a
      clip, the first 8k + 1 frames are used that the video has room for.
    frame: The frame at which it starts; a multiple of 8 for a clip, unless it has but
      one frame there is room for.
    strength: Strength from 0, ignored, to 1, kept as it is.
    crf: Blurs each frame and compresses it as H.264 with this rate factor first, as the
      original does with 29: what is as soft as a frame of a video is set in motion more
      readily. From 0, which only blurs, to 51; None leaves the media as they are.
  """

  media: Any
  frame: int = 0
  strength: float = 1.0
  crf: int | None = None

  downscale: ClassVar[int] = 1
  """How many times smaller it is than the video."""

  def __post_init__(self):
    if not 0 <= self.strength <= 1:
      raise ValueError(
        f"The strength of a condition is {self.strength}; it must lie in [0, 1]."
      )
    if self.frame < 0:
      raise ValueError(
        f"A condition starts at frame {self.frame}; frames count from 0."
      )
    if self.crf is not None and not 0 <= self.crf <= 51:
      raise ValueError(
        f"The crf of a condition is {self.crf}; it must lie in [0, 51], or be None."
      )

  def keyframes(self, latent_frames: int) -> int:
    """Returns how many of its latent frames become tokens of their own."""
    return min(latent_frames, PREFIX) if self.frame > 0 else 0


@dataclasses.dataclass(frozen=True)
class Reference(Condition):
  """A clip that guides the video from beside it, for an in-context LoRA.

  Its attributes are those of a condition; it is scaled and cropped like one.

  Attributes:
    downscale: How many times smaller than the video it is shown: as the LoRA was
      trained. Height and width of the video must be multiples of 32 times that.
  """

  downscale: int = 1

  def __post_init__(self):
    super().__post_init__()
    if not isinstance(self.downscale, Whole) or self.downscale < 1:
      raise ValueError(
        f"The downscale of a reference is {self.downscale}; it must be at least 1 and "
        "whole."
      )

  def keyframes(self, latent_frames: int) -> int:
    """Returns all of its latent frames: none of them is part of the video."""
    return latent_frames


class EncodedCondition(NamedTuple):
  """Normalised latents that are mixed into the clip's from latent frame `start` on."""

  latents: Latents
  start: int
  strength: float


Conditions = Sequence[Condition | EncodedCondition]
"""What is given beside the text; what is encoded already is taken as it is."""


class Keyframe(NamedTuple):
  """Normalised latents that become tokens of their own.

  Attributes:
    latents: Latents of one clip, or of each.
    noise: What they are mixed with, for each clip.
    coords: Positions of their tokens.
    strength: How firmly they are given.
  """

  latents: Float[AnyArray, "_ f h w c"]
  noise: Latents
  coords: Float[AnyArray, "n 3"]
  strength: float


class Strengths(NamedTuple):
  """How firmly each token is given, by the few strengths there are.

  Equal ones are not merged: shapes then follow from the number of conditions, and other
  strengths compile nothing new.

  Attributes:
    values: Strengths in [0, 1]: 0, that of free tokens, and one for each condition.
    index: Index of each token's strength in `values`.
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


class Beside(NamedTuple):
  """Tokens that are shown beside clips and are no part of them, with positions."""

  tokens: Float[AnyArray, "b _ c"]
  coords: Float[AnyArray, "#b _ 3"]


class Layout(NamedTuple):
  """The tokens that the network sees, in sampling and in training.

  Attributes:
    tokens: Tokens of what is shown beside the clip, then the clip's own.
    coords: Their positions; [1 n 3] where all clips share them.
    source: What a token belongs to: 0 is the clip, k the k-th thing that is given;
      [b n] where clips differ.
    extra: How many tokens in front are not part of the clip.
  """

  tokens: Tokens
  coords: Float[AnyArray, "#b n 3"]
  source: Int[AnyArray, "n"] | Int[AnyArray, "b n"]
  extra: int = 0


def lay_out(
  tokens: Tokens,
  coords: Float[AnyArray, "#b n 3"],
  source: Int[AnyArray, "n"] | Int[AnyArray, "b n"],
  beside: Sequence[Beside] = (),
  first: int = 1,
) -> Layout:
  """Puts what is shown beside clips in front of them: the network's order.

  Args:
    tokens: Tokens of the clips.
    coords: Their positions.
    source: What each of them belongs to, as `Layout.source`.
    beside: What is shown beside the clips.
    first: Number of the first of these among the things that are given.
  """
  if not beside:
    return Layout(tokens, coords, source)
  counts = [shown.tokens.shape[1] for shown in beside]
  numbers = np.repeat(np.arange(first, first + len(beside), dtype=np.int32), counts)
  numbers = np.broadcast_to(numbers, (*source.shape[:-1], len(numbers)))
  # In sampling nothing of this is traced: what a token belongs to stays on the host.
  join = np.concatenate if isinstance(source, np.ndarray) else jnp.concatenate
  return Layout(
    jnp.concatenate([*(shown.tokens for shown in beside), tokens], axis=1),
    jnp.concatenate([*(shown.coords for shown in beside), coords], axis=1),
    join([numbers, source], axis=-1),
    sum(counts),
  )


def frames_given(
  grid: tuple[int, int, int], spans: Sequence[slice]
) -> Int[np.ndarray, "n"]:
  """Returns which of some spans of latent frames each token is in, from 1; 0 is none.

  Where spans overlap, a frame belongs to the last.

  Args:
    grid: Frames, rows and columns of the latents.
    spans: Latent frames that are given.
  """
  index = np.zeros(grid, np.int32)
  for number, span in enumerate(spans, 1):
    index[span] = number
  return index.reshape(-1)


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
  keyframes: Sequence[Keyframe] = (),
) -> Conditioned:
  """Mixes conditions into the initial noise, in their order (equation 1).

  Args:
    noise: Initial noise [b f h w c].
    coords: Positions of the clip's tokens.
    items: What is mixed into it, as high and wide as `noise` and no longer.
    keyframes: What is put in front of it.

  Raises:
    ValueError: where an item's latents do not fit.
  """
  if not items and not keyframes:
    return Conditioned(patchify(noise), coords, None)
  latents, spans, beside = jnp.asarray(noise), [], []
  for item in items:
    span = slice(item.start, item.start + item.latents.shape[1])
    if span.stop > noise.shape[1] or item.latents.shape[2:] != noise.shape[2:]:
      raise ValueError(
        f"A condition has latents {item.latents.shape[1:]} (frames, height, width, "
        f"channels) from latent frame {item.start} on, which do not fit into the "
        f"clip's {noise.shape[1:]}."
      )
    z = jnp.broadcast_to(item.latents, (len(noise), *item.latents.shape[1:]))
    mixed = lerp(latents[:, span], z, np.float32(item.strength))
    latents = latents.at[:, span].set(mixed)
    spans.append(span)
  for key in keyframes:
    z = jnp.broadcast_to(key.latents, key.noise.shape)
    mixed = lerp(key.noise, z, np.float32(key.strength))
    beside.append(Beside(patchify(mixed), key.coords[None]))
  source = frames_given(noise.shape[1:4], spans)
  layout = lay_out(patchify(latents), coords, source, beside, first=1 + len(spans))
  values = [0.0, *(given.strength for given in (*items, *keyframes))]
  strengths = Strengths(np.array(values, np.float32), layout.source)
  return Conditioned(layout.tokens, layout.coords, strengths, layout.extra)


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
