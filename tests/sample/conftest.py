"""Shared by the tests of `sample.generate`: a small model, and the program."""

import dataclasses

import jax
import pytest

from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.t5 import save_t5
from ltx_jax.cli import console
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.releases.presets import ASSETS
from sample import generate
from tests import pipeline_case as case


@pytest.fixture(scope="module")
def model(tmp_path_factory, quick):
  """A random model with the small model's name, in a folder of its own."""
  folder = tmp_path_factory.mktemp("model")
  config = dataclasses.replace(case.config(), name="moving-shapes")
  save_checkpoint(folder / "model.safetensors", config, case.params())
  text = TextEncoderConfig(
    vocab_size=512, d_model=10, d_kv=4, d_ff=12, num_layers=1, num_heads=2
  )
  save_t5(folder / "text_encoder", text, text_encoder.init(text, jax.random.key(1)))
  (folder / "tokenizer").mkdir()
  for file in (ASSETS / "moving_shapes" / "tokenizer").iterdir():
    (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
  return str(folder)


@pytest.fixture
def program(model, tmp_path, monkeypatch, capsys):
  """Runs the program in an empty folder; returns exit code, output and errors."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(console, "use_compile_cache", lambda: None)

  def run(*arguments):
    code = 0
    try:
      given = ["--model", model, "--text-cache", "off", *arguments]
      console.run(lambda: generate.main(given))
    except SystemExit as error:
      code = error.code
    out, err = capsys.readouterr()
    return code, out, err

  return run
