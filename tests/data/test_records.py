"""Records keep every bit, serve buckets, and are refused if they are damaged."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
import safetensors

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data import blobs, records, shards
from ltx_jax.data.records import Record, Records, SetInfo, Writer, write_index
from ltx_jax.data.source import Source
from tests.data.record_case import EMPTY, INFO, record, write_folder

BUCKET = Bucket(9, 64, 96)


def _equal(one: Record, other: Record) -> bool:
  pairs = [
    (getattr(one, field.name), getattr(other, field.name))
    for field in dataclasses.fields(Record)
  ]
  return all(
    a.dtype == b.dtype and np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
    for a, b in pairs
  )


@pytest.fixture
def folder(tmp_path):
  long = record(4, f=3)
  wide = record(3, w=2)
  return write_folder(tmp_path, ((record(0), record(1, m=2)), (record(2), wide, long)))


def _seeds(count):
  return np.arange(count, dtype=np.uint32)


def test_a_record_comes_back_to_the_bit_and_safetensors_reads_it():
  one = record(0)
  blob = records.encode(one)
  assert _equal(records.decode(blob), one)
  found = dict(safetensors.deserialize(blob))
  assert found["latents"]["dtype"] == "BF16" and found["latents"]["shape"] == [
    2,
    2,
    3,
    4,
  ]
  assert bytes(found["latents"]["data"]) == one.latents.tobytes()


def test_what_was_not_encoded_is_left_out():
  bare = dataclasses.replace(record(0), text=None, logvar=None, crop=None, scores={})
  assert _equal(records.decode(records.encode(bare)), bare)


def test_the_bytes_follow_from_the_content_alone():
  code = (
    "import hashlib; from ltx_jax.data import records\n"
    "from tests.data.record_case import record\n"
    "print(hashlib.sha256(records.encode(record(0))).hexdigest())"
  )
  environment = os.environ | {"PYTHONHASHSEED": "3"}
  run = [sys.executable, "-c", code]
  other = subprocess.run(
    run, capture_output=True, text=True, env=environment, check=True
  )
  blob = records.encode(record(0))
  assert other.stdout.strip() == hashlib.sha256(blob).hexdigest()


def test_batches_hold_the_records_of_their_ids(folder):
  source = Records(folder)
  batch = source.read(BUCKET, np.array([2, 0, 1]), _seeds(3))
  for row, number in enumerate((2, 0, 1)):
    one = record(number, m=2 if number == 1 else 4)
    np.testing.assert_array_equal(batch["latents"][row], one.latents)
    count = len(one.tokens)
    np.testing.assert_array_equal(batch["tokens"][row, :count], one.tokens)
    np.testing.assert_array_equal(batch["text"][row, :count], one.text)
    assert (
      not batch["tokens"][row, count:].any() and not batch["text"][row, count:].any()
    )
    assert batch["mask"][row].tolist() == [True] * count + [False] * (4 - count)
  assert batch["latents"].dtype == batch["text"].dtype == ml_dtypes.bfloat16
  assert batch["fps"].tolist() == [26, 24, 25] and batch["fps"].dtype == np.float32
  assert batch["seed"].tolist() == [0, 1, 2]


def test_longer_records_serve_shorter_buckets_by_their_first_frames(folder):
  source = Records(folder)
  buckets = [BUCKET, Bucket(17, 64, 96), Bucket(1, 64, 64), Bucket(25, 64, 96)]
  assigned = [ids.tolist() for ids in source.assign(buckets)]
  assert assigned == [[0, 1, 2, 4], [4], [3], []]
  batch = source.read(BUCKET, np.array([4]), _seeds(1))
  np.testing.assert_array_equal(batch["latents"][0], record(4, f=3).latents[:2])
  image = source.read(Bucket(1, 64, 96), np.array([4]), _seeds(1))
  np.testing.assert_array_equal(image["latents"][0], record(4, f=3).latents[:1])


def test_the_buckets_proposed_are_the_sizes_there_are(folder):
  source = Records(folder)
  assert isinstance(source, Source)
  proposed = source.propose(AutoBuckets(), INFO.factors, lambda bucket: 1)
  assert [(b.frames, b.height, b.width, b.weight) for b in proposed] == [
    (9, 64, 96, 3.0),
    (9, 64, 64, 1.0),
    (17, 64, 96, 1.0),
  ]


def test_the_empty_caption_has_the_shapes_of_a_batch(folder):
  empty = Records(folder, text_tokens=6).empty
  assert empty["text"].shape == (6, 3) and empty["tokens"].tolist() == [
    1,
    0,
    0,
    0,
    0,
    0,
  ]
  assert empty["mask"].tolist() == [True] + [False] * 5
  np.testing.assert_array_equal(empty["text"][:1], EMPTY["text"])


def test_texts_are_cut_to_what_is_asked_for(folder):
  batch = Records(folder, text_tokens=3).read(BUCKET, np.array([0]), _seeds(1))
  assert batch["tokens"].tolist() == [[1, 2, 3]] and batch["text"].shape == (1, 3, 3)


def test_splits_and_filters_are_decided_on_the_index(folder):
  source = Records(folder, keep=lambda index: index.scores["aesthetic"] >= 1)
  assert list(source.index.ids) == ["clip 2", "clip 3", "clip 4"]
  batch = source.read(BUCKET, np.array([0]), _seeds(1))
  np.testing.assert_array_equal(batch["latents"][0], record(2).latents)
  assert source.fingerprint != Records(folder).fingerprint
  with pytest.raises(ValueError, match="Of the 5 records in .* none is kept"):
    Records(folder, keep=lambda index: index.fps < 0)


def test_fingerprints_follow_from_what_decides_the_batches(tmp_path):
  one = record(0)

  def fingerprint(name, content, **options):
    return Records(write_folder(tmp_path / name, (content,)), **options).fingerprint

  same = [fingerprint(name, (one,)) for name in "ab"]
  assert same[0] == same[1]
  others = {
    fingerprint("c", (dataclasses.replace(one, key="other"),)),
    fingerprint("d", (dataclasses.replace(one, id="other"),)),
    fingerprint("e", (one,), text_tokens=2),
  }
  assert len(others | set(same)) == 4


def test_records_of_clips_that_changed_are_left_out_by_their_keys(folder):
  changed = dataclasses.replace(record(1), caption="new", key="key 1, new")
  with records.Writer(folder / "shard-00002.arrayrecord") as writer:
    writer.write(changed)
  with pytest.raises(
    ValueError, match="two records of the clip 'clip 1', in shard-00000"
  ):
    records.write_index(folder, INFO, EMPTY)
  keys = {"key 0", "key 1, new", "key 2"}
  records.write_index(folder, INFO, EMPTY, keys)
  source = Records(folder)
  assert list(source.index.ids) == ["clip 0", "clip 2", "clip 1"]
  assert source.record(2).caption == "new"


def test_an_interrupted_shard_is_never_taken_for_one(tmp_path):
  path = tmp_path / "shard-00000.arrayrecord"
  with pytest.raises(KeyboardInterrupt), records.Writer(path) as writer:
    writer.write(record(0))
    raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())
  code = (
    "import os, sys; from pathlib import Path\n"
    "from ltx_jax.data import records; from tests.data.record_case import record\n"
    f"writer = records.Writer(Path({str(path)!r})).__enter__()\n"
    "for i in range(50): writer.write(record(i))\n"
    "os.kill(os.getpid(), 9)"
  )
  subprocess.run([sys.executable, "-c", code], check=False)
  assert [p.suffix for p in tmp_path.iterdir()] == [".partial"]
  with pytest.raises(ValueError, match="holds no complete shard of records"):
    records.write_index(tmp_path, INFO, EMPTY)
  assert len(records.remove_partials(tmp_path)) == 1 and not list(tmp_path.iterdir())


def test_a_shard_without_records_is_not_written(tmp_path):
  with records.Writer(tmp_path / "shard-00000.arrayrecord"):
    pass
  assert not list(tmp_path.iterdir())
  with pytest.raises(ValueError, match="its name must end in .arrayrecord"):
    records.Writer(tmp_path / "shard.bin")


def test_threads_read_the_same(folder, monkeypatch):
  monkeypatch.setattr(shards, "_OPEN", 1)  # Every other read opens a file.
  source = Records(folder)
  ids = np.array([0, 2, 1, 4] * 3)
  expected = source.read(BUCKET, ids, _seeds(12))["latents"]
  found = []

  def read():
    found.extend(source.read(BUCKET, ids, _seeds(12))["latents"] for _ in range(10))

  threads = [threading.Thread(target=read) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 40 and all(np.array_equal(each, expected) for each in found)


def test_files_stay_open_up_to_a_number(tmp_path, monkeypatch):
  monkeypatch.setattr(shards, "_OPEN", 3)
  source = Records(write_folder(tmp_path, tuple((record(i),) for i in range(8))))
  before = len(os.listdir("/proc/self/fd"))
  for _ in range(3):
    source.read(BUCKET, np.arange(8), _seeds(8))
  gc.collect()
  assert len(os.listdir("/proc/self/fd")) - before <= 3


def _cut(path, size):
  with path.open("rb+") as file:
    file.truncate(size)


def _flip(path, position):
  content = bytearray(path.read_bytes())
  content[position] ^= 1
  path.write_bytes(content)


def _position(folder):
  """Of a byte in the latents of record 2, the first of the second shard."""
  content = (folder / "shard-00001.arrayrecord").read_bytes()
  return content.index(record(2).latents.tobytes())


def _edit_index(folder, **fields):
  path = folder / "index.safetensors"
  arrays, texts = blobs.load(path.read_bytes())
  path.write_bytes(blobs.dump(arrays, texts | fields))


DAMAGES = {
  "no folder": (
    lambda f: (f / "index.safetensors").unlink(),
    "has no index.safetensors, which train.precompute writes last: .* start it again",
  ),
  "index cut": (
    lambda f: _cut(f / "index.safetensors", 40),
    "index.safetensors is damaged: its 40 bytes are not safetensors, or cut off",
  ),
  "index of nothing": (
    lambda f: (f / "index.safetensors").write_bytes(b""),
    "index.safetensors is damaged: its 0 bytes are not safetensors",
  ),
  "schema": (
    lambda f: _edit_index(f, schema="2"),
    "index.safetensors has schema 2 instead of 1; run train.precompute again",
  ),
  "shard missing": (
    lambda f: (f / "shard-00001.arrayrecord").unlink(),
    "shard-00001.arrayrecord is missing, with 3 records; run train.precompute again",
  ),
  "shard cut": (
    lambda f: _cut(f / "shard-00001.arrayrecord", 70_000),
    "shard-00001.arrayrecord has 70000 bytes but was written with .* cut off",
  ),
  "CRC": (
    lambda f: _flip(f / "shard-00001.arrayrecord", _position(f)),
    r"shard-00001.arrayrecord is damaged at record 0 \(.*hash mismatch.*\); delete it",
  ),
  "other shard": (
    lambda f: _edit_shards(f),
    "index and its shards do not belong together, since record 'clip 2' is 'clip 0'",
  ),
}


def _edit_shards(folder):
  names = json.loads(
    blobs.load((folder / "index.safetensors").read_bytes())[1]["shards"]
  )
  other = [names[0][0], names[1][1], names[0][2]]
  _edit_index(folder, shards=json.dumps([names[0], other]))


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_folders_are_refused_in_a_sentence(folder, kind):
  damage, sentence = DAMAGES[kind]
  damage(folder)
  with pytest.raises(ValueError, match=sentence):
    Records(folder).read(BUCKET, np.array([2]), _seeds(1))


def test_records_of_other_networks_are_refused(folder):
  source = Records(folder)
  source.check(INFO.vae)
  source.check(INFO.vae, INFO.text_encoder)
  with pytest.raises(
    ValueError, match="another VAE: its .* 'vae-1', but .* is 'vae-2'"
  ):
    source.check("vae-2")
  with pytest.raises(ValueError, match="another text encoder: .* 't5-1', .* is 't5-2'"):
    source.check(INFO.vae, "t5-2")


BLOBS = {
  "nothing": (b"", "its 0 bytes are not safetensors, or cut off"),
  "cut": (records.encode(record(0))[:-1], "its header is not that of safetensors"),
  "noise": (b"\x10" + bytes(40), "its header is not that of safetensors"),
  "another file": (blobs.dump({}, {}), "a record of schema None instead of 1; "),
  "schema": (
    records.encode(record(0)).replace(b'"schema":"1"', b'"schema":"2"'),
    "a record of schema 2 instead of 1; run train.precompute again",
  ),
  "field": (blobs.dump({}, {"schema": "1"}), "it lacks a field of a record"),
}


@pytest.mark.parametrize("kind", BLOBS)
def test_what_is_no_record_is_refused_in_a_sentence(kind):
  blob, sentence = BLOBS[kind]
  with pytest.raises(ValueError, match=sentence):
    records.decode(blob)


def test_a_bucket_of_another_size_is_refused(folder):
  with pytest.raises(
    ValueError, match=r"'clip 0' has latents of shape \(2, 2, 3, 4\), wh"
  ):
    Records(folder).read(Bucket(9, 64, 64), np.array([0]), _seeds(1))


def test_shards_with_a_table_that_is_not_theirs_are_refused(folder):
  (folder / "shard-00000.rows").unlink()
  with pytest.raises(ValueError, match="shard-00000.arrayrecord lacks its table"):
    records.write_index(folder, INFO, EMPTY)


def test_a_clip_in_several_sizes_serves_each_by_the_record_of_that_size(tmp_path):
  long, short = Bucket(9, 32, 32), Bucket(1, 32, 32)
  ids = ("one#9x32x32", 9), ("one#1x32x32", 1), ("two#9x32x32", 9)
  ids += ("cut#1", 9), ("cut#2", 1)  # No sizes: these are two clips.
  with Writer(tmp_path / "a.arrayrecord") as writer:
    for name, frames in ids:
      latents = np.zeros((1 + (frames - 1) // 8, 1, 1, 4), np.float32)
      sizes = {"frames": frames, "height": 32, "width": 32}
      writer.write(Record(name, "", latents, 24.0, **sizes, vae="v", key=name))
  write_index(tmp_path, SetInfo("v", 4, (8, 32)), {})
  found = Records(tmp_path)
  names = [
    [found.index.ids[k] for k in ids.tolist()] for ids in found.assign([long, short])
  ]
  # The first clip's image is a record; the second's is the start of its only record.
  assert names == [
    ["one#9x32x32", "two#9x32x32", "cut#1"],
    ["one#1x32x32", "two#9x32x32", "cut#1", "cut#2"],
  ]
