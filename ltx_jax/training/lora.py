"""LoRA: trains low-rank updates of some layers and leaves the network unchanged.

    y = x W + b + (alpha / r) (x A) B           A: (in, r), B: (r, out)

An update is two leaves next to a layer's kernel, whatever the kernel's precision:
`lora_down` is A and `lora_up` is B (`models.linear`). B starts at zero, so the first
step sees the unchanged network. A is drawn from U(-1, 1) / sqrt(in), the range of a
PyTorch linear layer, as in `peft`.
Source: Hu et al. 2021 (arXiv 2106.09685), equation 3.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import TransformerConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.models.linear import DOWN, UP
from ltx_jax.typing import Key, Params


def layers(config: TransformerConfig, lora: LoRAConfig) -> dict[str, tuple[int, ...]]:
  """Returns path and kernel shape (l, in, out) of each stacked layer with an update."""
  shapes = keys.tree_shapes(keys.transformer_entries(config))
  paths = {path: path.removesuffix("/kernel") for path in shapes}
  return {
    layer: shapes[path]
    for path, layer in paths.items()
    if path.startswith("blocks/") and path != layer and _name(layer) in lora.layers
  }


def _name(layer: str) -> str:
  return layer.rpartition("/")[2]


def init(key: Key, config: TransformerConfig, lora: LoRAConfig) -> Params:
  """Returns float32 updates that change nothing yet."""
  flat = {}
  for number, (path, shape) in enumerate(layers(config, lora).items()):
    stack, n_in, n_out = shape
    own, shape = jax.random.fold_in(key, number), (stack, n_in, lora.rank)
    draws = jax.random.uniform(own, shape, minval=-1, maxval=1)
    flat[f"{path}/{DOWN}"] = draws / math.sqrt(n_in)
    flat[f"{path}/{UP}"] = jnp.zeros((stack, lora.rank, n_out))
  return nest(flat)


def joined(base: Params, updates: Params, lora: LoRAConfig) -> Params:
  """Returns a transformer's parameters with the updates next to its kernels."""
  flat = flatten(base)
  for path, leaf in flatten(updates).items():
    flat[path] = lora.scale * leaf if _name(path) == UP else leaf
  return nest(flat)
