"""Small VAEs whose parameters and inputs are drawn by NumPy, for the tests."""

import dataclasses
import zlib

import jax
import numpy as np

from configs import moving_shapes
from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import VAE_A, VAE_B, VAE_C, Block, VAEConfig

B = 2
SIGMA = np.array([0.05, 0.7], np.float32)
NARROW = {
  "latent_channels": 8,
  "encoder_base_channels": 8,
  "decoder_base_channels": 8,
}


def _up(**options):
  return Block("compress_all", multiplier=2, residual=True, **options)


# Few blocks, for the default suite: 8 x 8 x 4 pixels a latent position.
_PLAIN = (
  Block("res_x", 1),
  Block("compress_all"),
  Block("res_x_y"),
  Block("compress_all"),
  Block("res_x", 2),
)
SHORT_A = dataclasses.replace(
  VAE_A, **NARROW, patch_size=2, encoder_blocks=_PLAIN, decoder_blocks=_PLAIN
)
SHORT_C = dataclasses.replace(
  VAE_C,
  **NARROW,
  patch_size=2,
  encoder_blocks=(
    Block("res_x", 2),
    Block("compress_space_res"),
    Block("compress_time_res", multiplier=1),
    Block("res_x", 1),
    Block("compress_all_res"),
  ),
  decoder_blocks=(
    Block("res_x", 1),
    _up(),
    Block("res_x", 2, inject_noise=True),
    _up(),
  ),
)
# Options that no release uses.
OPTIONS = VAEConfig(
  latent_channels=6,
  patch_size=1,
  latent_log_var="per_channel",
  norm_layer="layer_norm",
  use_quant_conv=True,
  normalize_latent_channels=True,
  causal_decoder=True,
  spatial_padding_mode="reflect",
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(
    Block("res_x", 1),
    Block("compress_space"),
    Block("res_x_y", multiplier=3),
    Block("compress_time"),
    Block("compress_all_x_y"),
  ),
  decoder_blocks=(
    Block("attn_res_x", 2, attention_head_dim=4, inject_noise=True),
    Block("compress_space"),
    Block("res_x_y"),
    Block("compress_time", multiplier=2),
    Block("res_x_y", multiplier=1, inject_noise=True),
    Block("compress_all", multiplier=2),
    Block("attn_res_x", 1, attention_head_dim=32),
  ),
)
SHORT = {"short_a": SHORT_A, "short_c": SHORT_C, "options": OPTIONS}


def random_params(config, seed=0):
  """Parameters away from their initialisation: none is 0, no norm's scale is 1."""
  flat = {}
  for path, shape in keys.tree_shapes(keys.vae_entries(config)).items():
    rng = np.random.default_rng(zlib.crc32(path.encode()) + seed)
    noise = rng.standard_normal(shape)
    if path.endswith("kernel"):
      dense = "linear_" in path or "/to_" in path
      noise *= np.prod(shape[-2:-1] if dense else shape[-5:-1]) ** -0.5
    elif path.endswith(("scale", "std", "var")):
      noise = 1 + 0.3 * np.clip(noise, -2, 2)
    elif path.endswith("timestep_scale_multiplier"):
      noise = 900 + 50 * noise
    else:
      noise *= 0.3
    flat[path] = np.asarray(noise, np.float32)
  return nest(flat)


def inputs(config, positions=1, seed=1):
  """Returns a video and latents of 1 + `positions` latent frames, 2 x 3 in space."""
  rng = np.random.default_rng(seed)
  size, frames = config.spatial_factor, positions * config.temporal_factor + 1
  video = rng.uniform(-1, 1, (B, frames, 2 * size, 3 * size, config.in_channels))
  latents = rng.standard_normal((B, positions + 1, 2, 3, config.latent_channels))
  return video.astype(np.float32), latents.astype(np.float32)


def injected_noise(config, key, height, width):
  """The images of noise that a decoder draws from `key`, in its order.

  Block i draws from `fold_in(key, i)`, split over its residual blocks, each split over
  its two convolutions.
  """
  images = []
  for i, block in enumerate(reversed(config.decoder_blocks)):
    if block.name in ("compress_space", "compress_all"):
      height, width = 2 * height, 2 * width
    if not block.inject_noise:
      continue
    layers = jax.random.fold_in(key, i)[None]
    if block.name != "res_x_y":
      layers = jax.random.split(layers[0], block.num_layers)
    for layer in layers:
      for draw in jax.random.split(layer):
        images.append(np.asarray(jax.random.normal(draw, (height, width))))
  return images


def weights(shape, seed=3):
  """A weight for each output, which fixes a scalar loss."""
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_error(out, ref):
  out, ref = np.asarray(out, np.float64), np.asarray(ref, np.float64)
  assert out.shape == ref.shape
  return np.linalg.norm(out - ref) / np.linalg.norm(ref)


def _released(config, **options):
  return dataclasses.replace(config, **NARROW, **options)


def _demo():
  """The block lists and options of the original's built-in demo config."""
  compress = ("compress_space_res", "compress_time_res", *2 * ("compress_all_res",))
  return dataclasses.replace(
    VAE_C,
    **NARROW,
    spatial_padding_mode="replicate",
    encoder_blocks=(
      Block("res_x", 2),
      *(Block(name, multiplier=2) for name in compress),
      Block("res_x", 1),
    ),
    decoder_blocks=(Block("res_x", 2), _up(), _up(), _up(), Block("res_x", 2)),
  )


_WIDE = {"encoder_base_channels": 32, "decoder_base_channels": 32}
_RESIDUAL_BLOCKS = (
  Block("res_x", 1),
  Block("compress_all_res"),
  Block("compress_space_res", multiplier=4),
  Block("compress_time_res", multiplier=1),
  Block("compress_all_x_y"),
)
# The released block lists, whole, and every option, for the comparison with PyTorch.
FULL = {
  "a": _released(VAE_A),
  "b": _released(VAE_B),
  "c": _released(VAE_C),
  "demo": _demo(),
  "small_model": dataclasses.replace(moving_shapes.VAE, **NARROW),
  "group_norm": dataclasses.replace(
    OPTIONS, **_WIDE, norm_layer="group_norm", spatial_padding_mode="replicate"
  ),
  "group_norm_released": dataclasses.replace(
    SHORT_C, **_WIDE, norm_layer="group_norm", causal_decoder=True
  ),
  "layer_norm_constant": dataclasses.replace(
    OPTIONS,
    norm_layer="layer_norm",
    patch_size=2,
    use_quant_conv=False,
    normalize_latent_channels=False,
    causal_decoder=False,
    timestep_conditioning=False,
    latent_log_var="constant",
    spatial_padding_mode="zeros",
    encoder_blocks=_RESIDUAL_BLOCKS,
  ),
  "pixel_norm_options": dataclasses.replace(
    OPTIONS, norm_layer="pixel_norm", patch_size=4, use_quant_conv=False
  ),
  "normalized_uniform": dataclasses.replace(
    SHORT_A, normalize_latent_channels=True, spatial_padding_mode="reflect"
  ),
  "no_log_variance": dataclasses.replace(
    SHORT_C, latent_log_var="none", patch_size=8, causal_decoder=True
  ),
}
