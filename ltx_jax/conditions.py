"""What is given beside the text, from media to latents: conditions, and a first clip.

Each clip of a batch has its own sample of the posterior of everything that is encoded,
as in the original. What becomes of the latents is in `diffusion.conditioning`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import (
  Condition,
  EncodedCondition,
  Keyframe,
  keyframes_of,
)
from ltx_jax.diffusion.draws import Draws, draw
from ltx_jax.media import FloatFrames, fit, load_frames, room_for, whole_positions
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Key, Latents, Video

Place = Callable[..., Float[np.ndarray, "n 3"]]
"""(grid, start_frame=0) -> positions of tokens: `latents.coordinates` of one video."""


class Encoder(NamedTuple):
  """How media become latents.

  Attributes:
    config: Of the VAE.
    encode: (video [1 F H W 3], noise [b f h w c]) -> normalised latents [b f h w c].
    keys: Keys of the clips [b], which the noise is drawn from.
    draws: Replaces random draws by name.
  """

  config: VAEConfig
  encode: Callable[[Video, Latents], Latents]
  keys: Key
  draws: Draws | None = None

  def sample(self, frames: FloatFrames, name: str, index: int | None = None) -> Latents:
    """Encodes frames [F H W 3], a sample of the posterior for each clip."""
    grid = self.config.latent_shape(*frames.shape[:3])
    noise = self.noise(name, index, grid)
    return self.encode(frames[None], noise)

  def noise(self, name: str, index: int | None, grid: tuple[int, int, int]) -> Latents:
    """Draws standard normal numbers of a grid (f, h, w), for each clip."""
    shape = (len(self.keys), *grid, self.config.latent_channels)
    return draw(self.keys, name, shape, index, self.draws)


def encode_conditions(
  conditions: Sequence[Condition], canvas: Canvas, encoder: Encoder, place: Place
) -> tuple[list[EncodedCondition], list[Keyframe]]:
  """Returns what of the conditions is mixed into the clip, and what is put before it.

  Args:
    conditions: Of any size; they are made as large as what is generated.
    canvas: Its size.
    encoder: The VAE; it draws "posterior/i" and, for keyframes, "condition/i".
    place: Where tokens are.

  Raises:
    ValueError: where media cannot be read, or a clip starts where it cannot.
  """
  items, keyframes = [], []
  factor = encoder.config.temporal_factor
  for i, item in enumerate(conditions):
    z = encoder.sample(_frames(item, canvas, factor), "posterior", i)
    own = keyframes_of(item.frame, z.shape[1])
    if own:
      grid = (own, *z.shape[2:4])
      noise = encoder.noise("condition", i, grid)
      coords = place(grid, start_frame=item.frame)
      keyframes.append(Keyframe(z[:, :own], noise, coords, item.strength))
    if own < z.shape[1]:
      start = item.frame // factor + own
      items.append(EncodedCondition(z[:, own:], start, item.strength))
  return items, keyframes


def encode_start(media: Any, canvas: Canvas, encoder: Encoder) -> Latents:
  """Returns latents [b f h w c] of a clip that sampling starts from.

  Args:
    media: As of a condition; what is beyond the length asked for is cut.
    canvas: The size asked for, and what is generated to crop it from.
    encoder: The VAE; it draws "video".

  Raises:
    ValueError: where the clip cannot be read, or is shorter than what is asked for.
  """
  frames = fit(Condition(media), canvas).media
  if len(frames) < canvas.asked[0]:
    raise ValueError(
      f"The clip to start from has {len(frames)} frames and {canvas.asked[0]} are to "
      "be made; give a longer clip, or ask for fewer frames."
    )
  beyond = canvas.used[0] - len(frames)
  still = np.pad(frames, [(0, beyond), (0, 0), (0, 0), (0, 0)], mode="edge")
  return encoder.sample(still, "video")


def _frames(item: Condition, canvas: Canvas, factor: int) -> FloatFrames:
  """As many of a condition's frames as are encoded, of the size that is generated."""
  frames, height, width = canvas.used
  room = room_for(item, frames)
  media = load_frames(item.media, height=height, width=width, frames=room, crf=item.crf)
  media = whole_positions(media, factor)
  if len(media) > 1 and item.frame % factor:
    before = item.frame // factor * factor
    raise ValueError(
      f"A clip of {len(media)} frames starts at frame {item.frame}; a clip starts at a "
      f"multiple of {factor}, such as {before} or {before + factor}, and only a single "
      "image anywhere."
    )
  return media
