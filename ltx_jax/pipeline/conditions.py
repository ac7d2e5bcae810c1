"""Encodes everything given besides the text: conditions, and a clip to start from.

The posterior is sampled separately for each clip of a batch, as in the original.
`diffusion.conditioning` says how the latents are used.
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
  """What it takes to turn media into latents.

  Attributes:
    config: Config of the VAE.
    encode: (video [1 F H W 3], noise [b f h w c]) -> normalised latents [b f h w c].
    keys: Keys of the clips [b]; the noise is drawn from them.
    draws: Replaces random draws by name.
  """

  config: VAEConfig
  encode: Callable[[Video, Latents], Latents]
  keys: Key
  draws: Draws | None = None

  def latents(
    self, frames: FloatFrames, name: str, index: int | None = None
  ) -> Latents:
    """Encodes frames [F H W 3]; samples the posterior for each clip."""
    grid = self.config.latent_shape(*frames.shape[:3])
    noise = self.noise(name, index, grid)
    return self.encode(frames[None], noise)

  def noise(self, name: str, index: int | None, grid: tuple[int, int, int]) -> Latents:
    """Draws standard normal noise [b f h w c] for a grid (f, h, w)."""
    shape = (len(self.keys), *grid, self.config.latent_channels)
    return draw(self.keys, name, shape, index, self.draws)


def encode_conditions(
  conditions: Conditions, canvas: Canvas, encoder: MediaEncoder, place: Place
) -> tuple[list[EncodedCondition], list[Keyframe]]:
  """Returns the conditions that replace latents, and those that add tokens.

  Args:
    conditions: Conditions of any size; they are scaled to the size of the video.
    canvas: The size of the video.
    encoder: The VAE; it draws "posterior/i" and, for keyframes, "condition/i".
    place: Function that gives the positions of tokens.

  Raises:
    ValueError: If media cannot be read, a clip starts within a latent frame, or the
      size of the video is not divisible for a smaller reference.
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
  """Returns the number of tokens that the conditions add to those of the clip.

  Args:
    conditions: Conditions whose media are frames, as `media.fit` returns them.
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
  """Encodes the clip that sampling starts from: latents [b f h w c].

  Args:
    media: Media of the clip, as `Condition.media`; frames beyond the requested length
      are cut.
    canvas: The requested size, and the size that is generated and cropped to it.
    encoder: The VAE; it draws "video".

  Raises:
    ValueError: If the clip cannot be read or is shorter than the video.
  """
  frames = fit(Condition(media), canvas).media
  if len(frames) < canvas.asked[0]:
    raise ValueError(
      f"The clip to start from has {len(frames)} frames, but the video is to have "
      f"{canvas.asked[0]}; give a longer clip, or ask for fewer frames."
    )
  beyond = canvas.used[0] - len(frames)
  still = np.pad(frames, [(0, beyond), (0, 0), (0, 0), (0, 0)], mode="edge")
  return encoder.latents(still, "video")


def _frames(item: Condition, canvas: Canvas, factor: int) -> FloatFrames:
  """Returns the frames of a condition to encode, scaled to the generated size."""
  frames, height, width = canvas.used
  smaller, side = item.downscale, item.downscale * canvas.factors[1]
  if height % side or width % side:
    raise ValueError(
      f"A reference cannot be {smaller} times smaller than {width}x{height}; give a "
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
    frame: Frame of the video at which the clip starts.
    frames: Number of frames of the clip.
    factor: Frames per latent frame.

  Raises:
    ValueError: If a clip of several frames does not start at a multiple of `factor`.
  """
  if frames > 1 and frame % factor:
    before = frame // factor * factor
    raise ValueError(
      f"A clip of {frames} frames starts at frame {frame}; a clip must start at a "
      f"multiple of {factor}, such as {before} or {before + factor}, and only a single "
      "image may start anywhere."
    )
