"""Meshes on chips that are linked as a torus, which are not there."""

import dataclasses
import itertools

import pytest

from ltx_jax.parallel import torus
from ltx_jax.parallel.mesh import make_mesh


@dataclasses.dataclass(frozen=True)
class Chip:
  id: int
  coords: tuple[int, int, int]
  platform: str = "tpu"
  device_kind: str = "TPU v5"
  core_on_chip: int = 0
  process_index: int = 0
  slice_index: int = 0


def chips(*sides):
  places = itertools.product(*(range(side) for side in reversed(sides)))
  return [Chip(i, tuple(reversed(place))) for i, place in enumerate(places)]


@pytest.mark.parametrize(
  ("sizes", "fits"),
  [((8, 8), False), ((4, 16), True), ((4, 4, 4), True), ((64,), True)],
)
def test_an_axis_takes_whole_sides(sizes, fits):
  assert torus.fits(sizes, chips(4, 4, 4)) == fits


def test_a_refusal_names_the_sides_and_every_size_that_fits():
  said = torus.refusal({"data": 8, "fsdp": 8, "tensor": 1}, chips(4, 4, 4))
  assert said == (
    "A mesh of data = 8, fsdp = 8 does not fit 64 chips that are linked as 4 x 4 x 4: "
    "each axis takes whole sides of that. These fit: data=4 fsdp=16; data=16 fsdp=4."
  )
  said = torus.refusal({"data": 2, "fsdp": 4, "context": 2}, chips(4, 4, 1))
  assert said.endswith(
    "linked as 4 x 4: each axis takes whole sides of that. These fit: "
    "none of these axes."
  )


def test_a_mesh_that_does_not_fit_is_refused_in_words():
  with pytest.raises(ValueError, match="data = 8, fsdp = 8 does not fit 64 chips"):
    make_mesh(data=8, fsdp=8, devices=chips(4, 4, 4))
