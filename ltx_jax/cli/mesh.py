"""The mesh of devices on a command line, such as `--mesh data=2,context=4`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from ltx_jax.parallel.mesh import AXES, make_mesh


def mesh_of(
  text: str | None, devices: Sequence[jax.Device] | None = None
) -> Mesh | None:
  """Returns the mesh that `AXIS=DEVICES,...` describes, or None for None.

  Args:
    text: Value of --mesh on the command line.
    devices: Devices that the mesh is made of (see `make_mesh`).

  Raises:
    ValueError: If it has another form, or the devices are missing.
  """
  if text is None:
    return None
  parts = [part.partition("=") for part in text.split(",")]
  sizes = {axis: number for axis, _, number in parts}
  known = len(sizes) == len(parts) and sizes.keys() <= set(AXES)
  if not (known and all(map(str.isdecimal, sizes.values()))):
    raise ValueError(
      f"--mesh is {text}; give numbers of devices for any of "
      f"{', '.join(AXES)}, such as data=2,context=4."
    )
  numbers = {axis: int(number) for axis, number in sizes.items()}
  return make_mesh(**numbers, devices=devices)
