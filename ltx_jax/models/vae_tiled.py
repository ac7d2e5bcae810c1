"""Decoding in tiles: less memory for the same video, or for a similar one.

The part before the tiles runs whole. Then a loop decodes one tile after another and
adds each to the video by its weights (`models.tiles`). It holds the array that the
tiles are cut from, the video, and the activations of one tile. If every pixel comes
from a single tile, it is finished (for example to uint8) before it is put into the
video, which then takes less memory. The two parts are two functions, meant as two
programs, so that the activations of the first are freed before the video is allocated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ltx_jax.config import VAEConfig
from ltx_jax.models.tiles import Axis, Tiles
from ltx_jax.models.vae import Decoder, decoder_input
from ltx_jax.models.vae_layers import TilePlace
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Key, Latents, Params


def before_tiles(
  params: Params,
  config: VAEConfig,
  policy: Policy,
  latents: Latents,
  sigma: Float[AnyArray, "b"],
  key: Key | None = None,
  *,
  tiles: Tiles,
) -> Float[Array, "b f2 h2 w2 o"]:
  """Runs the part before the tiles, whole, and returns what the tiles are cut from.

  Args:
    latents: Un-normalised latents at noise level `sigma`.
    sigma: Noise level in [0, 1]; ignored by a VAE without timestep conditioning.
    key: Key of injected noise; None injects no noise.
    tiles: The tiles that the result will be cut into.

  Raises:
    ValueError: If the latents' channels are not the config's.
  """
  x = decoder_input(params, config, policy, latents)
  if tiles.begin is None:
    return x
  decoder = Decoder(config, policy, end=tiles.begin)
  return decoder.apply({"params": params["decoder"]}, x, jnp.asarray(sigma), key)


def decode_tiles(
  params: Params,
  config: VAEConfig,
  policy: Policy,
  x: Float[AnyArray, "b f h w c"],
  sigma: Float[AnyArray, "b"],
  key: Key | None = None,
  *,
  tiles: Tiles,
  finish: Callable[[AnyArray], AnyArray],
) -> Shaped[Array, "b F H W 3"]:
  """Runs the rest in tiles, and returns `finish` of the pixels in [-1, 1].

  Args:
    x: What `before_tiles` returned, for the same `sigma`, `key` and `tiles`.
    sigma: Noise level in [0, 1]; ignored by a VAE without timestep conditioning.
    key: Key of injected noise, the same as in a whole decode; None injects no noise.
    tiles: The tiles to decode in.
    finish: Function applied to each pixel.
  """
  variables, sigma = {"params": params["decoder"]}, jnp.asarray(sigma)
  frame = x.shape[2:4]
  axes = tiles.axes(config, x.shape[1:4])
  decoder = Decoder(config, policy, begin=tiles.begin)

  def decode(corner: Array) -> Array:
    sizes = (len(x), *(axis.size for axis in axes), x.shape[-1])
    tile = jax.lax.dynamic_slice(x, (0, *corner, 0), sizes)
    place = TilePlace(frame, corner[1:])
    pixels = decoder.apply(variables, tile, sigma, key, place)
    return jnp.clip(pixels.astype(jnp.float32), -1, 1)

  shape = (len(x), *(axis.pixels for axis in axes), config.out_channels)
  if all(np.isin(axis.weights, (0, 1)).all() for axis in axes):
    return _assemble(lambda corner: finish(decode(corner)), _put, axes, shape)
  return finish(_assemble(decode, _blend, axes, shape))


def _put(
  before: Shaped[Array, "b f h w 3"],
  pixels: Shaped[Array, "b f h w 3"],
  weights: Float[Array, "f h w 1"],
) -> Shaped[Array, "b f h w 3"]:
  return jnp.where(weights > 0, pixels, before)


def _blend(
  before: Float[Array, "b f h w 3"],
  pixels: Float[Array, "b f h w 3"],
  weights: Float[Array, "f h w 1"],
) -> Float[Array, "b f h w 3"]:
  return jnp.clip(before + pixels * weights, -1, 1)  # They may add up to 1 + 1e-7.


def _assemble(
  decode: Callable,
  put: Callable,
  axes: tuple[Axis, Axis, Axis],
  shape: tuple[int, ...],
) -> Shaped[Array, "b F H W 3"]:
  """Puts the tiles that `decode` makes from their corners into a video of a shape."""
  ratios = np.array([axis.ratio for axis in axes], np.int32)

  def add(video: Array, tile: tuple[Array, list[Array]]) -> tuple[Array, None]:
    corner, (frames, rows, columns) = tile
    pixels = decode(corner)
    weights = frames[:, None, None, None] * rows[:, None, None] * columns[:, None]
    place = (0, *(corner * ratios), 0)
    before = jax.lax.dynamic_slice(video, place, pixels.shape)
    after = put(before, pixels, weights)
    return jax.lax.dynamic_update_slice(video, after, place), None

  each = np.array(list(itertools.product(*(range(len(a.starts)) for a in axes))))
  corners = np.stack([a.starts[i] for a, i in zip(axes, each.T, strict=True)], axis=1)
  weights = [a.weights[i] for a, i in zip(axes, each.T, strict=True)]
  made = jax.eval_shape(decode, jnp.asarray(corners[0]))
  video = jnp.zeros(shape, made.dtype)
  return jax.lax.scan(add, video, (corners, weights))[0]
