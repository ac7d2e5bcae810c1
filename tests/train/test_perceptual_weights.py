"""The program that makes the file of LPIPS, from files as they are released."""

import sys

import jax
import numpy as np
import pytest

from ltx_jax.checkpoints.perceptual import load_perceptual
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from tests.models import perceptual_case as case
from train import perceptual_weights


class NoPyTorch:
  """A finder of modules to which PyTorch is not installed."""

  @staticmethod
  def find_spec(name, path=None, target=None):
    if name == "torch":
      raise ImportError("No module named 'torch'")


@pytest.fixture(autouse=True)
def no_pytorch(monkeypatch):
  monkeypatch.delitem(sys.modules, "torch", raising=False)
  monkeypatch.setattr(sys, "meta_path", [NoPyTorch, *sys.meta_path])


def write(path, tensors):
  items = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  write_safetensors(path, items)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
  """A folder with VGG16 and the heads in safetensors files, as the hub has them."""
  folder = tmp_path_factory.mktemp("released")
  classifier = {"head.fc.weight": np.zeros((2, 3), np.float32)}
  write(folder / "vgg16.safetensors", case.vgg() | classifier)
  write(folder / "heads.safetensors", case.heads())
  return folder


def run(folder, *arguments):
  perceptual_weights.main([str(folder / "vgg16.safetensors"), *map(str, arguments)])


def test_safetensors_files_need_no_pytorch(released, tmp_path, capsys):
  output = tmp_path / "perceptual.safetensors"
  run(released, "--heads", released / "heads.safetensors", "--output", output)
  assert (
    capsys.readouterr().out == f"Wrote {output}: VGG16 and heads, 14716160 numbers.\n"
  )
  jax.tree.map(np.testing.assert_array_equal, load_perceptual(output), case.params())
  run(released, "--output", output)
  assert "heads that weigh all channels equally" in capsys.readouterr().out
  heads = load_perceptual(output)["heads"]
  jax.tree.map(np.testing.assert_array_equal, heads, case.equal_params()["heads"])


def test_errors_are_sentences(released, tmp_path, capsys):
  pickled = tmp_path / "vgg16.pth"
  pickled.write_bytes(b"PK\x03\x04")
  heads = released / "heads.safetensors"
  for arguments, said in (
    (("--heads", pickled), f"{pickled} is a file of PyTorch, which is not installed"),
    (("--heads", tmp_path / "no.pth"), f"There is no file {tmp_path}/no.pth; give"),
    (("--heads", released / "vgg16.safetensors"), "lin0.model.1.weight (expected (1,"),
    (("--heads", heads, "--output", heads), "would replace what --heads reads"),
    (("--output", tmp_path / "no" / "x"), f"{tmp_path}/no is not a folder"),
  ):
    with pytest.raises(SystemExit) as end:
      run(released, *arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
