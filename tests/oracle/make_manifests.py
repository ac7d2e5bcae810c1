"""Writes the manifests of key names and shapes under tests/golden/manifests.

Run from the root, where the PyTorch original is installed:

    python -m tests.oracle.make_manifests

Every network is built by the original on PyTorch's meta device, which holds shapes and
no numbers. A manifest is a JSON object, gzipped: the config as it stands in a
checkpoint's metadata, and the shape of every tensor of the state dict. Configs of 0.9.0
are the ones the original ships; the others are written down here.
"""

from __future__ import annotations

import gzip
import json
import pathlib
from typing import Any

import torch
from ltx_video.models.autoencoders.causal_video_autoencoder import (
  CausalVideoAutoencoder,
  create_video_autoencoder_demo_config,
)
from ltx_video.models.transformers.transformer3d import Transformer3DModel
from ltx_video.utils.diffusers_config_mapping import (
  OURS_TRANSFORMER_CONFIG,
  OURS_VAE_CONFIG,
)

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "manifests"

TRANSFORMER_13B = OURS_TRANSFORMER_CONFIG | {
  "attention_head_dim": 128,
  "cross_attention_dim": 4096,
  "num_layers": 48,
  "causal_temporal_positioning": True,
}
_UP = ["compress_all", {"residual": True, "multiplier": 2}]


def _res(layers: int, noise: bool) -> list:
  return ["res_x", {"num_layers": layers, "inject_noise": noise}]


_RELEASED = {
  "_class_name": "CausalVideoAutoencoder",
  "dims": 3,
  "in_channels": 3,
  "out_channels": 3,
  "latent_channels": 128,
  "norm_layer": "pixel_norm",
  "patch_size": 4,
  "latent_log_var": "uniform",
  "use_quant_conv": False,
  "causal_decoder": False,
  "timestep_conditioning": True,
}
VAE_B = _RELEASED | {
  "encoder_blocks": OURS_VAE_CONFIG["blocks"],
  "decoder_blocks": [
    _res(5, True),
    _UP,
    _res(6, True),
    _UP,
    _res(7, True),
    _UP,
    _res(8, False),
  ],
}
VAE_C = _RELEASED | {
  "encoder_blocks": [
    ["res_x", {"num_layers": 4}],
    ["compress_space_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 6}],
    ["compress_time_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 6}],
    ["compress_all_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
    ["compress_all_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
  ],
  "decoder_blocks": [
    _res(5, False),
    _UP,
    _res(5, False),
    _UP,
    _res(5, False),
    _UP,
    _res(5, False),
  ],
}
# Together the options that no release selects.
VAE_OPTIONS_GROUP = {
  "_class_name": "CausalVideoAutoencoder",
  "dims": 3,
  "in_channels": 3,
  "out_channels": 3,
  "latent_channels": 16,
  "norm_layer": "group_norm",
  "patch_size": 8,
  "latent_log_var": "per_channel",
  "use_quant_conv": True,
  "normalize_latent_channels": True,
  "causal_decoder": True,
  "timestep_conditioning": True,
  "encoder_base_channels": 32,
  "decoder_base_channels": 64,
  "encoder_blocks": [
    ["res_x", 2],
    ["compress_space", {}],
    ["res_x_y", {"multiplier": 3}],
    ["compress_time", 1],
    ["compress_all_x_y", {"multiplier": 2}],
    ["res_x_y", {"multiplier": 1}],
  ],
  "decoder_blocks": [
    ["attn_res_x", {"num_layers": 2, "attention_head_dim": 16, "inject_noise": True}],
    ["compress_space", 1],
    ["res_x_y", {"multiplier": 2}],
    ["compress_time", {"multiplier": 2}],
    ["compress_all", {"multiplier": 2}],
    ["attn_res_x", {"num_layers": 1, "attention_head_dim": 64}],
  ],
}
VAE_OPTIONS_LAYER = VAE_OPTIONS_GROUP | {
  "norm_layer": "layer_norm",
  "timestep_conditioning": False,
  "latent_log_var": "constant",
  "use_quant_conv": False,
  "encoder_blocks": [
    ["res_x", 1],
    ["compress_all_res", {}],
    ["compress_space_res", {"multiplier": 4}],
    ["compress_time_res", {"multiplier": 1}],
    ["compress_all_x_y", {}],
  ],
}
TRANSFORMER_PLAIN = OURS_TRANSFORMER_CONFIG | {
  "attention_bias": False,
  "attention_head_dim": 12,
  "caption_channels": 24,
  "cross_attention_dim": 48,
  "in_channels": 16,
  "num_attention_heads": 4,
  "num_layers": 2,
  "out_channels": 20,
  "qk_norm": None,
}
VAES = {
  "vae_a": OURS_VAE_CONFIG,
  "vae_b": VAE_B,
  "vae_c": VAE_C,
  "vae_demo": create_video_autoencoder_demo_config(),
  "vae_options_group": VAE_OPTIONS_GROUP,
  "vae_options_layer": VAE_OPTIONS_LAYER,
}
TRANSFORMERS = {
  "transformer_2b": OURS_TRANSFORMER_CONFIG,
  "transformer_13b": TRANSFORMER_13B,
  "transformer_plain": TRANSFORMER_PLAIN,
}
MODELS = {
  **{name: (CausalVideoAutoencoder, config) for name, config in VAES.items()},
  **{name: (Transformer3DModel, config) for name, config in TRANSFORMERS.items()},
}


def manifest(name: str) -> dict[str, Any]:
  """Builds one network on the meta device and lists it."""
  network, config = MODELS[name]
  config = json.loads(json.dumps(config))
  with torch.device("meta"):
    model = network.from_config(dict(config))
  shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
  parameters = sum(parameter.numel() for parameter in model.parameters())
  return {"config": config, "parameters": parameters, "tensors": shapes}


def main() -> None:
  FOLDER.mkdir(parents=True, exist_ok=True)
  for name in MODELS:
    raw = json.dumps(manifest(name), sort_keys=True, separators=(",", ":")).encode()
    path = FOLDER / f"{name}.json.gz"
    path.write_bytes(gzip.compress(raw, mtime=0))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
  main()
