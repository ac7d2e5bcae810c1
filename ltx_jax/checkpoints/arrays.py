"""Conversion between tensors in files and arrays of our tree, shared by all layouts.

An array is made from the tensors of one `Entry` path: from one, or stacked from one per
layer. Each tensor is read straight into its place, transposed and cast on the way. It
is written from a view of the array. On a CPU, JAX uses the array without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints.keys import Entry, by_path
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  TensorToWrite,
  aligned_empty,
  copy_into,
)
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.errors import shown
from ltx_jax.typing import AnyArray, Params

_MAX_LISTED, _LONGEST = 10, 300

Placed = AnyArray | Mapping[str, AnyArray]
Place = Callable[[str, Shaped[np.ndarray, "..."]], Placed]
"""Places an array, given its path (`blocks/q/kernel`) and value, and returns it; or
returns by name the leaves that replace it in the tree (`kernel` and `kernel_scale`)."""

Tensors = Mapping[str, tuple[Reader, str]]
"""By official key: the open file that has a tensor, and the tensor's name there."""


def listed(items: Sequence[str]) -> str:
  """Returns up to ten of the items in a row, and how many more there are."""
  rest = len(items) - _MAX_LISTED
  words = [
    item if item.isprintable() and len(item) <= _LONGEST else shown(item)
    for item in items[:_MAX_LISTED]
  ]
  return ", ".join(words) + (f" and {rest} more" if rest > 0 else "")


def to_default_device(_: str, array: Shaped[np.ndarray, "..."]) -> jax.Array:
  """Places an array on JAX's default device (a `Place`)."""
  # Wait, to free the host's copy, if any, before the next array is read.
  return jax.block_until_ready(jax.device_put(array))


def on_host(_: str, array: Shaped[np.ndarray, "..."]) -> np.ndarray:
  """Leaves an array in host memory (a `Place`)."""
  return array


def read(
  group: Sequence[Entry], tensors: Tensors, dtype: str | None
) -> Shaped[np.ndarray, "..."]:
  """Reads one array of our tree, layer by layer if it is a stack.

  Args:
    group: The entries of one path.
    tensors: Open files that have their tensors, by official key.
    dtype: Dtype to cast to; None keeps the file's.
  """
  found = [tensors[entry.key] for entry in group]
  stored = _common({reader.dtype(name) for reader, name in found})
  array = aligned_empty(group[0].our_shape, dtype or stored)
  for entry, (reader, name) in zip(group, found, strict=True):
    target = array if entry.layer is None else array[entry.layer]
    reader.read_into(name, entry.layout.official_view(target))
  return array


def read_network(
  reader: Reader, entries: Sequence[Entry], dtype: str | None, place: Place | None
) -> Params:
  """Reads all arrays of a network whose tensors have their keys as names in one file.

  Args:
    place: Function that places each array as soon as it is complete; None uses the
      default device.
  """
  put = place or to_default_device
  tensors = {entry.key: (reader, entry.key) for entry in entries}
  groups = by_path(entries).items()
  return nest({path: put(path, read(group, tensors, dtype)) for path, group in groups})


def _common(dtypes: Collection[np.dtype]) -> np.dtype:
  """Returns a dtype that holds a whole stack, even if only some layers are float8."""
  wide = [dtype for dtype in dtypes if dtype.itemsize > 1]
  return jnp.result_type(*(wide or dtypes))


def to_write(
  name: str, entry: Entry, array: AnyArray, dtype: str | None
) -> TensorToWrite:
  """Returns the tensor of an entry in the form in which a file is written.

  Args:
    name: Name of the tensor in the file.
    entry: Entry with the tensor's layer and layout.
    array: The whole array of our tree.
    dtype: Dtype to cast to; None keeps the array's.
  """
  to = np.dtype(dtype or array.dtype)

  def produce() -> np.ndarray:
    view = entry.layout.official_view(_on_host(array, entry.layer))
    if view.flags.c_contiguous and view.dtype == to:
      return view
    tensor = np.empty(entry.shape, to)
    copy_into(tensor, view)
    return tensor

  return name, entry.shape, to, produce


def network_to_write(
  entries: Sequence[Entry], params: Params, dtype: str | None
) -> list[TensorToWrite]:
  """Returns the tensors of a network that `read_network` reads."""
  flat = flatten(params)
  return [to_write(entry.key, entry, flat[entry.path], dtype) for entry in entries]


def _on_host(array: AnyArray, layer: int | None) -> np.ndarray:
  """Returns one layer of an array, or all of it, in host memory."""
  if isinstance(array, np.ndarray | np.generic) or _is_in_host_memory(array):
    whole = np.asarray(array)
    return whole if layer is None else whole[layer]
  # Slice before fetching, because JAX keeps the host's copy of a fetched array.
  return np.asarray(array if layer is None else array[layer])


def _is_in_host_memory(array: jax.Array) -> bool:
  devices = array.devices()
  return len(devices) == 1 and all(device.platform == "cpu" for device in devices)
