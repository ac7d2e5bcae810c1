"""Conditions: given images and clips, each with a strength.

A condition at frame 0 replaces the first latent frames z of the noise by

  lerp(noise, z, strength)                                                       (1)

and its strength applies to these tokens. While denoising, a token has its own noise
level, the network is told that level, and the token does not move until the sampler has
come down to it:

  sigma_n = min(sigma, 1 - strength_n)                                           (2)
  moves_n = sigma - 1e-6 < 1 - strength_n                                        (3)

So a token of strength 1 never moves, a token of strength 0 is free, and a token between
them waits at level 1 - strength. Before every step, tokens of strength 1 get new noise,

  x_n = initial_n + scale noise_n sigma^2                                        (4)

which keeps the network from turning the grain of the given frame into frozen motion.

A condition that starts later, at frame s, is encoded as a video of its own. Therefore
its first latent frame holds one frame, where the clip's latent frame holds 8, and its
second latent frame was encoded without the frames before s. So an image, or the first
two latent frames of a clip, become extra tokens in front of the clip's: keyframes. They
are noise mixed with the latents by (1), at their positions as a video, moved by s
frames. They guide the clip's tokens only through attention, and are dropped at the end.
The latent frames of a condition after the first two mean the same in both videos; they
replace the clip's latent frames from s / 8 + 2 on by (1).

A reference is a clip that is shown next to the video and is not part of it, such as
outlines or depth for an in-context LoRA that was trained to follow them. All of its
latent frames become extra tokens, at the positions of the video's own frames. A
reference that is d times smaller has one token for every d x d tokens of the video, at
the position of the first of these.

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
from ltx_jax.errors import is_number
from ltx_jax.typing import AnyArray, Latents, NoiseLevels, Scalar, Tokens, Whole

HARD = 1 - 1e-6
"""Tokens whose strength is above this do not move, and get new noise every step."""

PREFIX = 2
"""Number of latent frames of a later clip that become keyframes."""


@dataclasses.dataclass(frozen=True)
class Condition:
  """An image or a clip placed at a frame of the video.

  Attributes:
    media: A path, a PIL image, uint8 [F H W 3] or [H W 3], or float in [-1, 1] of
      those shapes; it is scaled to cover the frame and cropped at its centre. Of a
      clip, the first 8k + 1 frames that fit into the video are used.
    frame: The frame at which it starts: a multiple of 8 for a clip, any for an image or
      for a clip of which only one frame fits.
    strength: Strength from 0 (ignored) to 1 (kept unchanged).
    crf: Rate factor of H.264, from 0 (blur only) to 51: each frame is first blurred and
      compressed with it, because the model moves soft images more readily. The original
      uses 29. None leaves the media unchanged.
  """

  media: Any
  frame: int = 0
  strength: float = 1.0
  crf: int | None = None

  downscale: ClassVar[int] = 1
  """How many times smaller than the video it is."""

  def __post_init__(self):
    if not (is_number(self.strength) and 0 <= self.strength <= 1):
      raise ValueError(
        f"The strength of a condition is {self.strength}; it must lie in [0, 1]."
      )
    if not isinstance(self.frame, Whole) or self.frame < 0:
      raise ValueError(
        f"A condition starts at frame {self.frame}; give a whole number from 0 on."
      )
    if self.crf is not None and not (is_number(self.crf) and 0 <= self.crf <= 51):
      raise ValueError(
        f"The crf of a condition is {self.crf}; it must lie in [0, 51], or be None."
      )

  def keyframes(self, latent_frames: int) -> int:
    """Returns how many of its latent frames become extra tokens."""
    return min(latent_frames, PREFIX) if self.frame > 0 else 0


@dataclasses.dataclass(frozen=True)
class Reference(Condition):
  """A clip that guides the video but is not part of it, for an in-context LoRA.

  It has the attributes of a condition, and is scaled and cropped like one.

  Attributes:
    downscale: How many times smaller than the video it is shown; use the value that the
      LoRA was trained with. The video's height and width must be multiples of 32 times
      this.
  """

  downscale: int = 1

  def __post_init__(self):
    super().__post_init__()
    if not isinstance(self.downscale, Whole) or self.downscale < 1:
      raise ValueError(
        f"The downscale of a reference is {self.downscale}; it must be a whole number "
        "of at least 1."
      )

  def keyframes(self, latent_frames: int) -> int:
    """Returns the number of all its latent frames: none is part of the video."""
    return latent_frames


class EncodedCondition(NamedTuple):
  """Normalised latents that are mixed into the clip's from latent frame `start` on."""

  latents: Latents
  start: int
  strength: float


Conditions = Sequence[Condition | EncodedCondition]
"""Everything given besides the text; encoded latents are used as they are."""


class Keyframe(NamedTuple):
  """Normalised latents that become extra tokens.

  Attributes:
    latents: Latents of one clip, or of each.
    noise: Noise that they are mixed with, for each clip.
    coords: Positions of their tokens.
    strength: How firmly they are kept, from 0 to 1.
  """

  latents: Float[AnyArray, "_ f h w c"]
  noise: Latents
  coords: Float[AnyArray, "n 3"]
  strength: float


class Strengths(NamedTuple):
  """How firmly each token is kept, as a few values and an index into them.

  Equal values are not merged: the shapes then depend only on the number of conditions,
  and other strengths compile nothing new.

  Attributes:
    values: Strengths in [0, 1]: 0 for free tokens, then one per condition.
    index: Index of each token's strength in `values`.
  """

  values: Float[AnyArray, "s"]
  index: Int[AnyArray, "n"]

  def per_token(self) -> Float[jax.Array, "n"]:
    """Returns the strength of every token."""
    return jnp.asarray(self.values)[self.index]


class Conditioned(NamedTuple):
  """The start of a run of the sampler.

  Attributes:
    tokens: Noise with the conditions mixed in; the first `extra` tokens belong to
      conditions only.
    coords: Positions of the tokens, the same for all clips of a batch.
    strengths: How firmly each token is kept; None without conditions.
    extra: Number of tokens in front that are not part of the clip.
  """

  tokens: Tokens
  coords: Float[AnyArray, "1 n 3"]
  strengths: Strengths | None
  extra: int = 0


class Beside(NamedTuple):
  """Tokens that are shown next to clips but are no part of them, with positions."""

  tokens: Float[AnyArray, "b _ c"]
  coords: Float[AnyArray, "#b _ 3"]


class Layout(NamedTuple):
  """The tokens that the network sees, in sampling and in training.

  Attributes:
    tokens: Extra tokens first, then the clip's own.
    coords: Positions of the tokens; [1 n 3] if all clips share them.
    source: What each token belongs to: 0 is the clip, k is the k-th condition; [b n] if
      clips differ.
    extra: Number of tokens in front that are not part of the clip.
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
  """Puts extra tokens in front of the clips' own, as the network expects.

  Args:
    tokens: Tokens of the clips.
    coords: Positions of these tokens.
    source: What each of them belongs to, as `Layout.source`.
    beside: Extra tokens, which are shown next to the clips.
    first: Number of the first of `beside` among the conditions.
  """
  if not beside:
    return Layout(tokens, coords, source)
  counts = [shown.tokens.shape[1] for shown in beside]
  numbers = np.repeat(np.arange(first, first + len(beside), dtype=np.int32), counts)
  numbers = np.broadcast_to(numbers, (*source.shape[:-1], len(numbers)))
  # `source` stays on the host in sampling, so that nothing of it is traced there.
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
  """Returns for each token the number, from 1, of the span that its frame is in.

  0 means no span. If spans overlap, a frame belongs to the last one.

  Args:
    grid: Frames, rows and columns of the latents.
    spans: Ranges of latent frames that are given.
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
  """Interpolates; weight 0 gives exactly `start`, and weight 1 exactly `end`."""
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
    items: Latents to mix into it; as high and wide as `noise`, and not longer.
    keyframes: Latents whose tokens go in front of it.

  Raises:
    ValueError: If an item's latents do not fit.
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
        f"clip's {noise.shape[1:]}; give it at the clip's size and at an earlier frame."
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
  """Returns whether the step at `sigma` moves each token (equation 3)."""
  return jnp.less(sigma - epsilon, 1 - strengths.per_token())


def renoise(
  tokens: Tokens,
  initial: Tokens,
  strengths: Strengths,
  noise: Tokens,
  sigma: Scalar,
  scale: Scalar,
) -> Tokens:
  """Returns the tokens, with new noise on those of strength 1 (equation 4)."""
  fresh = initial + scale * noise * sigma**2
  return jnp.where((strengths.per_token() > HARD)[:, None], fresh, tokens)
