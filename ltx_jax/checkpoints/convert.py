"""Converts a checkpoint from one layout to another, tensor by tensor.

The layouts name the same tensors differently (`networks`), so the only computation is
the cast. Each tensor is read, cast and written before the next one is read, so memory
holds one tensor, whatever the model's size.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ltx_jax.checkpoints import diffusers, lightricks, networks
from ltx_jax.checkpoints.keys import Entry
from ltx_jax.checkpoints.safetensors_io import TensorToWrite, copy_into
from ltx_jax.config import ModelConfig

DTYPES = ("float32", "bfloat16")

OnBytes = Callable[[int, int], Any]
"""Called after each tensor is read, with the bytes done so far and the total."""


class Written(NamedTuple):
  """The result of a conversion: configs, tensors, and the bytes of the tensors."""

  config: ModelConfig
  tensors: int
  bytes: int


def layout_of(target: str | os.PathLike[str]) -> ModuleType:
  """Returns the layout that a name implies: `*.safetensors` a file, else a folder."""
  return lightricks if pathlib.Path(target).suffix == ".safetensors" else diffusers


_OTHERS = (".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft", ".onnx", ".msgpack")
"""Suffixes of files that are not written; a folder's name has none of these."""


def convert(
  source: str | os.PathLike[str],
  target: str | os.PathLike[str],
  dtype: str | None = None,
  on_bytes: OnBytes | None = None,
) -> Written:
  """Writes a checkpoint in the layout that the target's name implies.

  Args:
    source: The official single file, or a folder in the layout of diffusers.
    target: `*.safetensors` for the single file, any other name for a folder.
    dtype: Dtype to cast weights to, including float8 ones; None keeps theirs.
      Statistics are written as float32.
    on_bytes: Callback that receives the progress.

  Raises:
    ValueError: If the source cannot be read, the target exists already, the dtype is
      not supported, or diffusers' classes cannot represent these networks.
  """
  if dtype is not None and dtype not in DTYPES:
    raise ValueError(f"dtype is {dtype!r}; it may be {', '.join(DTYPES)}, or None.")
  if pathlib.Path(target).suffix in _OTHERS:
    raise ValueError(
      f"{target} is to be a file of another layout; give NAME.safetensors, or the name "
      "of a folder for diffusers."
    )
  if pathlib.Path(target).exists():
    raise ValueError(f"{target} exists already; give another name, or remove it.")
  reading = diffusers if pathlib.Path(source).is_dir() else lightricks
  count = _Count(on_bytes)
  with reading.open_checkpoint(source) as opened:
    for part in opened.tensors:
      networks.fitting_entries(opened, part)

    def make(part: str, entry: Entry, name: str) -> TensorToWrite:
      return count.watched(_tensor(opened, part, entry, name, dtype))

    layout_of(target).write(target, opened.config, make)
    return Written(opened.config, count.tensors, count.total)


@dataclasses.dataclass
class _Count:
  """Counts the listed tensors and their progress."""

  on_bytes: OnBytes | None
  tensors: int = 0
  total: int = 0
  done: int = 0

  def watched(self, tensor: TensorToWrite) -> TensorToWrite:
    """Returns a tensor that reports when it was read."""
    name, shape, dtype, produce = tensor
    size = math.prod(shape) * dtype.itemsize
    self.tensors += 1
    self.total += size

    def produce_and_tell() -> np.ndarray:
      array = produce()
      self.done += size
      if self.on_bytes is not None:
        self.on_bytes(self.done, self.total)
      return array

    return name, shape, dtype, produce_and_tell


def _tensor(
  opened: networks.Opened, part: str, entry: Entry, name: str, dtype: str | None
) -> TensorToWrite:
  """Returns one tensor of the new checkpoint, which is read when it is written."""
  if entry.key not in opened.tensors[part]:  # `mean-of-means`, which may be missing.
    zeros = np.zeros(entry.shape, np.float32)
    return name, entry.shape, zeros.dtype, lambda: zeros
  reader, stored = opened.tensors[part][entry.key]
  to = np.dtype(networks.stored_as(entry, dtype) or reader.dtype(stored))

  def produce() -> np.ndarray:
    array = reader.read(stored)
    if array.dtype == to:
      return array
    out = np.empty(entry.shape, to)
    copy_into(out, array)
    return out

  return name, entry.shape, to, produce
