"""Batches of videos follow from ids and seeds; unreadable clips are replaced."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.source import Source
from ltx_jax.data.videos import Videos
from tests.data import media_case

BUCKET = Bucket(9, 32, 32)


def _clip(folder, number, frames=12, width=64):
  path = folder / f"{number}.mp4"
  media_case.write(path, media_case.levels(frames, 64, width), 24 + number)
  return Clip(f"clip {number}", str(path))


def _seeds(*seeds):
  return np.array(seeds, np.uint32)


def test_batches_follow_from_ids_and_seeds(tmp_path):
  clips = Clips(_clip(tmp_path, i) for i in range(3))
  source = Videos(clips)
  ids = np.array([2, 0, 2, 2, 2, 2])
  batch = source.read(BUCKET, ids, _seeds(5, 5, 6, 7, 8, 5))
  assert batch["video"].shape == (6, 9, 32, 32, 3) and batch["video"].dtype == np.uint8
  assert batch["fps"].tolist() == [26, 24, 26, 26, 26, 26]
  assert batch["seed"].tolist() == [5, 5, 6, 7, 8, 5]
  windows = [media_case.numbers(frames) for frames in batch["video"]]
  assert all(w == [*range(w[0], w[0] + 9)] and w[0] <= 3 for w in windows)
  assert windows[0] == windows[5] and len({w[0] for w in windows}) > 1
  again = Videos(clips).read(BUCKET, ids[:2], _seeds(5, 5))
  np.testing.assert_array_equal(again["video"], batch["video"][:2])


def test_every_start_comes_about(tmp_path):
  source = Videos(Clips([_clip(tmp_path, 0)]))
  batch = source.read(BUCKET, np.zeros(40, int), np.arange(40, dtype=np.uint32))
  assert {media_case.numbers(video)[0] for video in batch["video"]} == {0, 1, 2, 3}


def test_half_of_the_clips_are_mirrored_where_asked(tmp_path):
  image = np.zeros((64, 64, 3), np.uint8)
  image[:, 32:] = 255
  Image.fromarray(image).save(tmp_path / "a.png")
  clips = Clips([Clip("a", str(tmp_path / "a.png"))])
  ids, seeds = np.zeros(40, int), np.arange(40, dtype=np.uint32)
  still = Bucket(1, 32, 32)
  plain = Videos(clips).read(still, ids, seeds)["video"][:, 0, 16, 4, 0]
  mirrored = Videos(clips, flip=True).read(still, ids, seeds)["video"][:, 0, 16, 4, 0]
  assert not plain.any() and set(mirrored.tolist()) == {0, 255}
  assert 10 < (mirrored == 255).sum() < 30
  assert Videos(clips).fingerprint != Videos(clips, flip=True).fingerprint


def test_clips_go_to_the_buckets_that_suit_them(tmp_path):
  Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
  still = Clip("still", str(tmp_path / "a.png"))
  source = Videos(Clips([_clip(tmp_path, 0), _clip(tmp_path, 1, 9, 128), still]))
  assert isinstance(source, Source)
  buckets = [BUCKET, Bucket(9, 32, 64), Bucket(1, 32, 32)]
  assert [ids.tolist() for ids in source.assign(buckets)] == [[0], [1], [0, 2]]
  proposed = source.propose(AutoBuckets(), (8, 32), lambda bucket: bucket.frames)
  assert {(b.frames, b.height, b.width) for b in proposed} >= {
    (9, 64, 64),
    (9, 64, 128),
  }


def _broken(folder, number):
  clip = _clip(folder, number)
  (folder / f"{number}.mp4").write_bytes(b"words" * 100)
  return clip._replace(frames=12, width=64, height=64)


def test_what_cannot_be_read_is_replaced_by_the_next_and_listed(tmp_path):
  clips = Clips(
    [_clip(tmp_path, 0), _broken(tmp_path, 1), _clip(tmp_path, 2), _broken(tmp_path, 3)]
  )
  source = Videos(clips, max_faulty=0.5)
  source.assign([BUCKET])
  assert not source.faults
  batch = source.read(BUCKET, np.array([1, 3, 2]), _seeds(1, 1, 1))
  assert batch["fps"].tolist() == [26, 24, 26]  # The list goes round.
  np.testing.assert_array_equal(batch["video"][0], batch["video"][2])
  assert [fault.where for fault in source.faults] == ["clip 1", "clip 3"]
  assert "cannot be read as a video" in source.faults[0].reason


def test_clips_that_are_shorter_than_their_manifest_says_are_replaced(tmp_path):
  clips = Clips([_clip(tmp_path, 0, 3)._replace(frames=9, width=64, height=64)])
  for i in range(1, 4):
    clips.append(_clip(tmp_path, i))
  source = Videos(clips, max_faulty=0.25)
  source.assign([BUCKET])
  assert source.read(BUCKET, np.array([0]), _seeds(0))["fps"].tolist() == [25]
  assert "needs 9 frames, but there are 3" in source.faults[0].reason


def test_too_many_faults_stop_the_run_in_words(tmp_path):
  clips = [_clip(tmp_path, 0), _broken(tmp_path, 1), _clip(tmp_path, 2)]
  source = Videos(Clips(clips), max_faulty=0.3)
  source.assign([BUCKET])
  source.read(BUCKET, np.array([0, 2]), _seeds(1, 1))
  sentence = "1 of 3 clips cannot be read, more than the share of 0.3 that max_faulty"
  with pytest.raises(ValueError, match=sentence):
    source.read(BUCKET, np.array([1]), _seeds(1))
  unknown = clips[1]._replace(frames=None)
  with pytest.raises(ValueError, match="1 of 1 clips cannot be read"):
    Videos(Clips([unknown]), max_faulty=1.0)
  with pytest.raises(ValueError, match=r"max_faulty is 5.0; a share lies in \[0, 1\]"):
    Videos(Clips(clips), max_faulty=5.0)


def test_parts_have_their_faults_and_the_share_of_them_in_common(tmp_path):
  clips = [_clip(tmp_path, 0), _broken(tmp_path, 1)]
  clips += [_clip(tmp_path, number) for number in (2, 3, 4)]
  whole = Videos(Clips(clips), max_faulty=0.2)
  aside = np.array([True, True, False, False, False])
  few, rest = whole.take(aside), whole.take(~aside)
  for part in (few, rest):
    part.assign([BUCKET])
  # Half of the part, and a fifth of all.
  assert few.read(BUCKET, np.array([1]), _seeds(1))["fps"].tolist() == [24]
  assert [fault.where for fault in rest.faults] == ["clip 1"] and rest.count == 5
  assert rest.fingerprint == Videos(Clips(clips[2:])).fingerprint
  (tmp_path / "3.mp4").write_bytes(b"words")
  with pytest.raises(ValueError, match="2 of 5 clips cannot be read, more than the"):
    rest.read(BUCKET, np.array([1]), _seeds(1))


def test_clips_of_known_size_are_not_opened(tmp_path):
  known = Clip("a", str(tmp_path / "none.mp4"), frames=9, width=32, height=32, fps=24.0)
  clips = Clips([known])
  assert Videos(clips).clips is clips
  told = []
  unknown = Clips([known, _clip(tmp_path, 0), known._replace(id="b", width=None)])
  source = Videos(
    unknown, max_faulty=0.5, on_done=lambda done, fault: told.append((done, fault))
  )
  assert list(source.clips.ids) == ["a", "clip 0"]
  assert [done for done, _ in told] == [1, 2, 3]
  assert told[2][1] == source.faults[0] and "does not exist" in told[2][1].reason


def test_threads_read_the_same(tmp_path):
  source = Videos(Clips(_clip(tmp_path, i) for i in range(3)))
  ids, seeds = np.arange(3), _seeds(1, 2, 3)
  expected = source.read(BUCKET, ids, seeds)["video"]
  found = []

  def read():
    found.append(source.read(BUCKET, ids, seeds)["video"])

  threads = [threading.Thread(target=read) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 4 and all(np.array_equal(each, expected) for each in found)


def test_fingerprints_follow_from_clips_and_not_from_captions_or_places(tmp_path):
  clip = _clip(tmp_path, 0)._replace(frames=12, width=64, height=64)
  one = Videos(Clips([clip])).fingerprint
  moved = clip._replace(path="/elsewhere/a.mp4", caption="another")
  assert Videos(Clips([moved])).fingerprint == one
  for change in ({"id": "b"}, {"start": 0.1}, {"crop": (0, 0, 32, 32)}, {"fps": 12.0}):
    assert Videos(Clips([clip._replace(**change)])).fingerprint != one
