import numpy as np
import pytest

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data import assignment
from ltx_jax.data.clips import Clip, Clips

WIDE, TALL, SQUARE = (512, 768), (768, 512), (512, 512)


def _sizes(*clips):
  return np.array(clips, np.int64)


def _taken(sizes, *buckets):
  return [ids.tolist() for ids in assignment.assign(sizes, buckets)]


def _tokens(bucket):
  return ((bucket.frames - 1) // 8 + 1) * (bucket.height // 32) * (bucket.width // 32)


def test_a_clip_goes_to_the_shape_that_crops_least():
  sizes = _sizes((121, 1080, 1920), (121, 1920, 1080), (121, 1080, 1080))
  buckets = [Bucket(121, *shape) for shape in (WIDE, TALL, SQUARE)]
  assert _taken(sizes, *buckets) == [[0], [1], [2]]


def test_a_clip_is_shrunk_rather_than_enlarged():
  large, small = Bucket(9, 1024, 1536), Bucket(9, 256, 384)
  assert _taken(_sizes((9, 512, 768)), large, small) == [[], [0]]
  # Of two that it can be shrunk to, the nearer.
  assert _taken(_sizes((9, 512, 768)), Bucket(9, 384, 576), small) == [[0], []]


def test_a_clip_serves_every_length_it_has_frames_for():
  sizes = _sizes((121, 512, 768), (40, 512, 768), (1, 512, 768))
  buckets = [Bucket(frames, *WIDE) for frames in (121, 33, 1)]
  assert _taken(sizes, *buckets) == [[0], [0, 1], [0, 1, 2]]


def test_a_clip_too_short_for_its_best_shape_takes_another():
  buckets = Bucket(121, *WIDE), Bucket(9, *SQUARE)
  assert _taken(_sizes((33, 512, 768), (5, 512, 768)), *buckets) == [[], [0]]


def test_the_clips_that_no_bucket_takes_are_the_too_short_ones():
  buckets = Bucket(121, *WIDE), Bucket(9, *SQUARE)
  frames = (1, 8, 9, 33, 300)
  clips = Clips(Clip(f"{n}", "a.mp4", width=64, height=48, frames=n) for n in frames)
  taken = set(np.concatenate(assignment.assign(clips.sizes(), buckets)).tolist())
  short = assignment.too_short(clips, buckets)
  assert [fault.where for fault in short] == ["1", "8"] and taken == {2, 3, 4}
  assert str(short[1]) == "8: it has 8 frames, but every bucket needs 9"


def test_the_cost_of_a_crop_is_the_share_that_is_cut():
  (costs,) = assignment.cost(_sizes((1, 100, 200)), np.array([[100, 100], [100, 200]]))
  np.testing.assert_allclose(costs, [np.log(2), 0], atol=1e-12)


def test_buckets_found_follow_the_clips():
  sizes = _sizes(*[(250, 1080, 1920)] * 6, *[(60, 1920, 1080)] * 3, (30, 480, 640))
  auto = AutoBuckets(clip_tokens=6144, pixels=768 * 432, shapes=2, lengths=2)
  found = assignment.auto_buckets(sizes, auto, (8, 32), _tokens)
  shapes = {(bucket.height, bucket.width) for bucket in found}
  assert shapes == {(416, 768), (768, 416)}
  assert all(_tokens(bucket) <= 6144 and bucket.frames % 8 == 1 for bucket in found)
  assert all(bucket.height * bucket.width <= auto.pixels for bucket in found)
  # Weighted by their clips; a bucket without clips is not proposed.
  counts = [len(ids) for ids in assignment.assign(sizes, found)]
  assert [bucket.weight for bucket in found] == counts and min(counts) > 0


def test_buckets_found_are_no_larger_than_the_clips():
  (bucket,) = assignment.auto_buckets(
    _sizes((9, 100, 70)), AutoBuckets(), (8, 32), _tokens
  )
  assert (bucket.frames, bucket.height, bucket.width) == (9, 96, 64)


def test_clips_smaller_than_a_latent_position_have_no_buckets():
  with pytest.raises(ValueError, match="smaller than 32x32 pixels"):
    assignment.auto_buckets(_sizes((9, 31, 640)), AutoBuckets(), (8, 32), _tokens)


def test_encoded_clips_are_in_buckets_already():
  sizes = _sizes(*[(9, 64, 64)] * 3, (17, 64, 64), (17, 64, 64), (1, 64, 64))
  found = assignment.exact(sizes, AutoBuckets(shapes=1, lengths=2))
  assert found == (Bucket(9, 64, 64, weight=3.0), Bucket(17, 64, 64, weight=2.0))


def test_the_share_that_a_bucket_crops_is_that_of_the_longer_side():
  sizes = np.array([(25, 240, 320), (25, 320, 240), (25, 128, 128), (9, 90, 160)])
  square = assignment.cropped(sizes, Bucket(25, 128, 128))
  np.testing.assert_allclose(square, [0.25, 0.25, 0, 1 - 9 / 16])
  np.testing.assert_allclose(assignment.cropped(sizes[3:], Bucket(9, 72, 128)), 0)
