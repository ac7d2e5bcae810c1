"""The compiled programs of a model, one per network config and policy.

Two models of the same architecture share them, because parameters are arguments. Each
is compiled for a shape when it is first called with that shape. The stacked parameters
of transformer and VAE may be split into layers (`stacks`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float, Shaped, UInt8

from ltx_jax.config import (
  LatentUpsamplerConfig,
  TextEncoderConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.data import pixels
from ltx_jax.diffusion import sampler, step_cache
from ltx_jax.diffusion.conditioning import Conditioned
from ltx_jax.diffusion.latents import adain, add_decode_noise, compress
from ltx_jax.models import text_encoder, transformer, upsampler, vae, vae_tiled
from ltx_jax.models.first_input import first_input_fn
from ltx_jax.models.rope import RopeTables, rope_tables
from ltx_jax.models.sharded import split_positions, split_text, whole
from ltx_jax.models.tiles import Tiles
from ltx_jax.platforms import Policy
from ltx_jax.programs.stacks import put_together
from ltx_jax.typing import (
  AnyArray,
  Coords,
  Key,
  Latents,
  Params,
  Scalar,
  Text,
  TextMask,
  Tokens,
  Video,
)


def _compiled(program: Callable, policy: Policy) -> Callable:
  return jax.jit(program, compiler_options=policy.options)


def _everywhere(policy: Policy) -> NamedSharding | None:
  mesh = policy.mesh
  return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def placed(start: Conditioned, policy: Policy) -> Conditioned:
  """Places the start of sampling where `step` takes and returns it."""
  if policy.mesh is None:
    return start
  return start._replace(tokens=jax.device_put(start.tokens, _everywhere(policy)))


@functools.cache
def encode_text(config: TextEncoderConfig, policy: Policy) -> Callable:
  """Returns (params, tokens [b m], mask [b m]) -> text [b m e]."""

  def program(params: Params, tokens: jax.Array, mask: TextMask) -> Text:
    return whole(text_encoder.encode(params, config, policy, tokens, mask), policy)

  return _compiled(program, policy)


@functools.cache
def text_state(config: TransformerConfig, policy: Policy) -> Callable:
  """Returns (params, text, mask) -> keys and values of the text for every step."""

  def program(params: Params, text: Text, mask: TextMask) -> transformer.TextState:
    state = transformer.text_state(put_together(params), config, policy, text, mask)
    keys, values = (split_text(a, policy) for a in (state.keys, state.values))
    return state._replace(keys=keys, values=values)

  return _compiled(program, policy)


@functools.cache
def positions(config: TransformerConfig, policy: Policy) -> Callable:
  """Returns coords [1 n 3] -> their rotary tables for every step, as it reads them."""

  def program(coords: Coords) -> RopeTables:
    tables = rope_tables(coords, config)
    tables = (table.astype(policy.dtype) for table in tables)
    return RopeTables(*(split_positions(table, policy) for table in tables))

  return _compiled(program, policy)


def _of_parts(function: Callable) -> Callable:
  """Returns function(params, ...) for params that may be split into layers."""
  return lambda params, *inputs: function(put_together(params), *inputs)


@functools.cache
def step(config: TransformerConfig, policy: Policy) -> sampler.Step:
  """Returns one denoising step (`diffusion.sampler.denoising_step`)."""
  return sampler.make_step(
    _of_parts(transformer.velocity_fn(config, policy)),
    donate=policy.donate,
    compiler_options=policy.options,
    out_sharding=_everywhere(policy),
  )


@functools.cache
def caching_step(config: TransformerConfig, policy: Policy) -> Callable:
  """Returns a step that may skip the network (`diffusion.step_cache`)."""
  return step_cache.make_caching_step(
    _of_parts(transformer.velocity_fn(config, policy)),
    _of_parts(first_input_fn(config, policy)),
    donate=policy.donate,
    compiler_options=policy.options,
    out_sharding=_everywhere(policy),
  )


def step_of_run(
  config: TransformerConfig, policy: Policy, cache: float, steps: int
) -> sampler.Step:
  """Returns the step function of one run, with or without a step cache.

  Args:
    config: Config of the network.
    policy: How to run it.
    cache: Threshold of the step cache (see `Sampling`); 0 for no cache.
    steps: Number of steps of the run.
  """
  if not cache:
    return step(config, policy)
  program = caching_step(config, policy)
  return step_cache.Caching(
    program, cache, steps=steps, width=config.width, dtype=policy.dtype
  )


@functools.cache
def velocity(config: TransformerConfig, policy: Policy) -> Callable:
  """Returns (params, tokens, coords, text, mask, sigma) -> velocity."""
  module = transformer.Transformer(config, policy)

  def program(params: Params, *inputs: Any) -> Tokens:
    return whole(module.apply({"params": put_together(params)}, *inputs), policy)

  return _compiled(program, policy)


@functools.cache
def encode(config: VAEConfig, policy: Policy) -> Callable:
  """Returns (params, video, noise) -> normalised latents.

  The noise samples the posterior; None takes its mode. The noise may have more rows
  than the video, which then gives that many samples.
  """

  def program(
    params: Params, video: Video, noise: Float[AnyArray, "u f h w c"] | None
  ) -> Float[AnyArray, "_ f h w c"]:
    params = put_together(params)
    mean, logvar = vae.encode_moments(params, config, policy, video)
    latents = mean if noise is None else mean + jnp.exp(0.5 * logvar) * noise
    return whole(vae.normalize(params, latents), policy)

  return _compiled(program, policy)


def _to_decode(
  params: Params,
  latents: Latents,
  noise: Latents | None,
  noise_scale: Scalar,
  tone_map: Scalar,
) -> Latents:
  """Turns normalised latents into the decoder's input."""
  if noise is not None:
    latents = add_decode_noise(latents, noise, noise_scale)
  return vae.unnormalize(params, compress(latents, tone_map))


@functools.cache
def enlarge(config: LatentUpsamplerConfig, policy: Policy) -> Callable:
  """Returns (params, the VAE's params, latents) -> latents of more rows and columns.

  Both latents are normalised; the larger ones keep the channels' mean and deviation.
  """

  def program(
    params: Params, of_vae: Params, latents: Latents
  ) -> Float[jax.Array, "b f _ _ c"]:
    raw = vae.unnormalize(of_vae, latents)
    large = upsampler.upsample(params, config, policy, raw)
    return adain(vae.normalize(of_vae, large), latents)

  return _compiled(program, policy)


def as_floats(video: Float[jax.Array, "..."]) -> Float[jax.Array, "..."]:
  """Returns pixels in [-1, 1] unchanged."""
  return video


@jax.jit
def to_uint8(video: Shaped[jax.Array, "..."]) -> UInt8[jax.Array, "..."]:
  """Turns pixels in [-1, 1] into 0 to 255, rounded; leaves uint8 unchanged."""
  return video if video.dtype == jnp.uint8 else pixels.to_uint8(video)


@functools.cache
def decode(config: VAEConfig, policy: Policy, finish: Callable = as_floats) -> Callable:
  """Returns (params, latents, sigma, noise, noise_scale, key) -> video in [-1, 1].

  The latents are normalised; noise None mixes in no noise, and key None injects none.
  `tone_map` compresses them after that, as in the original. `finish` is applied to the
  pixels: `to_uint8` within the program avoids storing a float32 video.
  """

  def program(
    params: Params,
    latents: Latents,
    sigma: Scalar,
    noise: Latents | None,
    noise_scale: Scalar,
    key: Key | None,
    *,
    tone_map: Scalar = 0.0,
  ) -> Shaped[AnyArray, "b F H W 3"]:
    params = put_together(params)
    latents = _to_decode(params, latents, noise, noise_scale, tone_map)
    sigmas = jnp.full(len(latents), sigma, jnp.float32)
    video = vae.decode(params, config, policy, latents, sigmas, key)
    return finish(jnp.clip(video, -1, 1))

  return _compiled(program, policy)


@functools.cache
def tiled_decode(
  config: VAEConfig, policy: Policy, tiles: Tiles, finish: Callable = as_floats
) -> tuple[Callable, Callable]:
  """Returns `decode` as two programs, of which the second works in tiles.

  The first takes the arguments of `decode`. The second takes (params, x, sigma, key),
  where x is the result of the first. The first has freed its memory before the second
  runs.
  """

  def before(
    params: Params,
    latents: Latents,
    sigma: Scalar,
    noise: Latents | None,
    noise_scale: Scalar,
    key: Key | None,
    *,
    tone_map: Scalar = 0.0,
  ) -> Float[AnyArray, "b f2 h2 w2 o"]:
    params = put_together(params)
    latents = _to_decode(params, latents, noise, noise_scale, tone_map)
    sigmas = jnp.full(len(latents), sigma, jnp.float32)
    inputs = params, config, policy, latents, sigmas, key
    return whole(vae_tiled.before_tiles(*inputs, tiles=tiles), policy)

  def in_tiles(
    params: Params, x: Float[AnyArray, "b f h w c"], sigma: Scalar, key: Key | None
  ) -> Shaped[AnyArray, "b F H W 3"]:
    sigmas = jnp.full(len(x), sigma, jnp.float32)
    inputs = put_together(params), config, policy, x, sigmas, key
    return vae_tiled.decode_tiles(*inputs, tiles=tiles, finish=finish)

  return _compiled(before, policy), _compiled(in_tiles, policy)


@functools.cache
def decode_in_tiles(
  config: VAEConfig, policy: Policy, tiles: Tiles, finish: Callable = as_floats
) -> Callable:
  """Does what `decode` does, in tiles (`tiled_decode`)."""
  before, in_tiles = tiled_decode(config, policy, tiles, finish)

  def both(
    params: Params,
    latents: Latents,
    sigma: Scalar,
    noise: Latents | None,
    noise_scale: Scalar,
    key: Key | None,
    *,
    tone_map: Scalar = 0.0,
  ) -> Shaped[AnyArray, "b F H W 3"]:
    x = before(params, latents, sigma, noise, noise_scale, key, tone_map=tone_map)
    return in_tiles(params, x, sigma, key)

  return both
