"""The file of LPIPS: VGG16's convolutions as torchvision names them, and the heads.

    features.28.weight (out, in, h, w) = vgg/conv5_3/kernel (h, w, in, out)
    features.28.bias   (out,)          = vgg/conv5_3/bias
    lin4.weight        (c,)            = heads/lin4

In torchvision's list of layers every ReLU and pooling has a number too, hence the gaps
between those of the convolutions. Its classifier is not part of the file. The package
lpips keeps its heads apart, as `lin4.model.1.weight` (1, c, 1, 1).
`train.perceptual_weights` makes this file from both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.arrays import Place, listed
from ltx_jax.checkpoints.keys import FRAME_CONV, Entry, Shape, tree_shapes
from ltx_jax.checkpoints.networks import differences
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config.perceptual import LAYERS
from ltx_jax.typing import Params

Released = Mapping[str, Shaped[np.ndarray, "..."]]
"""The tensors of a released file, by name."""

_FEATURES = "features."
_REMEDY = "make the file with python -m train.perceptual_weights"


def vgg_entries() -> list[Entry]:
  """Returns the tensors of VGG16's convolutions."""
  return list(_vgg())


def _vgg() -> Iterator[Entry]:
  n_in, layer = 3, 0
  for block, (count, n_out) in enumerate(LAYERS, start=1):
    for i in range(1, count + 1):
      key, path = f"{_FEATURES}{layer}", f"vgg/conv{block}_{i}"
      shape = (n_out, n_in, 3, 3)
      yield Entry(f"{key}.weight", f"{path}/kernel", shape, FRAME_CONV)
      yield Entry(f"{key}.bias", f"{path}/bias", (n_out,))
      n_in, layer = n_out, layer + 2  # A ReLU is a layer of torchvision's, too.
    layer += 1  # And so is the pooling.


def perceptual_entries() -> list[Entry]:
  """Returns the tensors of the file, heads included."""
  heads = (
    Entry(f"lin{i}.weight", f"heads/lin{i}", (channels,))
    for i, (_, channels) in enumerate(LAYERS)
  )
  return [*_vgg(), *heads]


def load_perceptual(path: str | os.PathLike[str], place: Place | None = None) -> Params:
  """Reads VGG16 and the heads, in float32.

  Args:
    path: A file that `train.perceptual_weights` or `save_perceptual` wrote.
    place: Function that places each array as soon as it is complete; None uses the
      default device.

  Raises:
    ValueError: If the file is truncated, or has other tensors; the message names them.
  """
  entries = perceptual_entries()
  with open_safetensors(path) as reader:
    _check_tensors(reader, entries)
    return arrays.read_network(reader, entries, "float32", place)


def save_perceptual(path: str | os.PathLike[str], params: Params) -> None:
  """Writes VGG16 and the heads.

  Raises:
    ValueError: If `params` have other arrays; the message names them.
  """
  entries = perceptual_entries()
  found = {name: tuple(array.shape) for name, array in flatten(params).items()}
  remedy = "give those of models.perceptual"
  _check(f"The parameters of {path}", tree_shapes(entries), found, remedy)
  tensors = arrays.network_to_write(entries, params, "float32")
  write_safetensors(path, tensors, {"format": "pt"})


def from_released(
  vgg: Released, heads: Released | None, names: tuple[str, str] = ("VGG16", "the heads")
) -> Params:
  """Turns the tensors of released files into parameters.

  Args:
    vgg: A VGG16 as torchvision names its tensors; what does not begin with `features.`
      is the classifier's, and ignored.
    heads: The heads of the package lpips; None weighs all channels equally.
    names: Names of both in error messages.

  Raises:
    ValueError: If there are other tensors; the message names them.
  """
  entries = vgg_entries()
  convolutions = {k: v for k, v in vgg.items() if k.startswith(_FEATURES)}
  expected = {entry.key: entry.shape for entry in entries}
  remedy = "give a VGG16 without batch norm, such as vgg16-397923af.pth of torchvision"
  _check(names[0], expected, _shapes(convolutions), remedy)
  flat = {e.path: e.layout.view(convolutions[e.key]) for e in entries}
  for i, (_, channels) in enumerate(LAYERS):
    flat[f"heads/lin{i}"] = np.ones(channels, np.float32)
  if heads is not None:
    lins = {f"lin{i}.model.1.weight": (1, c, 1, 1) for i, (_, c) in enumerate(LAYERS)}
    remedy = "give weights/v0.1/vgg.pth of the package lpips"
    _check(names[1], lins, _shapes(heads), remedy)
    flat |= {f"heads/lin{i}": heads[name].reshape(-1) for i, name in enumerate(lins)}
  return nest(flat)


def _shapes(tensors: Released) -> dict[str, Shape]:
  return {name: tensor.shape for name, tensor in tensors.items()}


def _check(
  where: str, expected: Mapping[str, Shape], found: Mapping[str, Shape], remedy: str
) -> None:
  problems = differences(expected, found)
  if problems:
    raise ValueError(
      f"{where} should hold {len(expected)} tensors for LPIPS, but differs in "
      f"{len(problems)}: {listed(problems)}; {remedy}."
    )


def _check_tensors(reader: Reader, entries: list[Entry]) -> None:
  expected = {entry.key: entry.shape for entry in entries}
  found = {name: reader.shape(name) for name in reader.names}
  _check(str(reader.path), expected, found, _REMEDY)
  for name in expected:
    if not jnp.issubdtype(reader.dtype(name), jnp.floating):
      raise ValueError(
        f"{reader.path} has {name} as {reader.dtype(name)}; weights are floating-point "
        f"numbers; {_REMEDY}."
      )
