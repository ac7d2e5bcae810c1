"""Small models with random parameters, as configs and as files."""

import json

import numpy as np

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import (
  Block,
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)

TRANSFORMER = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=12,
  num_layers=3,
  in_channels=8,
  out_channels=8,
  cross_attention_dim=24,
  caption_channels=16,
  extra=(("project_to_2d_pos", True), ("_name_or_path", "PixArt")),
)
VAE = VAEConfig(
  latent_channels=8,
  patch_size=2,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(
    Block("res_x", 2),
    Block("compress_all"),
    Block("res_x_y"),
    Block("compress_space_res"),
    Block("res_x", 1),
  ),
  decoder_blocks=(
    Block("res_x", 2, inject_noise=True),
    Block("compress_all", multiplier=2, residual=True),
    Block("attn_res_x", 2, attention_head_dim=8),
    Block("compress_space"),
    Block("compress_space"),
  ),
)
CONFIG = ModelConfig(
  transformer=TRANSFORMER,
  vae=VAE,
  scheduler=SchedulerConfig(sampler="LinearQuadratic"),
  name="small",
  allowed_inference_steps=(1.0, 0.9937, 0.725),
  default_size=(9, 64, 96),
  default_fps=12.0,
  extra=(("made_by", "a test"),),
)
ENTRIES = {
  "transformer": keys.transformer_entries(TRANSFORMER),
  "vae": keys.vae_entries(VAE),
}


def params(dtype=np.float32, seed=0):
  """Returns random parameters of `CONFIG`; statistics are float32 and positive."""
  rng = np.random.default_rng(seed)
  flat = {}
  for part, entries in ENTRIES.items():
    for path, shape in keys.tree_shapes(entries).items():
      measured = path.startswith(keys.MEASURED)
      array = rng.standard_normal(shape)
      array = 0.5 + np.abs(array) if measured else array
      flat[f"{part}/{path}"] = array.astype(np.float32 if measured else dtype)
  return nest(flat)


def official(seed=0, prefixes=keys.PREFIXES):
  """Returns the tensors of a file, by their names in it."""
  rng = np.random.default_rng(seed)
  return {
    prefixes[part] + entry.key: rng.standard_normal(entry.shape).astype(np.float32)
    for part, entries in ENTRIES.items()
    if part in prefixes
    for entry in entries
  }


def metadata():
  """Returns the config of the small model as a released file would hold it."""
  return {
    "transformer": TRANSFORMER.to_metadata(),
    "vae": VAE.to_metadata(),
    "scheduler": SchedulerConfig(sampler="LinearQuadratic").to_metadata(),
  }


def write(path, tensors, config=None):
  """Writes a safetensors file with a config, or with none."""
  listed = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  written = {} if config is None else {"config": json.dumps(config)}
  write_safetensors(path, listed, written)
  return path
