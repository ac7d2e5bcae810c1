"""Small models that diffusers has, too: configs in both layouts, and parameters."""

import dataclasses
import zlib

import numpy as np

from ltx_jax.checkpoints import keys, networks, recognize
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import VAE_A, VAE_B, VAE_C, ModelConfig, TransformerConfig

_NARROW = {"latent_channels": 8, "patch_size": 2}
VAES = {
  "a": dataclasses.replace(
    VAE_A, encoder_base_channels=8, decoder_base_channels=8, **_NARROW
  ),
  "b": dataclasses.replace(
    VAE_B, encoder_base_channels=8, decoder_base_channels=8, **_NARROW
  ),
  "c": dataclasses.replace(
    VAE_C, encoder_base_channels=8, decoder_base_channels=8, **_NARROW
  ),
}
DIFFUSERS_VAES = {
  "a": {
    "latent_channels": 8,
    "patch_size": 2,
    "block_out_channels": (8, 16, 32, 32),
    "decoder_block_out_channels": (8, 16, 32, 32),
  },
  "b": {
    "latent_channels": 8,
    "patch_size": 2,
    "block_out_channels": (8, 16, 32, 32),
    "decoder_block_out_channels": (16, 32, 64),
    "decoder_layers_per_block": (5, 6, 7, 8),
    "decoder_spatio_temporal_scaling": (True, True, True),
    "decoder_inject_noise": (True, True, True, False),
    "upsample_residual": (True, True, True),
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
  },
  "c": {
    "latent_channels": 8,
    "patch_size": 2,
    "block_out_channels": (8, 16, 32, 64, 128),
    "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
    "decoder_block_out_channels": (16, 32, 64),
    "layers_per_block": (4, 6, 6, 2, 2),
    "decoder_layers_per_block": (5, 5, 5, 5),
    "spatio_temporal_scaling": (True, True, True, True),
    "decoder_spatio_temporal_scaling": (True, True, True),
    "decoder_inject_noise": (False, False, False, False),
    "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    "upsample_residual": (True, True, True),
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
    "spatial_compression_ratio": 16,
    "temporal_compression_ratio": 8,
  },
}
TRANSFORMER = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=16,
  num_layers=3,
  in_channels=8,
  out_channels=8,
  cross_attention_dim=32,
  caption_channels=16,
)
DIFFUSERS_TRANSFORMER = {
  "num_attention_heads": 2,
  "attention_head_dim": 16,
  "num_layers": 3,
  "in_channels": 8,
  "out_channels": 8,
  "cross_attention_dim": 32,
  "caption_channels": 16,
}


def config(newer):
  """A whole model, like 0.9.5 or like 0.9.0."""
  transformer = dataclasses.replace(TRANSFORMER, causal_temporal_positioning=newer)
  scheduler = recognize.LINEAR_QUADRATIC if newer else recognize.SHIFTED
  return ModelConfig(transformer, VAES["c" if newer else "a"], scheduler, name="tiny")


def params(config):
  """Random parameters of the networks in a config; signals keep their size."""
  flat = {}
  for part in networks.PARTS:
    if getattr(config, part) is None:
      continue
    entries = networks.ENTRIES[part](getattr(config, part))
    for path, group in keys.by_path(entries).items():
      rng = np.random.default_rng(zlib.crc32(path.encode()))
      array = rng.standard_normal(group[0].our_shape).astype(np.float32)
      if path.endswith("kernel"):
        array /= np.prod(array.shape[(group[0].layer is not None) : -1]) ** 0.5
      elif path.endswith("timestep_scale_multiplier"):
        array = np.float32(1000) + 0 * array
      else:
        array = 1 + 0.2 * array if path.endswith(("std", "scale")) else 0.3 * array
      flat[f"{part}/{path}"] = np.asarray(array, np.float32)
  return nest(flat)


def tensors(folder):
  """All tensors of the safetensors files in a folder, by name."""
  found = {}
  for path in sorted(folder.glob("*.safetensors")):
    with open_safetensors(path) as reader:
      found |= {name: reader.read(name) for name in reader.names}
  return found
