"""A run as several processes equals the run as one, and ends with a message."""

import numpy as np
import pytest

from tests.train.processes_case import outputs, started, training, write_inputs
from train.harness.reporting import read_metrics

MESHES = {
  1: ("--mesh.data", "2", "--mesh.fsdp", "2", "--mesh.context", "2"),
  2: ("--mesh.data", "2", "--mesh.fsdp", "2", "--mesh.context", "2"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """The VAE and the records of a tiny transformer."""
  return write_inputs(tmp_path_factory.mktemp("inputs"))


def curve(folder):
  return np.array([[row["loss"], row["grad_norm"]] for row in read_metrics(folder)])


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path, inputs):
  curves = {}
  for count, mesh in MESHES.items():
    folder = tmp_path / str(count)
    with started(training(inputs, folder, *mesh), count, 8) as running:
      printed = outputs(running)
      assert not any(process.returncode for process in running), printed
    curves[count] = curve(folder)
    assert (folder / "model" / "model.safetensors").is_file()
  assert "Process 1 of 2" in printed[1] and "4 of 8 devices" in printed[1]
  assert "step 8/8" in printed[0] and "step 8/8" not in printed[1]
  one, two = curves[1], curves[2]
  assert len(one) == len(two) == 8
  np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
  np.testing.assert_allclose(two, one, rtol=1e-4)
