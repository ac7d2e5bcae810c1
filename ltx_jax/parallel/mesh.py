"""The mesh of devices: of training, data by fsdp; of sampling, with two axes more.

    training   data    rows of a batch
               fsdp    rows of a batch, and the parameters
    sampling   data    clips, and the branches of guidance
               context tokens; rows of pixels
               fsdp    as context, and the parameters
               tensor  heads and hidden layers, with their parameters

In training every device works on rows of its own; parameters, averaged parameters and
optimiser state are split over `fsdp` (`parallel.sharding`) and repeated over `data`. In
sampling there are few rows and many tokens (`models.sharded`): over `context` the
parameters are repeated, over `fsdp` each device gathers them a block at a time, and
over `tensor` it never needs the others'. So `context` talks least, `fsdp` has the
tokens split too and takes least memory, and `tensor` is for links that are fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ltx_jax.config.runs import MeshConfig

AXES = ("data", "fsdp")
SAMPLING_AXES = ("data", "context", "fsdp", "tensor")  # The last are the nearest.


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
  """Builds the (data, fsdp) mesh.

  Args:
    config: Devices an axis; at most one may be -1, which takes what is left.
    devices: All of `jax.devices()` unless given; a compile for a machine that is not
      there passes the devices of its topology.

  Returns:
    A mesh over the first devices where both sizes are given and need fewer than all.

  Raises:
    ValueError: where there are fewer devices, or -1 does not come out even.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [config.data, config.fsdp]
  known = math.prod(size for size in sizes if size != -1)
  if sizes.count(-1) == 1 and known > 0 and len(devices) % known == 0:
    sizes[sizes.index(-1)] = len(devices) // known
  if min(sizes) < 1 or math.prod(sizes) > len(devices):
    raise ValueError(
      f"mesh.data = {config.data} and mesh.fsdp = {config.fsdp} cannot be laid over "
      f"{len(devices)} device(s): give two sizes whose product is at most that, or one "
      "that divides it and -1 for the other."
    )
  return _mesh(sizes, AXES, devices)


def sampling_mesh(
  *,
  data: int = 1,
  context: int = 1,
  tensor: int = 1,
  fsdp: int = 1,
  devices: Sequence[Any] | None = None,
) -> Mesh:
  """Builds the mesh that `ltx_jax.load` takes.

  Args:
    data: Devices over which clips and branches of guidance are split.
    context: Over which tokens, and rows of pixels, are split.
    tensor: Over which heads and hidden layers are split, with their parameters.
    fsdp: As `context`, with the parameters split too.
    devices: As of `make_mesh`.

  Returns:
    A mesh over as many devices as the product says, the first ones.

  Raises:
    ValueError: where the product does not divide the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = {"data": data, "context": context, "fsdp": fsdp, "tensor": tensor}
  product = math.prod(sizes.values())
  if min(sizes.values()) < 1 or len(devices) % product:
    asked = ", ".join(f"{axis} = {n}" for axis, n in sizes.items() if n != 1)
    raise ValueError(
      f"A mesh of {asked} cannot be laid over {len(devices)} device(s): give sizes of "
      "at least 1 whose product divides that."
    )
  return _mesh([sizes[axis] for axis in SAMPLING_AXES], SAMPLING_AXES, devices)


def _mesh(sizes: Sequence[int], axes: tuple[str, ...], devices: Sequence[Any]) -> Mesh:
  # jax.make_mesh would give Explicit axes (jax 0.10), under which every array carries
  # its sharding in its type; here the compiler propagates shardings: Auto.
  return jax.make_mesh(
    tuple(sizes),
    axes,
    axis_types=(AxisType.Auto,) * len(axes),
    devices=devices[: math.prod(sizes)],
  )


def batch_spec(mesh: Mesh, rows: int) -> PartitionSpec:
  """How an array with `rows` rows is split: over both axes where that comes out even.

  Batch sizes follow from a token budget, not from the number of devices. A batch that
  does not divide is split over one axis, or repeated on every device.
  """
  options = [AXES, ("data",), ("fsdp",)]
  options.sort(key=lambda axes: -math.prod(mesh.shape[axis] for axis in axes))
  for axes in options:
    if rows % math.prod(mesh.shape[axis] for axis in axes) == 0:
      return PartitionSpec(axes)
  return PartitionSpec()


def put_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
  """Copies a batch of global rows to the devices of the mesh."""
  return {
    name: jax.device_put(rows, NamedSharding(mesh, batch_spec(mesh, len(rows))))
    for name, rows in batch.items()
  }
