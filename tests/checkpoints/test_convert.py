import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from ltx_jax.checkpoints import diffusers, keys, lightricks
from ltx_jax.checkpoints.convert import convert
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.checkpoints.trees import flatten
from tests.checkpoints import folders, small

CONFIG = folders.config(newer=True)


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "model.safetensors"
  lightricks.save_checkpoint(path, CONFIG, folders.params(CONFIG))
  return path


@pytest.mark.slow
def test_there_and_back_gives_the_same_bytes(tmp_path, file):
  told = []
  written = convert(file, tmp_path / "folder", on_bytes=lambda *n: told.append(n))
  assert diffusers.read_config(tmp_path / "folder") == CONFIG == written.config
  again = tmp_path / "again.safetensors"
  assert convert(tmp_path / "folder", again) == written
  assert again.read_bytes() == file.read_bytes()
  assert written.tensors == len(told)
  done, totals = zip(*told, strict=True)
  assert list(done) == sorted(set(done)) and set(totals) == {done[-1]}
  assert done[-1] == written.bytes < file.stat().st_size


def test_a_folder_is_what_saving_a_model_gives(tmp_path, file):
  convert(file, tmp_path / "one", dtype="bfloat16")
  params = folders.params(CONFIG)
  diffusers.save_checkpoint(tmp_path / "two", CONFIG, params, dtype="bfloat16")
  for path in (tmp_path / "two").rglob("*.*"):
    other = tmp_path / "one" / path.relative_to(tmp_path / "two")
    assert path.read_bytes() == other.read_bytes(), path


def _as_float8(tensors):
  """Casts what released float8 files cast: matrices in the transformer's blocks."""
  return {
    name: tensor.astype(
      ml_dtypes.float8_e4m3fn
      if "transformer_blocks" in name and name.endswith("weight") and tensor.ndim == 2
      else ml_dtypes.bfloat16
    )
    for name, tensor in tensors.items()
  }


def test_float8_is_kept_or_cast_and_loads(tmp_path):
  tensors = _as_float8(small.official())
  path = small.write(tmp_path / "fp8.safetensors", tensors, small.metadata())
  name = f"{keys.PREFIXES['transformer']}transformer_blocks.0.attn1.to_q.weight"
  for dtype, stored in ((None, "float8_e4m3fn"), ("bfloat16", "bfloat16")):
    target = tmp_path / f"{dtype}.safetensors"
    convert(path, target, dtype)
    with open_safetensors(target) as reader:
      assert reader.dtype(name) == stored
      assert reader.dtype(f"{keys.PREFIXES['transformer']}proj_out.bias") == "bfloat16"
      assert reader.dtype(f"vae.{keys.MEAN_OF_MEANS}") == "float32"
      np.testing.assert_array_equal(
        reader.read(name).astype(np.float32), tensors[name].astype(np.float32)
      )
  _, params = lightricks.load_checkpoint(path, "float32")
  for leaf in flatten(params).values():
    assert leaf.dtype == jnp.float32
  kernel = params["transformer"]["blocks"]["attn1"]["to_q"]["kernel"]
  np.testing.assert_array_equal(kernel[0], tensors[name].astype(np.float32).T)


def test_a_stack_of_which_some_layers_are_float8_loads(tmp_path):
  tensors = {k: v.astype(ml_dtypes.bfloat16) for k, v in small.official().items()}
  name = f"{keys.PREFIXES['transformer']}transformer_blocks.1.ff.net.2.weight"
  tensors[name] = tensors[name].astype(ml_dtypes.float8_e4m3fn)
  path = small.write(tmp_path / "some.safetensors", tensors, small.metadata())
  _, params = lightricks.load_checkpoint(path)
  kernel = params["transformer"]["blocks"]["ff"]["proj_out"]["kernel"]
  assert kernel.dtype == "bfloat16"
  np.testing.assert_array_equal(kernel[1], tensors[name].astype(np.float32).T)


def test_missing_means_are_written_as_zeros(tmp_path):
  config, tensors = small.metadata(), small.official()
  del tensors[f"vae.{keys.MEAN_OF_MEANS}"]
  path = small.write(tmp_path / "old.safetensors", tensors, config)
  convert(path, tmp_path / "new.safetensors")
  with open_safetensors(tmp_path / "new.safetensors") as reader:
    assert not reader.read(f"vae.{keys.MEAN_OF_MEANS}").any()


def test_what_cannot_be_converted_is_refused(tmp_path, file):
  with pytest.raises(ValueError, match="dtype is 'int8'; it may be float32, bfloat16"):
    convert(file, tmp_path / "x", "int8")
  with pytest.raises(ValueError, match="model.safetensors exists already"):
    convert(file, file)
  path = small.write(tmp_path / "odd.safetensors", small.official(), small.metadata())
  with pytest.raises(
    ValueError, match="write the official single file, NAME.safetensors"
  ):
    convert(path, tmp_path / "x")
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.gguf"])
def test_files_of_other_layouts_are_no_folders(tmp_path, name):
  with pytest.raises(
    ValueError, match=f"{name} is to be a file of another layout; give"
  ):
    convert(tmp_path / "a.safetensors", tmp_path / name)
