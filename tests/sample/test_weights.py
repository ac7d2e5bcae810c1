"""The flags of `sample.generate` for 8-bit weights and for encoded prompts."""

from pathlib import Path

import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints import t5
from ltx_jax.cli import console
from ltx_jax.data import video
from tests.sample.test_generate import PROMPT, SIZE


@pytest.fixture
def loaded(monkeypatch):
  """The models that the program loads."""
  models, load = [], ltx_jax.load

  def watched(*arguments, **options):
    models.append(load(*arguments, **options))
    return models[-1]

  monkeypatch.setattr(ltx_jax, "load", watched)
  return models


@pytest.mark.slow
def test_weights_in_8_bits_make_nearly_the_same_video(program, loaded):
  flags = {
    "full": (),
    "int8": ("--weights", "int8"),
    "fp8": ("--weights", "fp8"),
    "text": ("--text-weights", "int8"),
  }
  shown = {}
  for name, given in flags.items():
    code, _, err = program(PROMPT, *SIZE, *given, "--output", f"{name}.png")
    assert (code, err) == (0, "")
    shown[name] = video.read(f"{name}.png")[0].astype(int)
  kernels = [
    m.params["transformer"]["blocks"]["ff"]["proj_in"]["kernel"] for m in loaded
  ]
  found = [str(kernel.dtype) for kernel in kernels]
  assert found == ["float32", "int8", "float8_e4m3fn", "float32"]
  for name in ("int8", "fp8", "text"):
    difference = abs(shown[name] - shown["full"])
    assert difference.any()
    assert difference.mean() < 8


def test_a_cached_prompt_is_not_encoded_again(program, loaded, monkeypatch):
  cached = (PROMPT, *SIZE, "--text-cache", "texts")
  assert program(*cached, "--output", "first.png")[0] == 0
  assert len(list(Path("texts").iterdir())) == 2  # The prompt, and the negative prompt.
  assert "text_encoder" not in loaded[0].params

  def refuse(*_):
    raise ValueError("The text encoder was read.")

  monkeypatch.setattr(t5, "load_t5", refuse)
  code, _, err = program(*cached, "--output", "second.png")
  assert (code, err) == (0, "")
  first, second = (video.read(f"{name}.png")[0] for name in ("first", "second"))
  np.testing.assert_array_equal(first, second)
  for other in (("--text-cache", "off"), ("--text-cache", "elsewhere")):
    code, _, err = program(*cached, *other)
    assert code == 2 and "The text encoder was read." in err


def test_prompts_are_kept_in_the_users_cache_unless_told_otherwise(monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
  assert console.text_cache(None) == Path("/somewhere/ltx-jax/text")
  monkeypatch.delenv("XDG_CACHE_HOME")
  assert console.text_cache(None) == Path.home() / ".cache" / "ltx-jax" / "text"
  assert console.text_cache("off") is None
  assert console.text_cache("here") == Path("here")


@pytest.mark.parametrize("flag", ["--weights", "--text-weights"])
def test_other_weights_are_refused(program, flag):
  code, _, err = program(PROMPT, *SIZE, flag, "int4")
  assert code == 2 and flag in err
