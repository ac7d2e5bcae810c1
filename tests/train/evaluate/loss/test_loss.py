"""The loss by noise level: fixed draws, known answers, and what is refused."""

import json

import numpy as np
import pytest

import ltx_jax
from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import WORLDS
from train.evaluate.loss import material, measuring
from train.evaluate.loss.__main__ import bucket_of, main

BUCKET = "9x32x32"


@pytest.fixture(scope="module")
def model():
  return ltx_jax.load("moving-shapes")


@pytest.fixture(scope="module")
def clips(model):
  opened = material.open_source("moving-shapes")
  return list(material.samples(opened, model, bucket_of(BUCKET), 3))


@pytest.mark.parametrize("name", WORLDS)
def test_a_small_world_gives_captions_that_are_held_out(name):
  opened = material.open_source(name)
  assert opened.names and all(map(world.is_held_out, opened.names))
  assert opened.source.captions == tuple(opened.captions)


def test_draws_depend_on_the_seed_and_the_name_alone(model, clips):
  opened = material.open_source("moving-shapes")
  (first,) = material.samples(opened, model, bucket_of(BUCKET), 1)
  assert first.name == clips[0].name
  one, again, other = (
    measuring.losses(model, clip, material.text_of(clip, model), seed)
    for clip, seed in ((first, 0), (clips[0], 0), (clips[0], 1))
  )
  np.testing.assert_array_equal(one, again)
  assert (one != other).all() and (one > 0).all()
  _, sigma = measuring.levels(0, first)
  np.testing.assert_array_equal(np.floor(10 * np.asarray(sigma)), np.arange(10))


def test_a_model_that_answers_nothing_has_the_energy_of_its_target(
  model, clips, monkeypatch
):
  """|0 - (noise - x0)|^2 is about 1 + E x0^2, as noise has variance 1."""
  monkeypatch.setattr(type(model), "velocity", lambda self, xt, *rest: 0 * xt)
  text = material.text_of(clips[0], model)
  found = measuring.losses(model, clips[0], text, 0)
  energy = 1 + np.mean(np.square(clips[0].batch["latents"]))
  assert abs(found / energy - 1).max() < 0.4
  assert abs(found.mean() / energy - 1) < 0.08


def rows(count=4):
  rng = np.random.default_rng(0)
  first = rng.uniform(1, 2, (count, 10))
  return [
    measuring.Row(
      BUCKET,
      f"clip {k}",
      f"video {k % 2}",
      np.arange(10) / 10,
      {"raw": first[k], "averaged": 0.9 * first[k]},
    )
    for k in range(count)
  ]


def test_figures_have_a_bin_each_and_one_for_all_with_intervals():
  found = measuring.summary(rows(), "raw", "a test")
  assert len(found) == 11 and found[0].name == "loss (sigma 0.0 to 0.1)"
  assert found[3].value == np.mean([row.losses["raw"][3] for row in rows()])
  assert all(each.low < each.value < each.high for each in found)
  assert (found[0].n, found[0].sources) == (4, 2)
  assert found[-1].name == "loss (all sigmas)" and found[0].line.endswith("test, raw")


def test_the_difference_of_two_models_is_in_shares_of_the_first_ones_loss():
  found = measuring.difference(rows(), "a test")
  np.testing.assert_allclose([each.value for each in found], -0.1)
  assert "loss of averaged less that of raw" in found[0].recipe


def test_the_program_writes_losses_of_videos_with_captions(tmp_path, capsys):
  manifest = []
  for k in range(2):
    path = tmp_path / f"{k}.mp4"
    video.write(path, world.clip(world.captions()[k], k, 9, 32, 32), 24.0)
    manifest.append({"path": str(path), "id": str(k), "caption": world.captions()[k]})
  lines = "".join(json.dumps(row) + "\n" for row in manifest)
  (tmp_path / "clips.jsonl").write_text(lines)
  given = ["--data", str(tmp_path / "clips.jsonl"), "--buckets", BUCKET]
  main([*given, "--output", str(tmp_path / "out")])
  out = capsys.readouterr().out
  assert "loss (sigma 0.9 to 1.0) " in out and ", 2 clips; squared error" in out
  found = json.loads((tmp_path / "out" / "loss.json").read_text())
  assert len(found["buckets"][BUCKET]["moving-shapes"]) == 11
  assert found["settings"]["seed"] == 0 and found["data"] and found["device"]
  assert set(found["weights"]["moving-shapes"]) >= {"transformer", "vae"}
  assert found["command"].startswith("python -m train.evaluate.loss --data ")
  size = {"frames": 9, "height": 32, "width": 32, "fps": 24.0, "clips": 2}
  assert (found["number of clips"], found["sizes"]) == (2, [size])
  table = (tmp_path / "out" / "clips.csv").read_text().splitlines()
  assert len(table) == 1 + 2 * 10
  assert (tmp_path / "out" / "loss.png").is_file()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (("--buckets", "9x32"), "give sizes as FRAMESxHEIGHTxWIDTH"),
    (("--models", "a", "a"), "--models needs one or several, each once"),
    (("--count", "0"), "--count is 0"),
    (("--buckets",), "--buckets needs a size"),
    (("--mesh", "data"), "--mesh is data; give numbers of devices"),
    (("--run", "."), "has no model/, which a transformer's training writes"),
    (("--data", "bare.jsonl"), "1 clips of bare.jsonl have no caption"),
    (("--data", "bare.jsonl", "--buckets", "9x64"), "FRAMESxHEIGHTxWIDTH"),
  ],
)
def test_what_cannot_be_measured_is_refused(
  tmp_path, monkeypatch, capsys, options, words
):
  monkeypatch.chdir(tmp_path)
  video.write("0.mp4", world.clip(world.captions()[0], 0, 9, 32, 32), 24.0)
  (tmp_path / "bare.jsonl").write_text('{"path": "0.mp4"}\n')
  with pytest.raises(SystemExit) as ended:
    main(list(options))
  assert ended.value.code == 2 and words in capsys.readouterr().err


def test_a_size_that_no_clip_has_is_refused(model, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  video.write("0.mp4", world.clip(world.captions()[0], 0, 9, 32, 32), 24.0)
  (tmp_path / "a.jsonl").write_text('{"path": "0.mp4", "caption": "a"}\n')
  opened = material.open_source("a.jsonl")
  with pytest.raises(ValueError, match="has no clip of 17x32x32"):
    next(material.samples(opened, model, bucket_of("17x32x32"), 1))
