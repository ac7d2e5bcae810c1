"""The program as it is run from a shell, and what its report says of itself."""

import hashlib
import json
import shlex

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from tests.program import program
from train.evaluate.reconstruction import running
from train.evaluate.reconstruction.__main__ import main

NAME = "train.evaluate.reconstruction"


def two_folders(parent):
  """Writes a clip into two folders; returns the options that compare them."""
  for folder in ("made", "original"):
    (parent / folder).mkdir()
    clip = world.clip(world.captions()[0], 0, 9, 32, 48)
    video.write(parent / folder / "0.mp4", clip, 24.0)
  paths = (str(parent / folder) for folder in ("made", "original"))
  return [
    word for pair in zip(("--made", "--original"), paths, strict=True) for word in pair
  ]


def report(folder):
  return json.loads((folder / "figures.json").read_text())


def test_it_runs_from_a_shell(tmp_path):
  given = ["folders", *two_folders(tmp_path), "--output", str(tmp_path / "a report")]
  program(NAME, *given)
  found = report(tmp_path / "a report")
  assert shlex.split(found["command"]) == ["python", "-m", NAME, *given]
  assert found["made"]["figures"][0]["value"] == 100


def test_a_report_has_its_clips_and_the_hashes_of_all_files(tmp_path, monkeypatch):
  monkeypatch.setattr(running, "lpips_of", lambda path: lambda made, original: 0.0)
  weights = tmp_path / "vgg16.safetensors"
  weights.write_bytes(b"weights")
  given = ["folders", *two_folders(tmp_path), "--lpips", str(weights)]
  reports = []
  for name in ("one", "two"):
    main([*given, "--output", str(tmp_path / name)])
    reports.append(report(tmp_path / name))
    clip = world.clip(world.captions()[1], 1, 9, 32, 48)
    video.write(tmp_path / "original" / "0.mp4", clip, 24.0)
  one, two = reports
  size = {"frames": 9, "height": 32, "width": 48, "fps": 24.0, "clips": 1}
  assert (one["number of clips"], one["sizes"]) == (1, [size])
  assert one["files"] == {str(weights): hashlib.sha256(b"weights").hexdigest()}
  assert one["data"] != two["data"]
