"""Media, records and manifests that no program wrote are refused in one sentence.

Found by mutated files (`tests.verify.mutated_files`), a case here for each kind.
"""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from ltx_jax.config.runs import Bucket
from ltx_jax.data import (
  blobs,
  images,
  manifest,
  record_index,
  records,
  soften,
  video,
)
from sample.settings import read_arguments
from tests.data import media_case, record_case
from tests.fuzz import judge

FRAMES = media_case.levels(5, 32, 48)


def refused(message, read, *given):
  """Reading raises one sentence, as the fuzzer's judge has it."""
  with pytest.raises(ValueError, match=message) as error:
    read(*given)
  assert judge.complaint(error.value) is None, error.value


def test_words_in_a_video_may_be_in_any_encoding(tmp_path):
  path = tmp_path / "a.mp4"
  video.write(path, FRAMES, 24, comment="a comment")
  path.write_bytes(path.read_bytes().replace(b"a comment", b"\xff comment"))
  assert len(video.read(path)[0]) == 5
  refused("a.mp4 carries no settings", read_arguments, path)


def test_a_picture_that_pillow_fails_on_in_its_own_way(tmp_path, monkeypatch):
  path = tmp_path / "a.avif"
  path.write_bytes(b"no picture")

  def fail(*_, **__):
    raise RuntimeError("Failed to decode image:\nNot implemented")

  monkeypatch.setattr(Image, "open", fail)
  refused("a.avif cannot be read .*: Not implemented", video.read, path)
  assert video.is_picture(path)


def test_a_picture_claims_no_more_pixels_than_memory_holds(tmp_path, monkeypatch):
  path = tmp_path / "a.gif"
  video.write(path, FRAMES, 24)
  monkeypatch.setattr(images, "_MOST_IN_ALL", 4 * 32 * 48)
  refused("a.gif has 5 frames of 48x32 pixels; make a video of it", video.read, path)
  assert len(video.read(path, 3)[0]) == 3
  monkeypatch.setattr(images, "_MOST_IN_ALL", 7 * 32 * 48)
  pictures = [Image.fromarray(frame) for frame in FRAMES]
  options = {"save_all": True, "append_images": pictures[1:]}
  pictures[0].save(path, duration=[20, 20, 20, 20, 200], **options)
  refused("a.gif lasts so long that it has more than 7 frames", video.read, path)
  monkeypatch.setattr(images, "_MOST_PIXELS", 32 * 47)
  refused("has 48x32 pixels; at most 0 million are read", video.read, path)


def test_a_video_that_holds_frames_for_long_fills_no_memory(tmp_path, monkeypatch):
  path = tmp_path / "a.mp4"
  media_case.write(path, FRAMES, times=[0, 40, 80, 120, 2000])
  assert len(video.read(path)[0]) > 40
  monkeypatch.setattr(video, "_MOST_HELD", 9 * FRAMES[0].nbytes)
  refused("a.mp4 holds frames for so long that 14 are not the last", video.read, path)


def test_frames_of_several_sizes_are_refused(tmp_path, monkeypatch):
  path = tmp_path / "a.mp4"
  video.write(path, FRAMES, 24)
  sizes = iter((8, 8, 6, 8, 8))
  small = lambda *_: np.zeros((next(sizes), 8, 3), np.uint8)  # noqa: E731
  monkeypatch.setattr(video.decoding, "to_rgb", small)
  refused(r"holds frames of several sizes \(8x6, 8x8\)", video.read, path)
  monkeypatch.setattr(video.decoding, "_MOST_PIXELS", 32 * 47)
  refused("a.mp4 has frames of 48x32 pixels; at most", video.read, path)


def test_a_video_of_a_codec_that_nobody_knows_is_refused(tmp_path):
  path = tmp_path / "a.mp4"
  video.write(path, FRAMES, 24)
  path.write_bytes(path.read_bytes().replace(b"avc1", b"none"))
  refused("a.mp4 cannot be read .*its codec is not known", video.read, path)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1)])
def test_a_condition_of_one_row_or_column_is_softened(shape):
  frames = np.full((1, *shape, 3), 120, np.uint8)
  soft = soften.soften(frames, *shape, 30)
  assert soft.shape == (1, *(max(2, side // 2 * 2) for side in shape), 3)
  assert abs(soft.astype(int) - 120).max() < 4


def test_a_condition_that_the_codec_does_not_take_is_refused():
  frames = np.zeros((1, 2, 20_000, 3), np.uint8)
  refused("of 20000x2 pixels cannot be softened", soften.soften, frames, 2, 20_000, 30)


@pytest.fixture
def folder(tmp_path):
  return record_case.write_folder(tmp_path, ((record_case.record(0),),))


def change(path, **changes):
  """Writes a file of arrays and texts again; None leaves one out."""
  arrays, texts = blobs.load(path.read_bytes())
  for name, value in changes.items():
    kept = arrays if isinstance(value, np.ndarray) or name in arrays else texts
    kept[name.replace("__", ".")] = value
  arrays = {name: array for name, array in arrays.items() if array is not None}
  texts = {name: text for name, text in texts.items() if text is not None}
  path.write_bytes(blobs.dump(arrays, texts))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"row": None}, "its column .* is missing, or another"),
    ({"row": np.array([3], np.int32)}, "it lists records that no shard has"),
    ({"tokens": np.array([2**30], np.int32)}, "number of tokens cannot be"),
    ({"sizes": np.array([[9, 0, 96]], np.int32)}, "a size.* cannot be"),
    ({"fps": np.array([np.nan])}, "a rate.* cannot be"),
    ({"ids__ends": np.array([99])}, "its texts do not end where they should"),
    ({"ids__bytes": np.full(6, 0xFF, np.uint8)}, "its texts are not in UTF-8"),
    ({"info": "[1]"}, r"it says of its records \[1\]"),
    ({"info": '{"vae": 1}'}, "it says of its records"),
    ({"shards": '[["../a", 1, 1]]'}, "is not called like a file"),
    ({"shards": '[["a", 1, 1180591620717411303424]]'}, "lists .'a', 1, .* as a shard"),
    ({"shards": "[[1, 1, 1]]"}, "lists .1, 1, 1. as a shard"),
    (
      {"shards": 10_000 * "["},
      "is damaged: its brackets are nested too deep",
    ),
    ({"schema": "a" * 9999}, "has schema aaa"),
    ({"empty__tokens": np.zeros((2, 2), np.int32)}, r"its tokens are int32 of shape"),
  ],
)
def test_an_index_that_says_odd_things(folder, changes, message):
  change(folder / record_index.INDEX, **changes)
  refused(message, records.Records, folder)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"bytes": None}, "column bytes is missing"),
    ({"keys__ends": np.zeros(0, np.int64)}, "column keys.ends is missing, or another"),
  ],
)
def test_a_table_that_says_odd_things(folder, changes, message):
  change(folder / "shard-00000.rows", **changes)
  again = folder, record_case.INFO, record_case.EMPTY
  refused(f"shard-00000.rows is damaged: .*{message}", records.write_index, *again)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"frames": '"a"'}, "its frames is 'a'; it must be a whole number"),
    ({"scores": "[1]"}, r"its scores are \[1\], no numbers"),
    ({"crop": None}, "lacks a field of a record"),
    ({"a" * 9999: "1"}, "or has another .*aaa"),
    ({"fps": 9999 * "1"}, "a number has too many digits"),
    ({"latents": np.zeros(3, np.float32)}, r"its latents are float32 of shape \(3,\)"),
    ({"tokens": np.zeros(3, np.float32)}, "its tokens are float32"),
  ],
)
def test_a_record_that_says_odd_things(tmp_path, changes, message, unchecked):
  path = tmp_path / "blob"
  path.write_bytes(records.encode(record_case.record(0)))
  change(path, **changes)
  with pytest.raises(ValueError, match=message) as error:
    records.decode(path.read_bytes())
  assert len(str(error.value)) < 500


def test_records_whose_texts_differ_in_width_make_no_batch(tmp_path, unchecked):
  narrow = dataclasses.replace(
    record_case.record(1), text=record_case.EMPTY["text"][:, :2].copy()
  )
  folder = record_case.write_folder(tmp_path, ((record_case.record(0), narrow),))
  source = records.Records(folder)
  bucket = records_bucket(source)
  seeds = np.zeros(2, np.uint32)
  refused("text differ in width", source.read, bucket, np.array([0, 1]), seeds)


def records_bucket(source):
  return Bucket(*source.index.sizes[0].tolist())


def test_what_a_folder_is_said_to_hold_is_there(tmp_path):
  info = dataclasses.replace(record_case.INFO, beside=("last",))
  folder = record_case.write_folder(tmp_path, ((record_case.record(0),),), info)
  source = records.Records(folder)
  given = records_bucket(source), np.array([0]), np.zeros(1, np.uint32)
  refused("has not the last that .* is said to hold", source.read, *given)


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("m.jsonl", json.dumps({"path": "a", "fps": 10**400}), "its fps is 1000"),
    ("m.jsonl", 10_000 * "[", "it is not JSON .its brackets are nested too deep"),
    ("m.csv", "path," + 200_000 * "a" + "\n", "not valid CSV at line 1: field larger"),
    ("m.csv", f"{200_000 * 'a'}\n", "not valid CSV at line 1: field larger"),
  ],
)
def test_manifests_of_odd_cells(tmp_path, name, content, message):
  (tmp_path / name).write_text(content)
  with pytest.raises(ValueError, match=message) as error:
    manifest.read_manifest(tmp_path / name)
  assert len(str(error.value)) < 1500
