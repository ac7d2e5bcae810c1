"""Mesh sizes that fit TPU chips, which are linked as a torus.

An axis of the mesh takes whole sides of the torus, so that its devices are neighbours.
On 4 x 4 x 4 chips an axis has 4, 16 or 64 devices, and data = 8 by fsdp = 8 does not
fit. JAX refuses such a mesh in terms of its search; this message says which sizes fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jax.experimental import mesh_utils

_LISTED = 12


def slices_of(devices: Sequence[Any]) -> list[list[Any]]:
  """Returns the devices of each slice of TPU chips, in order; others are one slice."""
  slices: dict[int, list[Any]] = {}
  for device in devices:
    # GPUs have the attribute too, and chips of a single slice may lack it.
    several = device.platform == "tpu"
    number = getattr(device, "slice_index", 0) if several else 0
    slices.setdefault(number, []).append(device)
  return [slices[number] for number in sorted(slices)]


def refusal(sizes: Mapping[str, int], devices: Sequence[Any]) -> str:
  """Says why a mesh does not fit the devices' torus, and which sizes do.

  Args:
    sizes: Number of devices per axis, by its name, in the mesh's order.
    devices: All devices of one slice.
  """
  asked = {axis: n for axis, n in sizes.items() if n > 1}
  sides = " x ".join(map(str, _sides(devices)))
  fitting = [
    " ".join(f"{axis}={n}" for axis, n in zip(asked, each, strict=True))
    for each in _factors(math.prod(asked.values()), len(asked))
    if fits(each, devices)
  ]
  more = f" and {len(fitting) - _LISTED} more" if len(fitting) > _LISTED else ""
  return (
    f"A mesh of {', '.join(f'{axis} = {n}' for axis, n in asked.items())} does not fit "
    f"{len(devices)} chips that are linked as {sides}: each axis takes whole sides of "
    f"that. These fit: {'; '.join(fitting[:_LISTED]) or 'none of these axes'}{more}."
  )


def fits(sizes: Sequence[int], devices: Sequence[Any]) -> bool:
  """Whether JAX finds a place for axes of these sizes."""
  try:
    mesh_utils.create_device_mesh(sizes, devices)
  except NotImplementedError:
    return False
  return True


def _sides(devices: Sequence[Any]) -> list[int]:
  """Returns the chips along each side of the torus, without sides of one chip."""
  places = [device.coords for device in devices]
  sides = [len(set(along)) for along in zip(*places, strict=True)]
  return [side for side in sides if side > 1] or [1]


def _factors(product: int, count: int) -> Iterator[tuple[int, ...]]:
  """Yields `count` numbers above 1 (a single one above 0) by their product."""
  if count <= 1:
    yield (product,) * count
    return
  for first in range(2, product // 2 + 1):
    if product % first == 0:
      for rest in _factors(product // first, count - 1):
        if min(rest) > 1:
          yield first, *rest
