"""The networks of a model, one method each: encode, decode, encode_text, velocity."""

from __future__ import annotations

import dataclasses
import functools
import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped, UInt8

from ltx_jax import programs
from ltx_jax.config import ModelConfig
from ltx_jax.diffusion.draws import Draws, Seed, clip_keys, draw
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import memory_in_words, shown
from ltx_jax.models.tiles import Tiles
from ltx_jax.pipeline.conditions import MediaEncoder, encode_start
from ltx_jax.pipeline.media import stretch
from ltx_jax.planning import decoding, memory
from ltx_jax.planning.memory import Plan
from ltx_jax.platforms import Policy
from ltx_jax.programs.stacks import take_apart
from ltx_jax.sizes import Canvas
from ltx_jax.text.encoder import TextEncoder
from ltx_jax.text.prompts import Tokenizer
from ltx_jax.typing import (
  Coords,
  EncodedText,
  Key,
  Latents,
  Params,
  Scalar,
  Sigma,
  Text,
  TextMask,
  Tiling,
  Tokens,
  Video,
)

_LOG = logging.getLogger("ltx_jax")


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """Configs and parameters of all networks, with a method for each network.

  Attributes:
    config: Configs of all networks; None for a network that is missing.
    params: {"transformer", "vae", "text_encoder"}: nested dicts of arrays.
    policy: Compute dtype and kernels.
    tokenizer: Tokenizer of the text encoder.
    text_encoder: Text encoder whose parameters are not in `params`.
  """

  config: ModelConfig
  params: Params = dataclasses.field(repr=False)
  policy: Policy
  tokenizer: Tokenizer | None = dataclasses.field(default=None, repr=False)
  text_encoder: TextEncoder | None = dataclasses.field(default=None, repr=False)

  @functools.cached_property
  def _text_encoder(self) -> TextEncoder:
    """The text encoder that was given, or else the one in `params`."""
    own = self.config.text_encoder, self.policy, self.tokenizer
    return self.text_encoder or TextEncoder(*own, lambda: self.params["text_encoder"])

  @functools.cached_property
  def _parts(self) -> Params:
    """The parameters that programs of the transformer and the VAE take."""
    networks = self.params.keys() - {"text_encoder"}
    return {name: take_apart(self.params[name], self.policy) for name in networks}

  def encode(self, video: Video, key: Key | None = None) -> Latents:
    """Turns videos into normalised latents [b f h w c] in float32.

    Args:
      video: Pixels in [-1, 1]; 8k + 1 frames, width and height multiples of 32.
      key: Samples the posterior; None takes its mode.

    Raises:
      ValueError: If the video is not floating point, the VAE cannot encode its size, or
        the model has no VAE.
    """
    vae = self._config("vae")
    _check_axes("The video", video, 3, "pixels in [-1, 1] as [b F H W 3]")
    if not jnp.issubdtype(video.dtype, jnp.floating):
      raise ValueError(
        f"The video is {video.dtype}; give floats in [-1, 1]: video / 127.5 - 1."
      )
    with memory_in_words(f"encoding a video of shape {video.shape}"):
      noise = None
      if key is not None:
        grid = vae.latent_shape(*video.shape[1:4])
        noise = jax.random.normal(key, (len(video), *grid, vae.latent_channels))
      program = programs.encode(vae, self.policy)
      return program(self._parts["vae"], jnp.asarray(video, jnp.float32), noise)

  def decode(
    self,
    latents: Latents,
    sigma: Scalar = 0.05,
    noise_scale: Scalar = 0.025,
    key: Key | None = None,
    draws: Draws | None = None,
    *,
    tone_map: Scalar = 0.0,
    tiling: Tiling = "auto",
  ) -> Video:
    """Turns normalised latents into videos in [-1, 1], float32.

    Args:
      latents: What `encode` or `denoise` returned.
      sigma: Noise level that conditions the decoder.
      noise_scale: Share of noise that is mixed into the latents.
      key: Key for that noise and for the noise inside the decoder; None draws none.
      draws: Replaces the draw "decode".
      tone_map: How far large latents are compressed, in [0, 1] (`latents.compress`).
      tiling: Whether to decode in tiles, as `Sampling.tiling`.

    A VAE without timestep conditioning ignores `sigma`, `noise_scale` and the noise.

    Raises:
      ValueError: If the model has no VAE, or cannot decode in such tiles.
    """
    channels = self._config("vae").latent_channels
    what = f"latents as [b f h w {channels}]"
    _check_axes("latents", latents, channels, what)
    options = {"tone_map": tone_map, "tiles": self._tiles(latents, tiling)}
    with memory_in_words(f"decoding latents of shape {latents.shape}"):
      noise = inject = None
      if key is not None:
        noise_key, inject = jax.random.split(key)
        noise = jax.random.normal(noise_key, latents.shape)
      if draws is not None:
        noise = draw(None, "decode", latents.shape, draws=draws)
      return self._decode(latents, sigma, noise, noise_scale, inject, **options)

  def encode_start(
    self,
    video: Any,
    canvas: Canvas,
    *,
    clips: int,
    seed: Seed = 0,
    draws: Draws | None = None,
  ) -> Latents:
    """Encodes a clip for `denoise(latents=)`, with one posterior sample per clip.

    Raises:
      ValueError: If the clip cannot be read or is shorter than the canvas.
    """
    with memory_in_words(f"encoding {canvas.describe(clips)}"):
      return encode_start(video, canvas, self._encoder(clip_keys(seed, clips), draws))

  def to_pixels(
    self,
    latents: Latents,
    sampling: Sampling,
    *,
    canvas: Canvas,
    seed: Seed = 0,
    plan: Plan | None = None,
  ) -> UInt8[np.ndarray, "b F H W 3"]:
    """Decodes latents as `generate` does: seeded noise, cropped, uint8 on the host.

    Frames that differ in size from the canvas are scaled to it.

    Args:
      latents: What `denoise` returned.
      sampling: Share of noise, decoder's noise level, tone map and tiling.
      canvas: The requested size.
      seed: Seed of the draws, as in `denoise`.
      plan: Plan with the tiles; None plans them now.
    """
    with memory_in_words(f"decoding {canvas.describe(len(latents))}"):
      keys = clip_keys(seed, len(latents))
      noise = draw(keys, "decode", latents.shape)
      inject = jax.random.fold_in(keys[0], zlib.crc32(b"inject"))
      sigma, scale = sampling.decode_sigma, sampling.decode_noise
      tiles = plan.tiles if plan else self._tiles(latents, sampling.tiling)
      options = {"tone_map": sampling.tone_map, "tiles": tiles}
      same = latents.shape[2:4] == self.config.vae.latent_shape(*canvas.used)[1:]
      options["finish"] = programs.to_uint8 if same else programs.as_floats
      video = self._decode(latents, sigma, noise, scale, inject, **options)
      video = video if same else stretch(video, *canvas.used[1:])
      return np.asarray(programs.to_uint8(canvas.crop(video)))

  def encode_text(self, prompts: Sequence[str]) -> EncodedText:
    """Encodes prompts one by one, cached: text [b m e] and its mask [b m].

    Raises:
      ValueError: If there is no prompt, or the model has no text encoder.
    """
    self._config("text_encoder")
    return self._text_encoder.encode(prompts)

  def velocity(
    self,
    tokens: Tokens,
    coords: Coords,
    text: Text,
    mask: TextMask,
    sigma: Sigma,
  ) -> Tokens:
    """Returns the transformer's velocity v = noise - x0, float32.

    Args:
      tokens: Noisy normalised latents as tokens.
      coords: Positions of the tokens (seconds, y pixels, x pixels).
      text: T5's embeddings.
      mask: True or 1 for real text tokens.
      sigma: Noise levels in [0, 1], one per clip or one per token.

    Raises:
      ValueError: If the model has no transformer.
    """
    program = programs.velocity(self._config("transformer"), self.policy)
    return program(self._parts["transformer"], tokens, coords, text, mask, sigma)

  def check_whole(self) -> None:
    """Refuses to make videos without a transformer or a VAE.

    Raises:
      ValueError: naming what is missing.
    """
    for part in ("transformer", "vae"):
      self._config(part)

  def _config(self, part: str) -> Any:
    config = getattr(self.config, part)
    if config is None:
      do = "load a checkpoint that has one"
      if part == "text_encoder":
        do = "load it with text_encoder=FOLDER, or pass text that is encoded already"
      raise ValueError(f"This model has no {part.replace('_', ' ')}; {do}.")
    return config

  def _decode(
    self,
    latents: Latents,
    sigma: Scalar,
    noise: Latents | None,
    noise_scale: Scalar,
    inject: Key | None,
    *,
    tone_map: Scalar,
    tiles: Tiles | None,
    finish: Callable = programs.as_floats,
  ) -> Shaped[jax.Array, "b F H W 3"]:
    vae = self._config("vae")
    noise = noise if vae.timestep_conditioning else None
    program = programs.decode(vae, self.policy, finish)
    if tiles is not None:
      program = programs.decode_in_tiles(vae, self.policy, tiles, finish)
    level, scale = np.float32(sigma), np.float32(noise_scale)
    latents, compression = jnp.asarray(latents, jnp.float32), np.float32(tone_map)
    return program(
      self._parts["vae"], latents, level, noise, scale, inject, tone_map=compression
    )

  def _tiles(self, latents: Latents, tiling: Tiling) -> Tiles | None:
    free = memory.free_beside(self.params)
    vae = self._config("vae")
    return decoding.settle(vae, self.policy, latents.shape, tiling, free)

  def _encoder(self, keys: Key, draws: Draws | None = None) -> MediaEncoder:
    vae = self._config("vae")
    encode = functools.partial(programs.encode(vae, self.policy), self._parts["vae"])
    return MediaEncoder(vae, encode, keys, draws)


def _check_axes(name: str, array: Any, channels: int, what: str) -> None:
  """Refuses what has not five axes, the last of them of so many channels."""
  shape = getattr(array, "shape", ())
  if len(shape) != 5 or shape[-1] != channels:
    raise ValueError(f"{name} is {shown(array)}; give {what}.")
