import jax
import numpy as np
import pytest

from ltx_jax.checkpoints.keys import tree_shapes
from ltx_jax.checkpoints.perceptual import (
  from_released,
  load_perceptual,
  perceptual_entries,
  save_perceptual,
)
from ltx_jax.checkpoints.safetensors_io import open_safetensors, write_safetensors
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.models.perceptual import init_perceptual
from tests.models import perceptual_case as case


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "perceptual.safetensors"
  save_perceptual(path, case.params())
  return path


def test_the_network_has_the_parameters_of_the_map():
  tree = jax.eval_shape(init_perceptual, jax.random.key(0))
  shapes = {name: leaf.shape for name, leaf in flatten(tree).items()}
  assert shapes == tree_shapes(perceptual_entries())
  # 14,714,688 of VGG16's convolutions, as torchvision counts them, and 1,472 of heads.
  assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == 14_714_688 + 1_472


def test_what_is_saved_is_read_back_bit_for_bit(path):
  read = load_perceptual(path)
  jax.tree.map(np.testing.assert_array_equal, read, case.params())
  assert jax.tree.structure(read) == jax.tree.structure(case.params())


def test_the_file_has_the_names_and_axes_of_torchvision(path):
  with open_safetensors(path) as reader:
    assert len(reader.names) == 2 * 13 + 5
    for name, tensor in case.vgg().items():
      np.testing.assert_array_equal(reader.read(name), tensor)
    assert reader.shape("lin4.weight") == (512,)


def test_the_classifier_is_left_out_and_heads_are_equal_by_default():
  classifier = {"classifier.0.weight": np.zeros((4096, 2), np.float32)}
  params = from_released(case.vgg() | classifier, None)
  assert params.keys() == {"vgg", "heads"}
  jax.tree.map(np.testing.assert_array_equal, params["vgg"], case.params()["vgg"])
  assert all(np.all(head == 1) for head in params["heads"].values())


def rewritten(path, target, change):
  with open_safetensors(path) as reader:
    tensors = {name: reader.read(name) for name in reader.names}
  change(tensors)
  items = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  write_safetensors(target, items)
  return target


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda tensors: tensors.pop("lin0.weight"),
      r"differs in 1: lin0.weight \(expected \(64,\), found nothing\); make",
    ),
    (
      lambda tensors: tensors.update({"features.0.bias": np.zeros(3, np.float32)}),
      r"features.0.bias \(expected \(64,\), found \(3,\)\)",
    ),
    (
      lambda tensors: tensors.update({"features.1.bias": np.zeros(3, np.float32)}),
      r"features.1.bias \(expected nothing, found \(3,\)\)",
    ),
    (
      lambda tensors: tensors.update({"lin1.weight": np.zeros(128, np.int32)}),
      "has lin1.weight as int32; weights are floating-point numbers",
    ),
  ],
  ids=["missing", "misshaped", "unknown", "whole numbers"],
)
def test_tensors_that_do_not_fit_are_named(path, tmp_path, change, message):
  bad = rewritten(path, tmp_path / "bad.safetensors", change)
  with pytest.raises(ValueError, match=message) as error:
    load_perceptual(bad)
  assert str(bad) in str(error.value)


def test_released_files_of_other_networks_are_refused():
  normed = case.vgg() | {"features.1.running_mean": np.zeros(64, np.float32)}
  with pytest.raises(
    ValueError, match="VGG16 .* features.1.running_mean .* batch norm"
  ):
    from_released(normed, None)
  squeeze = case.heads() | {"lin5.model.1.weight": np.zeros((1, 512, 1, 1))}
  with pytest.raises(ValueError, match="the heads .*: lin5.model.1.weight .*/vgg.pth"):
    from_released(case.vgg(), squeeze)


def test_parameters_of_something_else_are_not_written(tmp_path):
  path = tmp_path / "no.safetensors"
  with pytest.raises(ValueError, match=r"heads/lin0 \(expected \(64,\), found nothing"):
    save_perceptual(path, {"vgg": case.params()["vgg"]})
  assert not path.exists()
