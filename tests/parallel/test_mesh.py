"""The mesh: sizes, axis types, and how batches are split."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from ltx_jax.parallel import torus
from ltx_jax.parallel.mesh import make_mesh, own_rows, put_batch


@pytest.mark.parametrize(
  ("asked", "sizes"),
  [
    ({"data": -1}, (8, 1, 1, 1)),
    ({"data": 2, "fsdp": -1}, (2, 4, 1, 1)),
    ({"data": 2, "context": 2, "tensor": 2}, (2, 1, 2, 2)),
    ({}, (1, 1, 1, 1)),
    ({"data": -1, "fsdp": 2, "context": 2}, (2, 2, 2, 1)),
  ],
)
def test_sizes(asked, sizes):
  mesh = make_mesh(**asked)
  axes = ("data", "fsdp", "context", "tensor")
  assert tuple(mesh.shape.items()) == tuple(zip(axes, sizes, strict=True))
  assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
  ("asked", "message"),
  [
    ({"data": 2, "context": 8}, "data = 2, context = 8 cannot be laid over 8 device"),
    ({"data": 1, "tensor": 3}, "tensor = 3 cannot .* whose product divides that"),
    ({"fsdp": 0}, "fsdp = 0 cannot .* sizes of at least 1"),
    ({"data": -1, "fsdp": 3}, "data = -1, fsdp = 3 cannot"),
    ({"data": -1, "fsdp": -1}, "data = -1, fsdp = -1 cannot .* one may be -1"),
  ],
)
def test_impossible_sizes_are_refused(asked, message):
  with pytest.raises(ValueError, match=message):
    make_mesh(**asked)


@pytest.mark.parametrize(
  "rows, spec",
  [
    (16, PartitionSpec(("data", "fsdp"))),
    (4, PartitionSpec(("fsdp",))),
    (6, PartitionSpec(("data",))),
    (5, PartitionSpec(())),
  ],
)
def test_batches_are_split_as_far_as_rows_divide(rows, spec):
  mesh = make_mesh(data=2, fsdp=4)
  array = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
  put = put_batch(mesh, {"x": array})["x"]
  assert put.sharding.spec == spec
  np.testing.assert_array_equal(put, array)
  parts = {1: 1, 2: 2, 4: 4, 8: 8}[len({s.index[0].start for s in put.global_shards})]
  assert put.sharding.shard_shape(put.shape) == (rows // parts, 3)


@pytest.mark.parametrize("rows", [16, 6, 5])
def test_one_process_has_all_rows(rows):
  """How several share them: tests/train/test_processes.py."""
  assert own_rows(make_mesh(data=2, fsdp=4), rows).tolist() == list(range(rows))


def test_the_nearest_devices_are_those_of_the_last_axis():
  near = make_mesh(tensor=2, fsdp=2).devices.reshape(2, 2)
  assert [device.id for device in near[0]] == [0, 1]


def test_devices_can_be_given():
  assert make_mesh(data=-1, devices=jax.devices()[:2]).size == 2
  assert make_mesh(devices=jax.devices()[5:6]).devices.flat[0].id == 5


@dataclasses.dataclass(frozen=True)
class Chip:
  """A TPU chip that is not there, of one of several slices."""

  id: int
  slice_index: int
  coords: tuple[int, int, int]
  platform: str = "tpu"
  device_kind: str = "TPU v5p"
  process_index: int = 0
  core_on_chip: int = 0


def chips(slices, sides=(2, 2, 1)):
  """The chips of several slices, their numbers mixed up."""
  places = list(np.ndindex(*sides))
  return [
    Chip(100 * part + number, part, place)
    for number, place in enumerate(places)
    for part in reversed(range(slices))
  ]


def test_rows_alone_go_over_the_network_between_slices():
  mesh = make_mesh(data=4, fsdp=2, devices=chips(2))
  assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "context": 1, "tensor": 1}
  where = np.vectorize(lambda chip: chip.slice_index, otypes=[int])(mesh.devices)
  np.testing.assert_array_equal(where[:2], 0)
  np.testing.assert_array_equal(where[2:], 1)
  assert len({chip.id for chip in mesh.devices.flat}) == 8
  mesh = make_mesh(data=2, fsdp=-1, devices=chips(2))
  assert mesh.shape["fsdp"] == 4


def test_a_mesh_that_would_split_parameters_between_slices_is_refused():
  with pytest.raises(ValueError, match="2 slices, .* mesh.data is 1; give a multiple"):
    make_mesh(data=1, fsdp=8, devices=chips(2))
  assert make_mesh(data=2, context=4, devices=chips(2)).shape["context"] == 4


def test_chips_of_one_slice_need_not_say_so():
  class Alone:
    platform = "tpu"

  class Card:
    platform, slice_index = "gpu", 3

  devices = [Alone(), Alone(), Card()]
  assert torus.slices_of(devices) == [devices]
