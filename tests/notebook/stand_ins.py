"""Files of the released layout at a small width, with random weights.

A checkpoint that has the name of a preset in it, and its kinds of layers, so that it is
sampled by that preset's recipe; a T5 encoder with a tokenizer; a LoRA as diffusers
writes it.
"""

import dataclasses

import jax
import numpy as np

from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from ltx_jax.checkpoints.t5 import save_t5
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder, transformer, vae
from ltx_jax.releases.presets import PRESETS
from tests import pipeline_case as case
from tests.releases.test_loading import copy_tokenizer

CHANNELS, WIDTH, TEXT = 8, 24, 10


def config(name):
  """The preset's config with networks that are narrow and short."""
  released = PRESETS[name].config
  small_transformer = dataclasses.replace(
    released.transformer,
    num_attention_heads=2,
    attention_head_dim=WIDTH // 2,
    num_layers=2,
    in_channels=CHANNELS,
    out_channels=CHANNELS,
    cross_attention_dim=WIDTH,
    caption_channels=TEXT,
  )

  def short(blocks):
    return tuple(dataclasses.replace(block, num_layers=1) for block in blocks)

  small_vae = dataclasses.replace(
    released.vae,
    encoder_blocks=short(released.vae.encoder_blocks),
    decoder_blocks=short(released.vae.decoder_blocks),
    latent_channels=CHANNELS,
    encoder_base_channels=8,
    decoder_base_channels=8,
  )
  return dataclasses.replace(
    released, transformer=small_transformer, vae=small_vae, name=name
  )


def random(init):
  """Random parameters of the shapes that `init` would give."""
  return jax.tree_util.tree_map_with_path(case.drawn, jax.eval_shape(init))


def write_checkpoint(path, name):
  """Writes the official single file; returns its path."""
  small, key = config(name), jax.random.key(0)
  inits = {
    "transformer": lambda: transformer.init(small.transformer, key),
    "vae": lambda: vae.init_vae(key, small.vae),
  }
  params = {part: random(init) for part, init in inits.items()}
  save_checkpoint(path, small, params)
  return path


def write_text(folder):
  """Writes `text_encoder` and `tokenizer`; returns the folder."""
  text = TextEncoderConfig(
    vocab_size=512, d_model=TEXT, d_kv=4, d_ff=12, num_layers=1, num_heads=2
  )
  params = random(lambda: text_encoder.init(text, jax.random.key(0)))
  save_t5(folder / "text_encoder", text, params)
  copy_tokenizer(folder / "tokenizer")
  return folder


def write_lora(path):
  """Writes a LoRA of one layer; returns its path."""
  random = np.random.default_rng(0)
  name = "transformer.transformer_blocks.0.attn1.to_v"
  halves = {"lora_A": (2, WIDTH), "lora_B": (WIDTH, 2)}
  tensors = {
    f"{name}.{side}.weight": random.standard_normal(shape).astype(np.float32)
    for side, shape in halves.items()
  }
  write_safetensors(
    path, [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()], {}
  )
  return path
