"""The mesh of devices: data (replicas) by fsdp (shards of the parameters).

Rows of a batch are split over both axes, so every device works on rows of its own;
parameters, averaged parameters and optimiser state are split over `fsdp` alone
(`parallel.sharding`) and repeated over `data`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ltx_jax.run_config import MeshConfig

AXES = ("data", "fsdp")


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
  # jax.make_mesh would give Explicit axes (jax 0.10), under which every array carries
  # its sharding in its type; here the compiler propagates shardings: Auto.
  return jax.make_mesh(
    tuple(sizes),
    AXES,
    axis_types=(AxisType.Auto,) * len(AXES),
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
