"""Records with extra arrays: the last frame, the reference."""

import dataclasses
import json

import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from tests.train.precompute_case import (
  be_quick,
  count_encoded,
  options_of,
  run,
  write_model,
)
from train.harness import precomputing

CAPTIONS = world.captions()[::70][:3]


@pytest.fixture
def manifest(tmp_path):
  """Three clips, each with another one as its reference."""
  rows = []
  for number, caption in enumerate(CAPTIONS):
    for name, seed in (("clip", number), ("guide", number + 10)):
      path = tmp_path / f"{name}{number}.mp4"
      video.write(path, world.clip(caption, seed, 9, 32, 48), 24.0)
    row = {"path": f"clip{number}.mp4", "reference": f"guide{number}.mp4"}
    rows.append(row | {"id": f"clip{number}", "caption": caption})
  path = tmp_path / "manifest.jsonl"
  path.write_text("\n".join(map(json.dumps, rows)) + "\n")
  return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def quick_policy(monkeypatch):
  be_quick(monkeypatch)


@pytest.fixture
def encoded(monkeypatch):
  return count_encoded(monkeypatch)


@pytest.fixture
def options(manifest, model, tmp_path):
  made = options_of(manifest, tmp_path / "records", model, ("9x32x48",))
  return dataclasses.replace(made, last_frame=True, shard=256, samples=0)


def latents_of(options, pixels):
  encoder = precomputing.open_encoder(options)
  return next(encoder.encode([pixels])).latents


def test_records_hold_the_last_frame_and_the_reference(options, manifest):
  found = run(options)
  assert found.info.beside == ("last", "reference")
  for row in range(3):
    record = found.record(row)
    name = manifest.parent / f"{record.id}.mp4"
    pixels, _ = video.read(name)
    np.testing.assert_array_equal(record.latents, latents_of(options, pixels))
    np.testing.assert_array_equal(record.last, latents_of(options, pixels[-1:]))
    guide, _ = video.read(str(name).replace("clip", "guide"))
    np.testing.assert_array_equal(record.reference, latents_of(options, guide))
    assert record.last.shape == (1, *record.latents.shape[1:])
    assert np.any(record.reference != record.latents)


def test_a_new_reference_encodes_one_clip_again(options, manifest, encoded):
  run(options)
  assert len(encoded) == 9  # Three clips, their references and their last frames.
  encoded.clear()
  run(options)
  assert not encoded
  path = manifest.parent / "guide1.mp4"
  video.write(path, world.clip(CAPTIONS[1], 77, 9, 32, 48), 24.0)
  found = run(options)
  assert len(encoded) == 3
  guide, _ = video.read(path)
  record = found.record(list(found.index.ids).index("clip1"))
  np.testing.assert_array_equal(record.reference, latents_of(options, guide))


def test_without_the_last_frame_records_are_others(options, encoded):
  run(options)
  encoded.clear()
  found = run(dataclasses.replace(options, last_frame=False))
  assert found.info.beside == ("reference",) and len(encoded) == 6
  assert all(found.record(row).last is None for row in range(3))


def test_a_clip_without_a_reference_among_others_is_refused(options, manifest):
  rows = [json.loads(line) for line in manifest.read_text().splitlines()]
  del rows[1]["reference"]
  manifest.write_text("\n".join(map(json.dumps, rows)))
  with pytest.raises(ValueError, match="1 of the 3 clips of .* no reference: clip1"):
    run(options)


def test_a_reference_that_cannot_be_read_drops_its_clip(options, manifest):
  (manifest.parent / "guide2.mp4").unlink()
  found = run(dataclasses.replace(options, max_faulty=0.5))
  assert list(found.index.ids) == ["clip0", "clip1"]
  (dropped,) = (options.output / "dropped.jsonl").read_text().splitlines()
  assert json.loads(dropped)["id"] == "clip2" and "guide2.mp4" in dropped


def test_a_batch_has_the_latents_that_belong_to_its_bucket(options):
  found = run(options)
  bucket = precomputing.parse_buckets(["9x32x48"])[0]
  ids, seeds = np.arange(3), np.zeros(3, np.uint32)
  batch = found.read(bucket, ids, seeds)
  assert batch["reference"].shape == batch["latents"].shape
  np.testing.assert_array_equal(batch["last"][1], found.record(1).last)
  # The beginning of a clip ends elsewhere, and its reference is shorter too.
  first = found.read(dataclasses.replace(bucket, frames=1), ids, seeds)
  assert "last" not in first
  np.testing.assert_array_equal(first["reference"], batch["reference"][:, :1])
