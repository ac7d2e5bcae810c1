"""What is given beside the text, from media to latents: conditions, and a first clip.

Each clip of a batch has its own sample of the posterior of everything that is encoded,
as in the original. What becomes of the latents is in `diffusion.conditioning`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import (
  Condition,
  Conditions,
  EncodedCondition,
  Keyframe,
)
from ltx_jax.diffusion.draws import Draws, draw
from ltx_jax.pipeline.media import (
  FloatFrames,
  fit,
  load_frames,
  room_for,
  whole_positions,
)
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Key, Latents, Video

Place = Callable[..., Float[np.ndarray, "n 3"]]
"""(grid, start_frame=0) -> positions of tokens: `latents.coordinates` of one video."""


class MediaEncoder(NamedTuple):
  """How media become latents.

  Attributes:
    config: Config of the VAE.
    encode: (video [1 F H W 3], noise [b f h w c]) -> normalised latents [b f h w c].
    keys: Keys of the clips [b], which the noise is drawn from.
    draws: Replaces random draws by name.
  """

  config: VAEConfig
  encode: Callable[[Video, Latents], Latents]
  keys: Key
  draws: Draws | None = None

  def latents(
    self, frames: FloatFrames, name: str, index: int | None = None
  ) -> Latents:
    """Encodes frames [F H W 3], a sample of the posterior for each clip."""
    grid = self.config.latent_shape(*frames.shape[:3])
    noise = self.noise(name, index, grid)
    return self.encode(frames[None], noise)

  def noise(self, name: str, index: int | None, grid: tuple[int, int, int]) -> Latents:
    """Draws standard normal numbers of a grid (f, h, w), for each clip."""
    shape = (len(self.keys), *grid, self.config.latent_channels)
    return draw(self.keys, name, shape, index, self.draws)


def encode_conditions(
  conditions: Conditions, canvas: Canvas, encoder: MediaEncoder, place: Place
) -> tuple[list[EncodedCondition], list[Keyframe]]:
  """Returns what of the conditions is mixed into the clip, and what is put before it.

  Args:
    conditions: Conditions of any size; they are made as large as what is generated.
    canvas: Its size.
    encoder: The VAE; it draws "posterior/i" and, for keyframes, "condition/i".
    place: Function that gives the positions of tokens.

  Raises:
    ValueError: where media cannot be read, a clip starts where it cannot, or a
      reference cannot be made as much smaller as it is to be.
  """
  items, keyframes = [], []
  factor = encoder.config.temporal_factor
  for i, item in enumerate(conditions):
    if isinstance(item, EncodedCondition):
      items.append(item)
      continue
    z = encoder.latents(_frames(item, canvas, factor), "posterior", i)
    own = item.keyframes(z.shape[1])
    if own:
      grid = (own, *z.shape[2:4])
      noise = encoder.noise("condition", i, grid)
      spacing = np.float32([1, item.downscale, item.downscale])
      coords = place(grid, start_frame=item.frame) * spacing
      keyframes.append(Keyframe(z[:, :own], noise, coords, item.strength))
    if own < z.shape[1]:
      start = item.frame // factor + own
      items.append(EncodedCondition(z[:, own:], start, item.strength))
  return items, keyframes


def extra_tokens(conditions: Conditions, canvas: Canvas, config: VAEConfig) -> int:
  """Returns how many tokens there are beside those of the clip.

  Args:
    conditions: Conditions whose media are frames, as of `media.fit`.
    canvas: The size of the clip.
    config: Config of the VAE.
  """
  count = 0
  for item in conditions:
    if isinstance(item, EncodedCondition):  # Part of the clip.
      continue
    kept = min(len(item.media), canvas.used[0] - item.frame)
    latent_frames = (kept - 1) // config.temporal_factor + 1
    side = config.spatial_factor * item.downscale
    h, w = (pixels // side for pixels in canvas.used[1:])
    count += item.keyframes(latent_frames) * h * w
  return count


def encode_start(media: Any, canvas: Canvas, encoder: MediaEncoder) -> Latents:
  """Returns latents [b f h w c] of a clip that sampling starts from.

  Args:
    media: Media of the clip, as `Condition.media`; what is beyond the length asked for
      is cut.
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
  return encoder.latents(still, "video")


def _frames(item: Condition, canvas: Canvas, factor: int) -> FloatFrames:
  """Those frames of a condition that are encoded, of the size that is generated."""
  frames, height, width = canvas.used
  smaller, side = item.downscale, item.downscale * canvas.factors[1]
  if height % side or width % side:
    raise ValueError(
      f"A reference is to be {smaller} times smaller than {width}x{height}; give a "
      f"width and height that are multiples of {side}, or another downscale."
    )
  size = {"height": height // smaller, "width": width // smaller}
  room = room_for(item, frames)
  media = load_frames(item.media, **size, frames=room, crf=item.crf)
  media = whole_positions(media, factor)
  check_start(item.frame, len(media), factor)
  return media


def check_start(frame: int, frames: int, factor: int) -> None:
  """Refuses a clip that starts within a latent frame.

  Args:
    frame: Frame at which the clip starts.
    frames: Number of frames that it has.
    factor: Frames that a latent frame holds.

  Raises:
    ValueError: where it does.
  """
  if frames > 1 and frame % factor:
    before = frame // factor * factor
    raise ValueError(
      f"A clip of {frames} frames starts at frame {frame}; a clip starts at a multiple "
      f"of {factor}, such as {before} or {before + factor}, and only a single image "
      "anywhere."
    )
