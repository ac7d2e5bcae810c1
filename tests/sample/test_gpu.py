"""The GPU path, with the CPU in the GPU's place."""

import dataclasses

import pytest

import ltx_jax
from ltx_jax.cli import console
from ltx_jax.data import video
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.pipeline.generate import generate as generate_video
from ltx_jax.pipeline.model import OnePass
from sample import ahead, gpu, making

PROMPT = "a large red circle moving right on a navy background"
SIZE = ("--width", "40", "--height", "32", "--frames", "5", "--steps", "2")


@pytest.fixture
def path(model, tmp_path, monkeypatch, capsys):
  """Runs the program in an empty folder; returns exit code, output and errors."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(console, "use_compile_cache", lambda: None)

  def run(*arguments, platform="cpu"):
    code = 0
    try:
      console.run(lambda: gpu.main(["--model", model, *arguments], platform))
    except SystemExit as error:
      code = error.code
    return (code, *capsys.readouterr())

  return run


def test_a_video_is_made_and_timed_each_time(path):
  flags = ("--seed", "3", "--repeat", "3", "--output", "clip.png")
  code, out, err = path(PROMPT, *SIZE, *flags)
  assert (code, err) == (0, "")
  assert out.count("denoise") == out.count("decode") == 3
  assert "float32, compile" in out and "text" in out and "wrote clip.png" in out
  first, _ = video.read("clip.png")
  assert first.shape == (5, 32, 40, 3)
  code, out, _ = path(
    PROMPT, *SIZE, "--seed", "4", "--repeat", "1", "--output", "b.png"
  )
  assert out.count("denoise") == 1
  assert (video.read("b.png")[0] != first).any()


def test_without_a_gpu_it_says_so(path):
  code, _, err = path(PROMPT, *SIZE, platform="gpu")
  assert code == 2
  assert "JAX finds no GPU here, but cpu" in err and "sample.generate" in err


def test_no_video_at_all_is_refused(path):
  code, _, err = path(PROMPT, *SIZE, "--repeat", "0")
  assert code == 2 and "--repeat is 0; it must be at least 1" in err


def test_help_teaches(path):
  code, out, _ = path("--help")
  assert code == 0
  for words in ("python -m sample.gpu", "--repeat", "cuDNN", "--text-encoder"):
    assert words in out


def test_what_was_compiled_ahead_is_not_compiled_again(model, compilations):
  loaded = ltx_jax.load(model)
  # Two sets of branches: with and without the unconditional one.
  sampling = Sampling(steps=2, guidance=(1.0, 3.0), guidance_sigmas=(0.99, 0.0))
  request = loaded.recipe.request(loaded.config.vae, [PROMPT], size=(5, 32, 40))
  way = OnePass(loaded, sampling)
  names = ahead.compile_ahead(way, request, way.plan(request))
  assert names == ["keys", "denoise", "denoise", "decode"]
  loaded.encode_text([PROMPT, ""])
  with compilations() as events:
    generate_video(way, request)
  compiled = [event.get("fun_name") for event in events]
  assert not {"denoising_step", "program"} & set(compiled), compiled


def test_generate_compiles_ahead_where_there_is_a_gpu(program, model, monkeypatch):
  asked = []
  monkeypatch.setattr(
    making,
    "compile_ahead",
    lambda way, request, plan: asked.append((request.canvas.used, request.clips)),
  )
  program(PROMPT, *SIZE, "--output", "a.png")
  assert asked == []
  load = ltx_jax.load

  def on_gpu(*arguments, **options):
    loaded = load(*arguments, **options)
    policy = dataclasses.replace(loaded.policy, name="gpu")
    return dataclasses.replace(loaded, policy=policy)

  monkeypatch.setattr(ltx_jax, "load", on_gpu)
  program(PROMPT, *SIZE, "--seed", "1", "2", "--output", "b.png")
  assert asked == [((5, 32, 40), 2)]
