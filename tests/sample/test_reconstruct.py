"""The program that shows what a VAE does to a video, from its options to the files.

The clip has an odd size and length, and goes through the small model that ships.
"""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ltx_jax.cli import console
from ltx_jax.data import video
from ltx_jax.metrics.psnr import psnr
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from sample import reconstruct
from tests.program import ROOT

CAPTION = "a large red circle moving right on a navy background"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
  """21 frames of 100x70, without the losses of a codec."""
  path = tmp_path_factory.mktemp("clip") / "clip.png"
  video.write(path, world.clip(CAPTION, 0, 21, 70, 100), 10)
  return path


@pytest.fixture
def program(tmp_path, monkeypatch, capsys, quick):
  """Runs the program in an empty folder; returns exit code, output and errors."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(console, "use_compile_cache", lambda: None)

  def run(*arguments):
    code = 0
    try:
      console.run(lambda: reconstruct.main([str(word) for word in arguments]))
    except SystemExit as error:
      code = error.code
    out, err = capsys.readouterr()
    return code, out, err

  return run


def test_a_clip_is_compared_with_its_reconstruction(program, clip, tmp_path):
  code, out, err = program(clip, "--output", "out/seen.png", "--gain", "3")
  assert (code, err) == (0, "")
  names = ["seen-figures.json", "seen-figures.png", "seen.png"]
  assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
  shown, fps = video.read("out/seen.png")
  original = video.read(clip)[0]
  assert shown.shape == (21, 70, 300, 3) and fps == pytest.approx(10)
  before, after, error = np.split(shown, 3, axis=2)
  np.testing.assert_array_equal(before, original)
  expected = 3 * np.abs(after.astype(int) - before)
  np.testing.assert_array_equal(error, np.minimum(expected, 255))
  found = json.loads((tmp_path / "out" / names[0]).read_text())
  assert 25 < found["clip"]["psnr"] == pytest.approx(psnr(after, before, 255.0))
  assert found["clip"]["ssim"] > 0.8
  assert [len(v) for v in found["frames"].values()] == [21, 21, 20]
  assert found["size"] == {"frames": 21, "height": 70, "width": 100, "fps": fps}
  assert found["options"]["video"] == str(clip) and found["options"]["gain"] == 3
  assert found["latents"]["channels"] == 128 and found["bands"]["LLL"]["share"] < 0.1
  with Image.open("out/seen-figures.png") as curves:
    assert curves.width > 300 and np.asarray(curves.convert("L")).min() < 128
  for words in (
    "100x70, 21 frames at 10",
    "PSNR [dB]",
    "(frame ",
    "motion ratio",
    "HHH",
  ):
    assert words in out
  assert out.splitlines()[-1].endswith("out/seen-figures.png, out/seen-figures.json")


def test_noise_and_the_number_of_frames_are_as_asked(program, clip):
  figures = []
  for sigma in ("0", "0.9"):
    options = ("--frames", "9", "--sigma", sigma, "--output", "a.gif")
    code, out, _ = program(clip, *options)
    assert code == 0 and "is longer than 9 frames, and only these are taken" in out
    assert f"noise level {sigma}," in out
    with open("a-figures.json") as file:
      figures.append(json.load(file))
  assert figures[0]["size"]["frames"] == 9
  assert figures[0]["clip"]["psnr"] > figures[1]["clip"]["psnr"]


def test_an_image_and_a_file_of_the_vae_alone_will_do(program, tmp_path):
  Image.fromarray(world.clip(CAPTION, 0, 1, 40, 33)[0]).save("still.png")
  shutil.copy(
    ASSETS / "moving_shapes" / "model.safetensors", tmp_path / "m.safetensors"
  )
  code, out, err = program(
    "still.png", "--model", "m.safetensors", "--output", "seen.jpg"
  )
  assert (code, err) == (0, "") and "33x40, 1 frame at 24" in out
  assert video.read("seen.jpg")[0].shape == (1, 40, 99, 3)


def test_without_matplotlib_there_are_no_curves(program, clip, tmp_path, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name: None if name == "matplotlib" else find(name),
  )
  code, out, _ = program(clip, "--frames", "1", "--output", "a.jpg")
  assert code == 0 and "no curves are drawn, because matplotlib is missing" in out
  assert sorted(path.name for path in tmp_path.iterdir()) == ["a-figures.json", "a.jpg"]


def test_what_is_wrong_is_refused_in_a_sentence_and_nothing_is_written(
  program, clip, tmp_path
):
  Image.new("RGB", (8, 40)).save("thin.png")
  before = sorted(tmp_path.iterdir())
  for arguments, message in (
    ((), "VIDEO"),
    (("nowhere.mp4",), "nowhere.mp4 does not exist"),
    (("thin.png",), "8x40 pixels have no SSIM"),
    ((clip, "--sigma", "1.5"), "--sigma is 1.5; it must be at least 0 and at most 1"),
    ((clip, "--frames", "0"), "--frames is 0"),
    ((clip, "--gain", "-1"), "--gain is -1"),
    ((clip, "--seed", "-1"), "seed is -1"),
    ((clip, "--window", "30"), "window is 30; it must be 8k + 1 frames, at least 33"),
    ((clip, "--output", "a.avi"), "a.avi has the suffix '.avi'"),
    ((clip, "--output", "a.jpg"), ".jpg holds one frame, but there are 21"),
    ((clip, "--output", clip), "would replace what VIDEO reads"),
    ((clip, "--model", "none.safetensors"), "none.safetensors"),
    ((clip, "--sgima", "0"), "did you mean --sigma?"),
  ):
    code, _, err = program(*arguments)
    assert code == 2 and message in err, err
    assert len(err.strip().splitlines()) == 1
  assert sorted(tmp_path.iterdir()) == before


def test_a_clip_that_fills_the_memory_is_refused_with_a_length_that_fits(
  program, clip, monkeypatch
):
  from sample import comparing

  monkeypatch.setattr(comparing, "free_memory", lambda: 10 * 40 * 70 * 100)
  code, _, err = program(clip)
  assert code == 2 and "ask for --frames 10." in err


def test_help_teaches(program):
  code, out, _ = program("--help")
  assert code == 0
  for words in (
    "limit of the VAE",
    "the fault lies in sampling",
    "motion ratio",
    "VIDEO",
  ):
    assert words in out


@pytest.mark.slow
@pytest.mark.usefixtures("heeded_signals")
def test_an_interrupt_ends_it_with_130_and_leaves_nothing(clip, tmp_path):
  command = [sys.executable, "-m", "sample.reconstruct", str(clip)]
  command += ["--output", str(tmp_path / "seen.mp4")]
  with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
    for line in child.stdout:
      if line.startswith("Compiling"):
        child.send_signal(signal.SIGINT)
    assert child.wait() == 130
  assert list(tmp_path.iterdir()) == []
