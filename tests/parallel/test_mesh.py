"""The mesh: sizes, axis types, and how batches are split."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from ltx_jax.config.runs import MeshConfig
from ltx_jax.parallel.mesh import batch_spec, make_mesh, put_batch, sampling_mesh


@pytest.mark.parametrize(
  "config, shape",
  [
    (MeshConfig(), (8, 1)),
    (MeshConfig(2, -1), (2, 4)),
    (MeshConfig(4, 2), (4, 2)),
    (MeshConfig(1, 1), (1, 1)),
    (MeshConfig(1, 3), (1, 3)),
  ],
)
def test_sizes(config, shape):
  mesh = make_mesh(config)
  assert tuple(mesh.shape.items()) == (("data", shape[0]), ("fsdp", shape[1]))
  assert mesh.axis_types == (AxisType.Auto, AxisType.Auto)


@pytest.mark.parametrize(
  "config",
  [MeshConfig(16, 1), MeshConfig(-1, 3), MeshConfig(-1, -1), MeshConfig(0, -1)],
)
def test_impossible_sizes_are_refused(config):
  message = f"mesh.data = {config.data} and mesh.fsdp = {config.fsdp}.*8 device"
  with pytest.raises(ValueError, match=message):
    make_mesh(config)


@pytest.mark.parametrize(
  "rows, spec",
  [
    (16, PartitionSpec(("data", "fsdp"))),
    (4, PartitionSpec(("fsdp",))),
    (6, PartitionSpec(("data",))),
    (5, PartitionSpec()),
  ],
)
def test_batches_are_split_as_far_as_rows_divide(rows, spec):
  mesh = make_mesh(MeshConfig(2, 4))
  assert batch_spec(mesh, rows) == spec
  array = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
  put = put_batch(mesh, {"x": array})["x"]
  np.testing.assert_array_equal(put, array)
  parts = {1: 1, 2: 2, 4: 4, 8: 8}[len({s.index[0].start for s in put.global_shards})]
  assert put.sharding.shard_shape(put.shape) == (rows // parts, 3)


def test_devices_can_be_given():
  assert make_mesh(MeshConfig(), jax.devices()[:2]).size == 2


def test_the_mesh_of_sampling_has_all_axes_the_nearest_last():
  mesh = sampling_mesh(data=2, context=4)
  sizes = (("data", 2), ("context", 4), ("fsdp", 1), ("tensor", 1))
  assert tuple(mesh.shape.items()) == sizes
  assert set(mesh.axis_types) == {AxisType.Auto}
  near = sampling_mesh(tensor=2, fsdp=2).devices.reshape(2, 2)
  assert [device.id for device in near[0]] == [0, 1]
  assert sampling_mesh(devices=jax.devices()[5:6]).devices.flat[0].id == 5


@pytest.mark.parametrize(
  ("axes", "message"),
  [
    ({"data": 2, "context": 8}, "data = 2, context = 8 cannot be laid over 8 device"),
    ({"tensor": 3}, "tensor = 3 cannot .* whose product divides that"),
    ({"fsdp": 0}, "fsdp = 0 cannot .* sizes of at least 1"),
  ],
)
def test_meshes_that_leave_devices_over_are_refused(axes, message):
  with pytest.raises(ValueError, match=message):
    sampling_mesh(**axes)
