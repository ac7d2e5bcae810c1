"""The mesh of devices, of training and of sampling.

    data     rows of a batch; in sampling clips, and the branches of guidance
    fsdp     rows of a batch, and the parameters; in sampling tokens for rows
    context  tokens; rows of pixels
    tensor   heads and hidden layers, with their parameters

In training there are many rows, and every device works on rows of its own; in sampling
there are few rows and many tokens (`models.sharded`). Parameters, averaged parameters
and optimiser state are split over `fsdp` and `tensor` (`parallel.sharding`) and
repeated over `data` and `context`: over `fsdp` each device gathers them a block at a
time, and over `tensor` it never needs the others'. Where TPU chips are several slices,
with a slow network between them, `data` goes over that, and the other axes lie inside.
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
  """Builds the mesh that training runs on, and that `ltx_jax.load` takes.

  Args:
    data: Devices over which rows are split.
    fsdp: Devices over which parameters are split, and rows in training, tokens in
      sampling.
    context: Devices over which tokens, and rows of pixels, are split.
    tensor: Devices over which heads and hidden layers are split, with their parameters.
      One of the four may be -1, which takes the devices that are left.
    devices: All of `jax.devices()` unless given; a compile for a machine that is not
      there passes the devices of its topology.

  Returns:
    A mesh over as many devices as the product says, the first ones.

  Raises:
    ValueError: where the product does not divide the number of devices, or the axes do
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
      "at least 1 whose product divides that; one of them may be -1, for what is left."
    )
  return _laid_out(sizes, devices[: math.prod(sizes)])


def _laid_out(sizes: Sequence[int], devices: Sequence[Any]) -> Mesh:
  # jax.make_mesh would give Explicit axes (jax 0.10), under which every array carries
  # its sharding in its type; here the compiler propagates shardings: Auto.
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
  """Lays devices out so that `data` alone goes over the network between slices.

  What crosses it is then the sum of gradients, once a step.
  """
  data, *rest = sizes
  if data % len(slices):
    raise ValueError(
      f"The devices are {len(slices)} slices, between which only rows are split: "
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
  """Returns how a batch of `count` rows is split.

  Rows are split over `data` and `fsdp` where that comes out even. Batch sizes follow
  from a token budget, not from the number of devices: a batch that does not divide is
  split over one of the axes, or repeated on every device.
  """
  return NamedSharding(mesh, PartitionSpec(row_axes(mesh, TRAINING_ROWS, count)))


def own_rows(mesh: Mesh, count: int) -> Int[np.ndarray, "_"]:
  """Returns which rows of a batch of `count` the devices of this process work on."""
  where = batch_sharding(mesh, count).addressable_devices_indices_map((count,))
  parts = [np.arange(count)[index] for (index,) in where.values()]
  return np.unique(np.concatenate(parts))


def put_batch(
  mesh: Mesh, batch: Mapping[str, np.ndarray], count: int | None = None
) -> dict[str, jax.Array]:
  """Copies a batch to the devices of the mesh.

  Args:
    mesh: Mesh, also over devices of other processes.
    batch: Rows of this process (`own_rows`), in their order.
    count: Rows that all processes have together; None: these are all of them.
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
  """Copies arrays that every process has whole to where they are split."""

  def one(value: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
      return jax.device_put(value, sharding)
    value = np.asarray(value)
    return jax.make_array_from_callback(value.shape, sharding, lambda i: value[i])

  return jax.tree.map(one, tree, shardings)
