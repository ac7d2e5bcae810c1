"""The loss is the same on any number of devices, and twice the same to the bit."""

import csv
import json

import jax
import numpy as np
import pytest

from train.evaluate.loss import material, measuring, running, training
from train.evaluate.loss.__main__ import bucket_of, main

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def devices(monkeypatch):
  """Numbers of devices that the parameters of each model lie on, run after run."""
  numbers, load = [], running.load

  def counted(options):
    models = load(options)
    for model in models.values():
      leaves = jax.tree.leaves(model.params)
      numbers.append({len(leaf.sharding.device_set) for leaf in leaves})
    return models

  monkeypatch.setattr(running, "load", counted)
  return numbers


def losses(folder, *options):
  """Runs the program; returns the losses [clips, models and bins], and the report."""
  main([*map(str, options), "--count", "2", "--output", str(folder)])
  with (folder / "clips.csv").open() as file:
    rows = [*csv.DictReader(file)]
  assert len({row["clip"] for row in rows}) == 2
  report = json.loads((folder / "loss.json").read_text())
  return np.array([float(row["loss"]) for row in rows]), report


def source(name, trained, records):
  model = "--models", trained / "model"
  size = "--buckets", "5x32x32"
  if name == "shapes":
    return (*model, *size)
  return (*model, *size, "--data", records[name])


@pytest.mark.parametrize("name", ["shapes", "text", "tokens"])
def test_twice_is_equal_to_the_bit(tmp_path, trained, records, name):
  given = source(name, trained, records)
  one, report = losses(tmp_path / "one", *given)
  again, same = losses(tmp_path / "again", *given)
  np.testing.assert_array_equal(one, again)
  assert report["buckets"] == same["buckets"]
  assert len(one) == 2 * 10 and (one > 0).all()


@pytest.mark.parametrize(
  ("name", "mesh"),
  [
    ("shapes", "data=4"),
    ("text", "context=2,tensor=2"),
    ("tokens", "fsdp=4"),
  ],
)
def test_four_devices_find_what_one_finds(
  tmp_path, trained, records, devices, name, mesh
):
  given = source(name, trained, records)
  one, alone = losses(tmp_path / "one", *given)
  four, shared = losses(tmp_path / "four", *given, "--mesh", mesh)
  assert devices == [{1}, {4}]
  np.testing.assert_allclose(four, one, rtol=1e-5)
  for size, models in alone["buckets"].items():
    for model, figures in models.items():
      found = [each["value"] for each in shared["buckets"][size][model]]
      np.testing.assert_allclose(found, [e["value"] for e in figures], rtol=1e-5)
  assert shared["weights"] == alone["weights"] and shared["data"] == alone["data"]
  assert shared["settings"]["mesh"] == mesh


def test_raw_and_averaged_parameters_of_a_training_are_two_models(
  tmp_path, trained, records, devices
):
  given = "--run", trained, "--data", records["tokens"], "--buckets", "5x32x32"
  found, report = losses(tmp_path / "one", *given)
  raw, averaged = f"{trained} raw (step 8)", f"{trained} averaged (step 8)"
  assert [*report["weights"]] == [raw, averaged]
  assert [*report["buckets"]["5x32x32"]][:2] == [raw, averaged]
  clips = found.reshape(2, 2, 10)
  apart = abs(clips[:, 0] / clips[:, 1] - 1)
  assert (apart > 1e-5).all() and apart.max() < 0.5
  four, _ = losses(tmp_path / "four", *given, "--mesh", "data=2,fsdp=2")
  np.testing.assert_allclose(four, found, rtol=1e-5)
  assert devices == [{1}, {1}, {4}, {4}]


def test_each_model_of_a_training_reads_its_own_text_encoder(
  tmp_path, trained, records
):
  given = "--run", trained, "--data", records["tokens"], "--buckets", "5x32x32"
  found, _ = losses(tmp_path, *given)
  opened = material.open_source(str(records["tokens"]))
  models = [*training.models_of(trained).values()]
  clips = [*material.samples(opened, models[0], bucket_of("5x32x32"), 2)]
  expected = [
    measuring.losses(model, clip, material.text_of(clip, model), 0)
    for clip in clips
    for model in models
  ]
  np.testing.assert_array_equal(found.reshape(4, 10), expected)
