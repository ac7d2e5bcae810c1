"""A trained LoRA file of the small model, in diffusers and in the PyTorch original.

    python -m tests.oracle.trained_lora runs/magenta/lora-diffusers.safetensors

Prints the relative difference of a velocity between our network, into which our loader
merged the file, and diffusers', which loads it, and the original, into which `peft`
merges it. Ends with 1 where one is not below 1e-4.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import peft
import torch
from diffusers import LTXPipeline, LTXVideoTransformer3DModel

import ltx_jax
from ltx_jax.checkpoints import diffusers
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.config import ModelConfig, TransformerConfig
from tests.models.transformer_case import network, relative_error
from tests.oracle.make_golden_transformer import reference_model, run_reference

TOLERANCE = 1e-4
PREFIX = "transformer."


def merged_by_peft(model: torch.nn.Module, file: Path) -> torch.nn.Module:
  """The original with the file's updates in its weights."""
  with open_safetensors(file) as reader:
    settings = json.loads(reader.metadata["lora_adapter_metadata"])
    state = {
      f"base_model.model.{name.removeprefix(PREFIX)}": torch.from_numpy(
        reader.read(name).copy()
      )
      for name in reader.names
    }
  rank = settings[f"{PREFIX}r"]
  names = sorted({name.partition(".lora_")[0][17:] for name in state})
  alpha = settings[f"{PREFIX}lora_alpha"]
  config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
  model = peft.get_peft_model(model, config)
  if peft.set_peft_model_state_dict(model, state).unexpected_keys:
    raise ValueError(f"{file} has layers that the model has not.")
  return model.merge_and_unload()


def velocity_of_diffusers(
  base: ltx_jax.LTXVideo, file: Path, values: tuple[np.ndarray, ...]
) -> np.ndarray:
  """Returns the result of diffusers' transformer with the file loaded."""
  tokens, coords, text, mask, sigma = values
  # Its positions are fractions of the releases' maximum, which is built in.
  released, own = TransformerConfig(), base.config.transformer
  held = released.positional_embedding_max_pos
  coords = coords * np.array(held) / np.array(own.positional_embedding_max_pos)
  own = dataclasses.replace(own, positional_embedding_max_pos=held)
  params = {"transformer": base.params["transformer"]}
  with tempfile.TemporaryDirectory() as folder:
    config = ModelConfig(own, None, base.config.scheduler)
    diffusers.save_checkpoint(folder, config, params)
    model = LTXVideoTransformer3DModel.from_pretrained(f"{folder}/transformer").eval()
  state, read = LTXPipeline.lora_state_dict(str(file), return_lora_metadata=True)
  LTXPipeline.load_lora_into_transformer(
    state, transformer=model, adapter_name="ours", metadata=read
  )
  with torch.no_grad():
    return model(
      torch.from_numpy(tokens),
      encoder_hidden_states=torch.from_numpy(text),
      timestep=torch.from_numpy(sigma * 1000)[:, None],
      encoder_attention_mask=torch.from_numpy(mask.astype(np.int64)),
      video_coords=torch.from_numpy(coords.astype(np.float32)).transpose(1, 2),
    ).sample.numpy()


def inputs(config: TransformerConfig) -> tuple[np.ndarray, ...]:
  """Tokens, positions, text and its mask, and a noise level for each of two clips."""
  rng = np.random.default_rng(0)
  tokens = rng.standard_normal((2, 24, config.in_channels), np.float32)
  held = np.array(config.positional_embedding_max_pos, np.float32)
  coords = rng.random((2, 24, 3), np.float32) * held
  text = rng.standard_normal((2, 9, config.caption_channels), np.float32)
  mask = np.arange(9) < np.array([[9], [6]])
  return tokens, coords, text, mask, np.array([0.3, 0.9], np.float32)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("file", type=Path)
  parser.add_argument("--model", default="moving-shapes")
  arguments = parser.parse_args()
  file = arguments.file
  base = ltx_jax.load(arguments.model, text_encoder=False)
  merged = ltx_jax.load(arguments.model, text_encoder=False, loras=[(str(file), 1.0)])
  config, values = base.config.transformer, inputs(base.config.transformer)
  ours = network(merged.params["transformer"], config)(*values)
  plain = network(base.params["transformer"], config)(*values)
  original = reference_model(config, base.params["transformer"])
  expected, _ = run_reference(merged_by_peft(original, file), *values)
  errors = {
    "the original, merged by peft": relative_error(ours, expected.detach()),
    "diffusers": relative_error(ours, velocity_of_diffusers(base, file, values)),
  }
  print(f"the LoRA changes the velocity by {relative_error(ours, plain):.1e}")
  for name, error in errors.items():
    print(f"{name}: {error:.1e}")
  return int(max(errors.values()) >= TOLERANCE)


if __name__ == "__main__":
  sys.exit(main())
