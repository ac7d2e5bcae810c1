"""From one layout of a checkpoint to another, tensor by tensor.

The layouts name the same tensors differently (`networks`), so nothing is computed but
the cast: each tensor is read, cast and written before the next one is read, and memory
holds one tensor whatever the model's size.
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
"""Called after each tensor is read with the bytes done so far and those of all."""


class Written(NamedTuple):
  """What was written: its configs, its tensors and the bytes of these."""

  config: ModelConfig
  tensors: int
  bytes: int


def layout_of(target: str | os.PathLike[str]) -> ModuleType:
  """The layout that a name asks for: a file for `*.safetensors`, else a folder."""
  return lightricks if pathlib.Path(target).suffix == ".safetensors" else diffusers


def convert(
  source: str | os.PathLike[str],
  target: str | os.PathLike[str],
  dtype: str | None = None,
  on_bytes: OnBytes | None = None,
) -> Written:
  """Writes a checkpoint again, in the layout that the target's name asks for.

  Args:
    source: The official single file, or a folder in the layout of diffusers.
    target: `*.safetensors` for the single file, any other name for a folder.
    dtype: What weights are cast to, float8 ones included; None keeps theirs.
      Statistics are written as float32.
    on_bytes: Callback that is told how far it is.

  Raises:
    ValueError: where the source cannot be read, the target is there already, the dtype
      is another one, or diffusers' classes cannot be these networks.
  """
  if dtype is not None and dtype not in DTYPES:
    raise ValueError(f"dtype is {dtype!r}; it may be {', '.join(DTYPES)}, or None.")
  if pathlib.Path(target).exists():
    raise ValueError(f"{target} is there already; give another name, or remove it.")
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
  """Counts what is listed, and what of it is done."""

  on_bytes: OnBytes | None
  tensors: int = 0
  total: int = 0
  done: int = 0

  def watched(self, tensor: TensorToWrite) -> TensorToWrite:
    """A tensor that tells when it was read."""
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
  """One tensor of the new checkpoint, read when its turn comes."""
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
