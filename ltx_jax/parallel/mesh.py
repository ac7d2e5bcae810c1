"""The mesh of devices, for training and for sampling.

    data     rows of a batch; in sampling clips, and the branches of guidance
    fsdp     rows of a batch, and the parameters; in sampling tokens instead of rows
    context  tokens; rows of pixels
    tensor   heads and hidden layers, with their parameters

Training has many rows, and every device works on its own rows. Sampling has few rows
and many tokens (`models.sharded`). Parameters, averaged parameters and optimiser state
are sharded over `fsdp` and `tensor` (`parallel.sharding`) and replicated over `data`
and `context`. Over `fsdp` each device gathers them one block at a time; over `tensor`
it never needs those of others. If TPU chips form several slices, with a slow network
between them, only `data` crosses that network; the other axes lie within a slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from ltx_jax.models.sharded import row_axes
from ltx_jax.parallel import torus
from ltx_jax.platforms import TRAINING_ROWS

AXES = ("data", "fsdp", "context", "tensor")  # The last are the nearest.


def make_mesh(
  *,
  data: int = 1,
  fsdp: int = 1,
  context: int = 1,
  tensor: int = 1,
  devices: Sequence[Any] | None = None,
) -> Mesh:
  """Makes the mesh that training runs on, and that `ltx_jax.load` takes.

  Args:
    data: Number of devices over which rows are sharded.
    fsdp: Number of devices over which parameters are sharded, and also rows in training
      or tokens in sampling.
    context: Number of devices over which tokens and rows of pixels are sharded.
    tensor: Number of devices over which heads and hidden layers are sharded, with their
      parameters. One of the four may be -1, which takes the remaining devices.
    devices: Devices to use; None takes all of `jax.devices()`. A compile for a machine
      that is not there passes the devices of its topology.

  Returns:
    A mesh over the first devices, as many as the product of the sizes.

  Raises:
    ValueError: If the product does not divide the number of devices, or the axes do
      not fit the torus of a TPU's chips.
  """
  devices = jax.devices() if devices is None else devices
  asked = dict(zip(AXES, (data, fsdp, context, tensor), strict=True))
  sizes = list(asked.values())
  known = math.prod(size for size in sizes if size != -1)
  if sizes.count(-1) == 1 and known > 0 and len(devices) % known == 0:
    sizes[sizes.index(-1)] = len(devices) // known
  if min(sizes) < 1 or len(devices) % math.prod(sizes):
    words = ", ".join(f"{axis} = {n}" for axis, n in asked.items() if n != 1)
    raise ValueError(
      f"A mesh of {words} cannot be laid over {len(devices)} device(s): give sizes of "
      "at least 1 whose product divides that; one may be -1 and takes the rest."
    )
  return _laid_out(sizes, devices[: math.prod(sizes)])


def _laid_out(sizes: Sequence[int], devices: Sequence[Any]) -> Mesh:
  # jax.make_mesh would make Explicit axes (jax 0.10), with which every array carries
  # its sharding in its type. With Auto axes the compiler propagates shardings.
  types = (AxisType.Auto,) * len(AXES)
  slices = torus.slices_of(devices)
  if len(slices) > 1:
    return Mesh(_over_slices(sizes, slices), AXES, axis_types=types)
  try:
    return jax.make_mesh(tuple(sizes), AXES, axis_types=types, devices=devices)
  except NotImplementedError:
    asked = dict(zip(AXES, sizes, strict=True))
    raise ValueError(torus.refusal(asked, devices)) from None


def _over_slices(sizes: Sequence[int], slices: Sequence[Sequence[Any]]) -> np.ndarray:
  """Lays devices out so that only `data` crosses the network between slices.

  Then only the sum of gradients crosses it, once per step.
  """
  data, *rest = sizes
  if data % len(slices):
    raise ValueError(
      f"The devices are {len(slices)} slices, and only rows are sharded between them: "
      f"mesh.data is {data}; give a multiple of {len(slices)}."
    )
  inside = (data // len(slices), *rest)
  try:
    parts = [mesh_utils.create_device_mesh(inside, part) for part in slices]
  except NotImplementedError:
    asked = dict(zip(AXES, inside, strict=True))
    raise ValueError(torus.refusal(asked, slices[0])) from None
  return np.concatenate(parts)


def batch_sharding(mesh: Mesh, count: int) -> NamedSharding:
  """Returns the sharding of a batch of `count` rows.

  Rows are sharded over `data` and `fsdp` if both divide them. Batch sizes follow from a
  token budget, not from the number of devices. So a batch that does not divide evenly
  is sharded over one of the axes, or replicated on every device.
  """
  return NamedSharding(mesh, PartitionSpec(row_axes(mesh, TRAINING_ROWS, count)))


def own_rows(mesh: Mesh, count: int) -> Int[np.ndarray, "_"]:
  """Returns the rows of a batch of `count` that this process's devices work on."""
  where = batch_sharding(mesh, count).addressable_devices_indices_map((count,))
  parts = [np.arange(count)[index] for (index,) in where.values()]
  return np.unique(np.concatenate(parts))


def put_batch(
  mesh: Mesh, batch: Mapping[str, np.ndarray], count: int | None = None
) -> dict[str, jax.Array]:
  """Copies a batch to the devices of the mesh.

  Args:
    mesh: Mesh, which may include devices of other processes.
    batch: Rows of this process (`own_rows`), in order.
    count: Number of rows of all processes together; None means `batch` has all.
  """
  count = len(next(iter(batch.values()))) if count is None else count
  sharding = batch_sharding(mesh, count)
  if sharding.is_fully_addressable:
    return {name: jax.device_put(rows, sharding) for name, rows in batch.items()}
  own = own_rows(mesh, count)

  def put(rows: np.ndarray) -> jax.Array:
    def part(index: tuple[slice, ...]) -> np.ndarray:
      return rows[np.searchsorted(own, np.arange(count)[index[0]])]

    return jax.make_array_from_callback((count, *rows.shape[1:]), sharding, part)

  return {name: put(rows) for name, rows in batch.items()}


def put(tree: Any, shardings: Any) -> Any:
  """Copies arrays that every process has whole to the devices, sharded."""

  def one(value: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
      return jax.device_put(value, sharding)
    value = np.asarray(value)
    return jax.make_array_from_callback(value.shape, sharding, lambda i: value[i])

  return jax.tree.map(one, tree, shardings)
