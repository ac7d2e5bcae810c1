"""A tiny EfficientNet, and a released file of it with random batch norms."""

from __future__ import annotations

import numpy as np

from ltx_jax.checkpoints.aesthetic import convolutions
from ltx_jax.config.aesthetic import EfficientNetConfig, Stage

CONFIG = EfficientNetConfig(
  stem=4, stages=(Stage(1, 3, 1, 1, 4), Stage(2, 5, 2, 2, 6)), features=10, labels=7
)


def released(config: EfficientNetConfig) -> dict[str, np.ndarray]:
  """Returns tensors with the names of the PyTorch code."""
  rng = np.random.default_rng(0)
  tensors = {"_fc.weight": rng.normal(size=(config.labels, config.features))}
  tensors["_fc.bias"] = rng.normal(size=config.labels)
  for _, kernel, norm, shape in convolutions(config):
    tensors[f"{kernel}.weight"] = rng.normal(size=shape)
    for part in ("weight", "running_var"):
      tensors[f"{norm}.{part}"] = rng.uniform(0.5, 2, shape[0])
    for part in ("bias", "running_mean"):
      tensors[f"{norm}.{part}"] = rng.normal(size=shape[0])
    tensors[f"{norm}.num_batches_tracked"] = np.int64(7)
  return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
