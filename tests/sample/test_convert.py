"""The program that converts checkpoints, from the command line to the files."""

import pytest

from ltx_jax.checkpoints import diffusers, lightricks
from ltx_jax.cli import console
from sample import convert
from tests.checkpoints import folders

CONFIG = folders.config(newer=True)


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
  """Runs the program on a checkpoint; returns exit code, output and errors."""
  monkeypatch.chdir(tmp_path)
  lightricks.save_checkpoint("model.safetensors", CONFIG, folders.params(CONFIG))

  def run(*arguments):
    code = 0
    try:
      console.run(lambda: convert.main(arguments))
    except SystemExit as error:
      code = error.code
    out, err = capsys.readouterr()
    return code, out, err

  return run


def test_the_names_decide_the_layout_and_dtype_the_numbers(program):
  code, out, err = program("model.safetensors", "folder", "--dtype", "bfloat16")
  assert (code, err) == (0, "")
  assert "wrote folder: a transformer of 3 layers and width 32 and a VAE of 16" in out
  config, params = diffusers.load_checkpoint("folder")
  assert config == CONFIG
  assert params["transformer"]["proj_out"]["kernel"].dtype == "bfloat16"
  code, _, _ = program("folder", "again.safetensors")
  assert code == 0
  assert lightricks.read_config("again.safetensors") == CONFIG


def test_errors_are_sentences(program):
  for arguments, message in (
    (("nowhere.safetensors", "x"), "There is no file nowhere.safetensors"),
    (("model.safetensors", "model.safetensors"), "exists already; give another name"),
    (("model.safetensors", "no/where.safetensors"), "no is not a folder"),
    (("model.safetensors",), "TARGET"),
    (("model.safetensors", "x", "--dtype", "int8"), "int8"),
  ):
    code, _, err = program(*arguments)
    assert code == 2 and message in err, err
    assert "Traceback" not in err


def test_help_teaches(program):
  code, out, _ = program("--help")
  assert code == 0
  for words in (
    "layout of",
    "--dtype",
    "SOURCE",
    "python -m sample.convert",
    "licence",
  ):
    assert words in out
