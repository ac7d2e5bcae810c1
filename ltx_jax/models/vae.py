"""The causal Video-VAE: one latent of 128 channels per 32 x 32 x 8 pixels, 1:192.

    encoder   pixels -> patches -> [blocks] -> (mean, log-variance)
    decoder   latents, sigma -> [blocks] -> patches -> pixels

The encoder is causal: latent frame 0 sees only pixel frame 0, and latent frame k sees
the frames up to 8k. An image is a video of one frame. The decoder also does the last
denoising step: it receives the noise level sigma of its latents and returns clean
pixels,

    x0 = D((1 - sigma) z + sigma noise, sigma).

`VAEConfig` lists the blocks, their kinds and their order. Source: the paper's section
on the Video-VAE; the PyTorch original's `causal_video_autoencoder`.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config.vae import Block, VAEConfig
from ltx_jax.models.embeddings import TimestepEmbedder
from ltx_jax.models.vae_layers import (
  NORMS,
  CausalConv,
  DepthToSpaceUpsample,
  Downsample,
  ResnetBlock,
  SpaceToDepthDownsample,
  TilePlace,
  patches_to_pixels,
  pixels_to_patches,
)
from ltx_jax.models.vae_stage import ResStage
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import AnyArray, Key, Latents, Params, Video

_MIN_LOGVAR, _MAX_LOGVAR = -30.0, 20.0
_BATCH_NORM_EPS = 1e-5
_TIMESTEP_SCALE = 1000.0


def _downsample(
  block: Block, c: int, config: VAEConfig, policy: Policy, remat: str, name: str
) -> nn.Module:
  """Returns the encoder's module for one entry of the block list, given c channels."""
  shared = (block.channels_down(c), config, policy, True)
  if block.name == "attn_res_x":
    raise ValueError("An encoder has no 'attn_res_x' blocks; use 'res_x'.")
  if block.kind == "stage":
    # Only the decoder injects noise, even if both share one block list.
    plain = dataclasses.replace(block, inject_noise=False)
    return ResStage(plain, *shared, remat=remat, name=name)
  if block.kind == "resnet":
    return ResnetBlock(*shared, name=name)
  if block.kind == "shuffle":
    return SpaceToDepthDownsample(*shared, block.strides, name=name)
  return Downsample(*shared, block.strides, name=name)


class Encoder(nn.Module):
  """Maps pixels in [-1, 1] to moments: `config.moment_channels`, before expansion.

  Attributes:
    remat: What residual blocks keep for the backward pass, one of `REMAT`.

  Raises:
    ValueError: If an encoder has no such block, or a block's channels do not fit; the
      message names the block.
  """

  config: VAEConfig
  policy: Policy
  remat: str = "none"

  @nn.compact
  def __call__(self, video: Float[Array, "b F H W 3"]) -> Float[Array, "b f h w k"]:
    config, policy = self.config, self.policy
    c = config.encoder_base_channels
    x = pixels_to_patches(video.astype(policy.dtype), config.patch_size)  # b F h w 3pp
    x = CausalConv(c, config, policy, True, name="conv_in")(x)
    for i, block in enumerate(config.encoder_blocks):
      x = _downsample(block, c, config, policy, self.remat, f"down_blocks_{i}")(x)
      c = block.channels_down(c)
    x = nn.silu(NORMS[config.norm_layer](policy, name="conv_norm_out")(x))
    return CausalConv(config.moment_channels, config, policy, True, name="conv_out")(x)


class Decoder(nn.Module):
  """Maps latents at noise level sigma to pixels, about [-1, 1]; or runs a part of that.

  Blocks are counted in the order in which they run. The parameters are those of the
  whole decoder, whichever part runs.

  Attributes:
    begin: First block to run, given the result of the block before; None begins with
      the latents.
    end: Block before which to stop, returning the result so far; None goes on to the
      pixels.
    remat: What residual blocks keep for the backward pass, one of `REMAT`.

  Raises:
    ValueError: If a decoder has no such block, a block's channels do not fit, or the
      PyTorch original does not follow its options; the message names the block.
  """

  config: VAEConfig
  policy: Policy
  begin: int | None = None
  end: int | None = None
  remat: str = "none"

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b f h w c"],
    sigma: Float[Array, "b"],
    key: Key | None = None,
    place: TilePlace | None = None,
  ) -> Float[Array, "b F H W o"]:
    config, policy = self.config, self.policy
    scaled_sigma = self._scaled(sigma)
    if self.begin is None:
      c = config.decoder_channels
      x = CausalConv(c, config, policy, config.causal_decoder, name="conv_in")(x)
    blocks = list(enumerate(reversed(config.decoder_blocks)))
    for i, block in blocks[self.begin : self.end]:
      block_key = None if key is None else jax.random.fold_in(key, i)
      x = self._block(block, f"up_blocks_{i}", x, scaled_sigma, block_key, place)
      if place is not None and block.strides[1] == 2:
        place = place.doubled()
    return x if self.end is not None else self._pixels(x, scaled_sigma)

  def _pixels(self, x: Array, scaled_sigma: Array | None) -> Array:
    config, policy = self.config, self.policy
    x = NORMS[config.norm_layer](policy, name="conv_norm_out")(x)
    x = nn.silu(self._last_modulation(x, scaled_sigma))
    patches = config.out_channels * config.patch_size**2
    conv = CausalConv(patches, config, policy, config.causal_decoder, name="conv_out")
    return patches_to_pixels(conv(x), config.patch_size)

  def _scaled(self, sigma: Array) -> Array | None:
    if not self.config.timestep_conditioning:
      return None
    init = nn.initializers.constant(_TIMESTEP_SCALE)
    scale = self.param("timestep_scale_multiplier", init, ())
    return sigma.astype(jnp.float32) * scale

  def _block(
    self,
    block: Block,
    name: str,
    x: Array,
    scaled_sigma: Array | None,
    key: Key | None,
    place: TilePlace | None,
  ) -> Array:
    config, policy, c = self.config, self.policy, x.shape[-1]
    shared = (config, policy, config.causal_decoder)
    block.check_decoder()
    if block.kind == "stage":
      conditioned = config.timestep_conditioning
      stage = ResStage(block, c, *shared, conditioned, self.remat, name=name)
      return stage(x, scaled_sigma, key, place)
    c = block.channels_up(c)
    if block.kind == "resnet":
      resnet = ResnetBlock(c, *shared, inject_noise=block.inject_noise, name=name)
      return resnet(x, None, key, place)
    up = DepthToSpaceUpsample(c, *shared, block.strides, block.residual, name=name)
    return up(x)

  def _last_modulation(self, x: Array, scaled_sigma: Array | None) -> Array:
    if scaled_sigma is None:
      return x
    c = x.shape[-1]
    table = self.param(
      "last_scale_shift_table", nn.initializers.normal(c**-0.5), (2, c)
    )
    embedder = TimestepEmbedder(2 * c, self.policy, name="last_time_embedder")
    ada = table + embedder(scaled_sigma).astype(jnp.float32).reshape(-1, 2, c)
    shift, scale = jnp.split(ada.astype(x.dtype)[:, :, None, None, None], 2, axis=1)
    return x * (1 + scale[:, 0]) + shift[:, 0]


def expand_moments(
  moments: Float[Array, "b f h w k"], config: VAEConfig
) -> Float[Array, "b f h w o"]:
  """Gives every channel a log-variance (paper: uniform log-variance).

  `uniform` repeats the predicted one for all channels; `constant` replaces it by -30;
  `none` predicts none and uses -30.
  """
  c = config.latent_channels
  if config.latent_log_var == "per_channel":
    return moments
  mean = moments[..., :c]
  if config.latent_log_var == "uniform":
    logvar = jnp.broadcast_to(moments[..., c:], mean.shape)
  else:
    logvar = jnp.full_like(mean, _MIN_LOGVAR)
  return jnp.concatenate([mean, logvar], axis=-1)


def init_vae(key: Key, config: VAEConfig) -> Params:
  """Draws the parameters of a VAE for training, with mean 0 and std 1 as statistics.

  Raises:
    ValueError: If a block does not fit in its place, as in `Encoder` and `Decoder`.
  """
  key_encoder, key_decoder, key_quant = jax.random.split(key, 3)
  size, p = config.spatial_factor, config.temporal_factor
  c = config.latent_channels
  video = jnp.zeros((1, p + 1, size, size, config.in_channels))
  latents = jnp.zeros((1, 2, 1, 1, c))
  params = {
    "encoder": Encoder(config, CPU).init(key_encoder, video)["params"],
    "decoder": Decoder(config, CPU).init(key_decoder, latents, jnp.zeros(1))["params"],
    "per_channel_statistics": {"mean": jnp.zeros(c), "std": jnp.ones(c)},
  }
  if config.use_quant_conv:
    pre, post = jax.random.split(key_quant)
    params["quant_conv"] = _init_pointwise(pre, 2 * c)
    params["post_quant_conv"] = _init_pointwise(post, c)
  if config.normalize_latent_channels:
    params["latent_norm_out"] = {"mean": jnp.zeros(c), "var": jnp.ones(c)}
  return params


def _init_pointwise(key: Key, c: int) -> Params:
  kernel = jax.random.normal(key, (1, 1, 1, c, c)) / jnp.sqrt(c)
  return {"kernel": kernel, "bias": jnp.zeros(c)}


def _pointwise(x: Array, params: Params) -> Array:
  return x @ params["kernel"][0, 0, 0].astype(x.dtype) + params["bias"].astype(x.dtype)


def encode_moments(
  params: Params,
  config: VAEConfig,
  policy: Policy,
  video: Video,
  remat: str = "none",
) -> tuple[Float[Array, "b f h w c"], Float[Array, "b f h w c"]]:
  """Returns mean and log-variance of the posterior, un-normalised, in float32.

  Args:
    video: Pixels in [-1, 1]; 8k + 1 frames, height and width multiples of 32, or the
      factors that the config's block list implies.
    remat: What residual blocks keep for the backward pass, one of `REMAT`.

  Raises:
    ValueError: If the size is not of this form; the message names it.
  """
  _check_video(video.shape, config)
  variables = {"params": params["encoder"]}
  moments = Encoder(config, policy, remat).apply(variables, jnp.asarray(video))
  moments = expand_moments(moments.astype(jnp.float32), config)
  if config.use_quant_conv:
    moments = _pointwise(moments, params["quant_conv"])
  mean, logvar = jnp.split(moments, 2, axis=-1)
  if config.normalize_latent_channels:
    norm = params["latent_norm_out"]
    mean = (mean - norm["mean"]) * jax.lax.rsqrt(norm["var"] + _BATCH_NORM_EPS)
  return mean, jnp.clip(logvar, _MIN_LOGVAR, _MAX_LOGVAR)


def _check_video(shape: tuple[int, ...], config: VAEConfig) -> None:
  _, frames, height, width, _ = shape
  t, s = config.temporal_factor, config.spatial_factor
  if (frames - 1) % t or height % s or width % s:
    raise ValueError(
      f"A video of {frames} frames of {width}x{height} pixels cannot be encoded; "
      f"frames must be {t}k + 1, width and height multiples of {s}."
    )


def normalize(params: Params, latents: Latents) -> Float[Array, "b f h w c"]:
  """Returns (z - mean) / std with the checkpoint's statistics per channel."""
  statistics = params["per_channel_statistics"]
  return (latents - statistics["mean"]) / statistics["std"]


def unnormalize(params: Params, latents: Latents) -> Float[Array, "b f h w c"]:
  """Returns z std + mean: the inverse of `normalize`."""
  statistics = params["per_channel_statistics"]
  return latents * statistics["std"] + statistics["mean"]


def decode(
  params: Params,
  config: VAEConfig,
  policy: Policy,
  latents: Latents,
  sigma: Float[AnyArray, "b"],
  key: Key | None = None,
  *,
  remat: str = "none",
) -> Float[Array, "b F H W 3"]:
  """Decodes un-normalised latents to pixels, about [-1, 1], in float32.

  Args:
    latents: Latents at noise level `sigma`.
    sigma: Noise level in [0, 1]; ignored by a VAE without timestep conditioning.
    key: Key of injected noise; None injects no noise.
    remat: What residual blocks keep for the backward pass, one of `REMAT`.

  Raises:
    ValueError: If the latents' channels are not the config's.
  """
  x = decoder_input(params, config, policy, latents)
  variables = {"params": params["decoder"]}
  decoder = Decoder(config, policy, remat=remat)
  video = decoder.apply(variables, x, jnp.asarray(sigma), key)
  return video.astype(jnp.float32)


def decoder_input(
  params: Params, config: VAEConfig, policy: Policy, latents: Latents
) -> Float[Array, "b f h w c"]:
  """Turns un-normalised latents into the input of `Decoder`.

  Raises:
    ValueError: If the latents' channels are not the config's.
  """
  if latents.shape[-1] != config.latent_channels:
    raise ValueError(
      f"Latents of {latents.shape[-1]} channels cannot be decoded; this VAE has "
      f"{config.latent_channels}."
    )
  if config.normalize_latent_channels:
    norm = params["latent_norm_out"]
    latents = latents * jnp.sqrt(norm["var"] + _BATCH_NORM_EPS) + norm["mean"]
  if config.use_quant_conv:
    latents = _pointwise(latents, params["post_quant_conv"])
  return jnp.asarray(latents, policy.dtype)
