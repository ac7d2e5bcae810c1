"""The settings of a video: as a command line, as Python, and inside the file."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from ltx_jax.cli.command_line import cli
from ltx_jax.data import video
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from sample import generate, settings
from sample.enhance import EnhanceFlags
from sample.flags import PassesFlags, SamplingFlags, WindowFlags
from sample.options import Options
from tests.sample.test_generate import OTHER, PROMPT, SIZE

ALL = Options(
  prompts=("a 'quoted' word", "b"),
  output=Path("out dir/clip.mp4"),
  model="ltxv-2b-0.9.6-dev",
  lora=("a.safetensors:0.8", "b.safetensors"),
  image=Path("a.png"),
  strength=0.5,
  condition=("b.png@8:0.5", "c.mp4"),
  reference=("d.mp4:0.7",),
  width=320,
  fps=12.5,
  negative="blurred",
  seed=(3, 4),
  strict=True,
  sheet=False,
  weights="int8",
  enhance=EnhanceFlags("http://localhost", "m"),
  passes=PassesFlags(multi_scale=True, scale=0.5),
  windows=WindowFlags(window=25, adain=0.5),
  sampling=SamplingFlags(
    steps=7, guidance=(1.0, 3.0), guidance_sigmas=(1.0, 0.5), cfg_star="on"
  ),
  second=SamplingFlags(sigmas=(0.9, 0.4), stg_blocks=("1,2",), tiling="512x65"),
)


def read(words):
  return cli(Options, words, program="python -m sample.generate", about="")


def test_arguments_give_the_options_that_they_come_from():
  for options in (ALL, Options(prompts=("a",))):
    assert read(settings.arguments(options)) == options
    assert read(shlex.split(settings.command(options))[3:]) == options


def test_a_video_carries_the_command_that_made_it(program):
  flags = (*SIZE, "--seed", "3", "--no-sheet", "--guidance", "2")
  assert program(PROMPT, *flags, "--output", "a.mp4")[0] == 0
  carried = settings.read_arguments("a.mp4")
  assert carried[0] == PROMPT and carried[-2:] == ["--guidance", "2.0"]
  program(*carried, "--output", "b.mp4")
  np.testing.assert_array_equal(video.read("a.mp4")[0], video.read("b.mp4")[0])
  assert settings.read_arguments("b.mp4") == settings.arguments(
    dataclasses.replace(read(carried), output=Path("b.mp4"))
  )


def test_prompts_that_were_made_longer_are_not_made_longer_again(program, monkeypatch):
  monkeypatch.setattr(generate, "longer", lambda prompts, options: (OTHER,))
  flags = ("--enhance", "http://localhost", "--output", "a.mp4", "--no-sheet")
  program(PROMPT, *SIZE, *flags)
  carried = settings.read_arguments("a.mp4")
  assert carried[0] == OTHER and "--enhance" not in carried


@pytest.mark.parametrize(
  "comment", ["", "{", "[1]", '{"program": "x", "arguments": []}', '{"program": 1}']
)
def test_files_without_settings_are_refused(tmp_path, comment):
  path = tmp_path / "clip.mp4"
  video.write(path, np.zeros((2, 16, 16, 3), np.uint8), 8.0, comment=comment)
  with pytest.raises(ValueError, match=r"^clip.mp4 carries no settings; only vid"):
    settings.read_arguments(path)


def test_arguments_in_a_file_are_words(tmp_path):
  path = tmp_path / "clip.mp4"
  comment = json.dumps({"program": "ltx-jax", "arguments": [1, {"a": 2}]})
  video.write(path, np.zeros((2, 16, 16, 3), np.uint8), 8.0, comment=comment)
  with pytest.raises(ValueError, match="carries no settings"):
    settings.read_arguments(path)
  path.write_bytes(b"no video at all")
  with pytest.raises(ValueError, match=r"^clip.mp4 cannot be read as a video: "):
    settings.read_arguments(path)


GIVEN = np.random.default_rng(0).integers(0, 256, (1, 32, 40, 3), np.uint8)
WAYS = {
  "one pass": (PROMPT, OTHER, "--seed", "1", "2", "--image", "given.png"),
  "windows": (f"{PROMPT} | {OTHER}", "--window", "5", "--overlap", "3"),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_python_program_makes_the_same_videos(program, model, way, monkeypatch):
  size = {"height": 32, "width": 40}
  video.write("given.png", GIVEN, 24.0)
  words = [*WAYS[way], "--steps", "2", "--fps", "10", "--negative", "a star"]
  words += [part for name, n in size.items() for part in (f"--{name}", str(n))]
  words += ["--frames", "9", "--output", "a.png", "--no-sheet"]
  assert program(*words)[::2] == (0, "")
  options = dataclasses.replace(read(words), model=model)
  scope = {}
  exec(settings.python(options, PRESETS["moving-shapes"].recipe), scope)
  names = ["a.png"] if way == "windows" else [f"a-{i + 1}.png" for i in range(4)]
  for made, name in zip(scope["videos"], names, strict=True):
    np.testing.assert_array_equal(made, video.read(name)[0])


def test_two_passes_and_sampling_are_written_out():
  recipe = Recipe(upscaler="up.safetensors")
  written = settings.python(dataclasses.replace(ALL, windows=WindowFlags()), recipe)
  compile(written, "program", "exec")
  for part in (
    "ltx_jax.MultiScale(model, ltx_jax.load_upscaler('up.safetensors'))",
    "ltx_jax.TwoPasses(ltx_jax.Sampling(steps=7, guidance=(1.0, 3.0), cfg_star=True",
    "ltx_jax.Sampling(stg_blocks=(1, 2), sigmas=(0.9, 0.4), tiling=(512, 65))",
    "loras=[('a.safetensors', 0.8), ('b.safetensors', 1.0)]",
    "ltx_jax.Condition('b.png', frame=8, strength=0.5)",
    "ltx_jax.Reference('d.mp4', strength=0.7)",
  ):
    assert part in written
