"""The weights of I3D: the names of PyTorch's ports, with batch norm folded in.

    Conv3d_1a_7x7 Conv3d_2b_1x1 Conv3d_2c_3x3    = stem1 stem2 stem3
    Mixed_4b.b1a                                 = block4b/b1a
    X.conv3d.weight (out, in, t, h, w), X.bn.*   = conv/kernel, conv/bias
    logits.conv3d.weight (400, 1024, 1, 1, 1)    = logits/kernel (1024, 400)

Batch norm at rest is a factor and a shift of each channel,

    g = weight / sqrt(running_var + epsilon)
    kernel = g conv3d.weight,    bias = bn.bias - g running_mean

Ports differ in epsilon: DeepMind's own is 1e-3, the file of most FVD codes was written
for 1e-5. A file may say which in its metadata, `epsilon`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints.arrays import listed
from ltx_jax.checkpoints.keys import CONV
from ltx_jax.checkpoints.networks import differences
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config.i3d import I3D, I3DConfig
from ltx_jax.errors import check_number
from ltx_jax.typing import Params

Tensors = Mapping[str, Shaped[np.ndarray, "..."]]

EPSILON = 1e-5
"""Epsilon of the file that most FVD codes read."""

_NORM = ("weight", "bias", "running_mean", "running_var")
_STEM = (("Conv3d_1a_7x7", 7), ("Conv3d_2b_1x1", 1), ("Conv3d_2c_3x3", 3))
_REMEDY = (
  "save the state dict of a PyTorch I3D for Kinetics-400 (Conv3d_1a_7x7.conv3d.weight, "
  "...) as safetensors"
)


def _units(config: I3DConfig) -> Iterator[tuple[str, str, tuple[int, int, int]]]:
  """Yields (name in the file, path in our tree, (in, out, size)) of each unit."""
  n_in = 3
  for i, ((name, size), n_out) in enumerate(zip(_STEM, config.stem, strict=True), 1):
    yield name, f"stem{i}", (n_in, n_out, size)
    n_in = n_out
  for block, (b0, b1a, b1b, b2a, b2b, b3b) in config.blocks:
    units = {
      "b0": (n_in, b0, 1),
      "b1a": (n_in, b1a, 1),
      "b1b": (b1a, b1b, 3),
      "b2a": (n_in, b2a, 1),
      "b2b": (b2a, b2b, 3),
      "b3b": (n_in, b3b, 1),
    }
    for name, sizes in units.items():
      yield f"Mixed_{block}.{name}", f"block{block}/{name}", sizes
    n_in = b0 + b1b + b2b + b3b


def i3d_shapes(config: I3DConfig = I3D) -> dict[str, tuple[int, ...]]:
  """Returns the names and shapes of the tensors of a file."""
  shapes, width = {}, 0
  for name, _, (n_in, n_out, size) in _units(config):
    shapes[f"{name}.conv3d.weight"] = (n_out, n_in, size, size, size)
    shapes |= {f"{name}.bn.{part}": (n_out,) for part in _NORM}
  _, (b0, _, b1b, _, b2b, b3b) = config.blocks[-1]
  width = b0 + b1b + b2b + b3b
  shapes["logits.conv3d.weight"] = (config.classes, width, 1, 1, 1)
  return shapes | {"logits.conv3d.bias": (config.classes,)}


def from_released(
  tensors: Tensors,
  epsilon: float = EPSILON,
  config: I3DConfig = I3D,
  name: str = "The file",
) -> Params:
  """Turns the tensors of a file into parameters.

  Args:
    tensors: Tensors by name; counters of batch norm are ignored.
    epsilon: Epsilon of batch norm.
    config: Sizes of the network.
    name: Name of the file in messages.

  Raises:
    ValueError: If there are other tensors; the message names them.
  """
  check_number("epsilon", epsilon, above=0, below=1)
  tensors = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
  expected = i3d_shapes(config)
  problems = differences(expected, {k: v.shape for k, v in tensors.items()})
  if problems:
    raise ValueError(
      f"{name} should hold {len(expected)} tensors of I3D, but differs in "
      f"{len(problems)}: {listed(problems)}; {_REMEDY}."
    )
  flat = {}
  for key, path, _ in _units(config):
    weight, bias, mean, variance = (
      tensors[f"{key}.bn.{part}"].astype(np.float64) for part in _NORM
    )
    factor = weight / np.sqrt(variance + epsilon)
    kernel = CONV.view(tensors[f"{key}.conv3d.weight"]).astype(np.float64) * factor
    flat[f"{path}/conv/kernel"] = kernel.astype(np.float32)
    flat[f"{path}/conv/bias"] = (bias - factor * mean).astype(np.float32)
  dense = tensors["logits.conv3d.weight"].astype(np.float32)
  flat["logits/kernel"] = dense.reshape(dense.shape[:2]).T
  flat["logits/bias"] = tensors["logits.conv3d.bias"].astype(np.float32)
  return nest(flat)


def load_i3d(path: str | os.PathLike[str], config: I3DConfig = I3D) -> Params:
  """Reads I3D from a safetensors file, in float32.

  Args:
    path: The file.
    config: Sizes of the network.

  Raises:
    ValueError: If the file is truncated, or has other tensors; the message names them.
  """
  with open_safetensors(path) as reader:
    tensors = {name: reader.read(name) for name in reader.names}
    epsilon = float(reader.metadata.get("epsilon", EPSILON))
  return from_released(tensors, epsilon, config, str(path))
