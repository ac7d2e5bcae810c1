import dataclasses

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data import buckets

IMAGES = Bucket(1, 64, 64, weight=1.0)
CLIPS = Bucket(25, 128, 128, weight=3.0)
STAGE = Stage(steps=100, buckets=(IMAGES, CLIPS), tokens=256)


def _tokens(bucket):
  return ((bucket.frames - 1) // 8 + 1) * (bucket.height // 32) * (bucket.width // 32)


GROUPS = buckets.groups_of(STAGE, _tokens)


def _streams(*ids):
  """A manifest of one source."""
  return [(buckets.Stream(each),) for each in ids]


SAMPLES = [np.arange(100, 237), np.arange(0, 97)]  # 137 and 97 samples: both odd.
MANIFEST = _streams(*SAMPLES)


def _samples(batches, bucket):
  chosen = [b.rows.take(b.rows.buckets == bucket) for b in batches]
  ids = np.concatenate([rows.ids for rows in chosen])
  return ids, np.concatenate([rows.passes for rows in chosen])


def test_batch_size_follows_from_the_token_budget():
  assert [group.batch_size for group in GROUPS] == [256 // 4, 256 // 64]
  assert [group.share for group in GROUPS] == [0.25, 0.75]
  small = dataclasses.replace(STAGE, tokens=10)
  assert [g.batch_size for g in buckets.groups_of(small, _tokens)] == [2, 1]


def test_every_sample_comes_once_in_a_pass():
  batches = [b for epoch in range(6) for b in buckets.plan(MANIFEST, GROUPS, 0, epoch)]
  for bucket, samples in enumerate(SAMPLES):
    ids, passes = _samples(batches, bucket)
    assert passes[0] == 0 and (np.diff(passes) >= 0).all()
    assert passes[-1] >= 2
    rows = []
    for i in range(passes[-1]):  # The last pass may be under way.
      rows.append(ids[passes == i])
      assert sorted(rows[-1]) == list(samples)
    assert (rows[0] != rows[1]).any()
    last = ids[passes == passes[-1]]
    assert len(set(last)) == len(last)


def test_every_bucket_makes_a_pass_in_an_epoch():
  first = buckets.plan(MANIFEST, GROUPS, 0, 0)
  assert len(first) == buckets.epoch_length(MANIFEST, GROUPS) == 33
  for bucket, samples in enumerate(SAMPLES):
    assert set(_samples(first, bucket)[0]) == set(samples)


@pytest.mark.parametrize(
  "weights", [(1.0,), (1.0, 3.0), (0.01, 0.7, 0.29), (5.0, 1.0, 1.0)]
)
def test_shares_are_kept_to_one_batch(weights):
  groups = buckets.groups_of(
    Stage(1, tuple(Bucket(1, 64, 64, weight) for weight in weights), 64), _tokens
  )
  manifest = _streams(*[np.arange(50)] * len(weights))
  counts = np.zeros(len(weights))
  for epoch in range(7):
    batches = buckets.plan(manifest, groups, 1, epoch)
    counts += np.bincount([b.group for b in batches], minlength=len(weights))
    shares = np.array(weights) / np.sum(weights)
    assert np.abs(counts - shares * counts.sum()).max() < 1


def test_buckets_come_mixed_and_differently_in_each_epoch():
  groups = [dataclasses.replace(group, batch_size=4, share=0.5) for group in GROUPS]
  manifest = _streams(np.arange(100), np.arange(100))
  plans = [buckets.plan(manifest, groups, 0, epoch) for epoch in (0, 1)]
  kinds = [[batch.group for batch in batches] for batches in plans]
  assert sorted(kinds[0]) == sorted(kinds[1]) and kinds[0] != kinds[1]
  assert np.count_nonzero(np.diff(kinds[0])) > 12


def test_each_bucket_has_a_permutation_of_its_own():
  manifest = _streams(np.arange(97), np.arange(97))
  batches = buckets.plan(manifest, GROUPS, 0, 0)
  first, second = (_samples(batches, bucket)[0][:97] for bucket in (0, 1))
  assert sorted(first) == sorted(second)
  assert (first != second).any()
  # Adding a bucket does not change the passes of the others.
  alone = buckets.plan(
    _streams(np.arange(97)), (dataclasses.replace(GROUPS[0], share=1.0),), 0, 0
  )
  np.testing.assert_array_equal(_samples(alone, 0)[0][:97], first)


def test_a_plan_is_a_function_of_its_arguments():
  def content(seed, epoch):
    batches = buckets.plan(MANIFEST, GROUPS, seed, epoch)
    return [(b.group, *(column.tolist() for column in b.rows)) for b in batches]

  assert content(3, 5) == content(3, 5)
  assert content(3, 5) != content(4, 5)
  assert content(3, 5) != content(3, 6)


def test_a_plan_does_not_change_with_the_version_of_numpy():
  batches = buckets.plan(_streams(*[np.arange(5)] * 2), GROUPS, 0, 0)
  assert [batches[i].rows.ids.tolist() for i in (0, 1)] == [[2, 4, 3, 0], [1, 3, 4, 2]]


def test_a_bucket_with_fewer_samples_than_a_batch_repeats_them():
  batches = buckets.plan(_streams(np.arange(5), np.arange(97)), GROUPS, 0, 0)
  ids, passes = _samples(batches, 0)
  assert len(ids) % 64 == 0
  np.testing.assert_array_equal(passes, np.arange(len(ids)) // 5)


def test_augmentation_seeds_depend_on_seed_pass_and_sample():
  grid = [
    buckets.augmentation_seeds(seed, np.full(50, epoch), np.arange(50))
    for seed in (0, 1)
    for epoch in (0, 1)
  ]
  assert len(np.unique(grid)) == 200
  again = buckets.augmentation_seeds(0, np.array([1]), np.array([7]))
  assert again[0] == grid[1][7]


def test_fingerprint_changes_with_whatever_changes_the_batches():
  names, larger = "abc", dataclasses.replace(GROUPS[0], batch_size=65)
  arguments = [
    (names, [GROUPS], [0], 0),
    (names[::-1], [GROUPS], [0], 0),
    (names, [GROUPS[:1]], [0], 0),
    (names, [[larger, GROUPS[1]]], [0], 0),
    (names, [GROUPS, GROUPS], [0, 10], 0),
    (names, [GROUPS, GROUPS], [0, 11], 0),
    (names, [GROUPS], [0], 1),
  ]
  arguments = [(*a, {}) for a in arguments]
  arguments += [(*arguments[0][:-1], {"last": share}) for share in (0.1, 0.2)]
  assert len({buckets.plan_fingerprint(*a) for a in arguments}) == len(arguments)
  assert buckets.plan_fingerprint(*arguments[0]) == buckets.plan_fingerprint(
    *arguments[0]
  )


def test_unusable_buckets_are_refused_in_words():
  with pytest.raises(ValueError, match="in the data fits 1x64x64; name"):
    buckets.plan(_streams(np.arange(0), np.arange(3)), GROUPS, 0, 0)


def _mixture(weights, size=8, count=4000):
  """Which source each sample of a bucket came from, and the batches."""
  groups = (buckets.Group((CLIPS,), (0,), size, 1.0),)
  ids = [np.arange(1000 * k, 1000 * k + 97 - k) for k in range(len(weights))]
  manifest = [tuple(map(buckets.Stream, ids, weights))]
  batches, epoch = [], 0
  while len(batches) * size < count:
    batches += list(buckets.plan(manifest, groups, 0, epoch))
    epoch += 1
  samples, passes = _samples(batches, 0)
  return samples // 1000, samples % 1000, passes


@pytest.mark.slow
def test_sources_are_mixed_by_weight_in_every_thousand_samples():
  sources, _, _ = _mixture((3.0, 1.0, 0.001))
  for start in range(0, 4000, 1000):
    counts = np.bincount(sources[start : start + 1000], minlength=3)
    assert np.abs(counts - 1000 * np.array([3, 1, 0.001]) / 4.001).max() <= 1
  assert np.count_nonzero(np.diff(sources[:200])) > 40  # Not in blocks.


def test_every_sample_of_a_source_comes_once_in_its_passes():
  sources, samples, passes = _mixture((1.0, 2.0))
  for source, count in enumerate((97, 96)):
    own, which = samples[sources == source], passes[sources == source]
    assert (np.diff(which) >= 0).all()
    for number in range(which[-1]):
      assert sorted(own[which == number]) == list(range(count))


def test_a_source_without_samples_leaves_its_share_to_the_others():
  groups = (buckets.Group((CLIPS,), (0,), 4, 1.0),)
  streams = (buckets.Stream(np.arange(0), 5.0), buckets.Stream(np.arange(7), 1.0))
  batches = buckets.plan([streams], groups, 0, 0)
  assert set(_samples(batches, 0)[0]) == set(range(7))


MIXED = Stage(
  steps=100,
  buckets=(
    Bucket(25, 128, 128, weight=3.0),  # 64 tokens.
    Bucket(1, 64, 64),  # 4: far from all others.
    Bucket(17, 160, 128, weight=2.0),  # 60.
    Bucket(9, 160, 192, weight=4.0),  # 60.
    Bucket(1, 224, 224),  # 49, which is within 20 % of 60 but not of 64.
  ),
  tokens=256,
)


def test_buckets_of_about_as_many_tokens_share_batches():
  alone = buckets.groups_of(MIXED, _tokens)
  assert [group.members for group in alone] == [(0,), (1,), (2,), (3,), (4,)]
  groups = buckets.groups_of(MIXED, _tokens, 0.2)
  assert [group.members for group in groups] == [(3, 2, 0), (1,), (4,)]
  assert [group.batch_size for group in groups] == [256 // 60, 256 // 4, 256 // 49]
  assert [group.share for group in groups] == [9 / 11, 1 / 11, 1 / 11]
  (group, *_) = groups
  assert group.smallest == MIXED.buckets[3] and _tokens(group.smallest) == 60
  # 48 of 60 are 20 % fewer.
  edge = Stage(1, (Bucket(1, 32, 32 * 60), Bucket(1, 32, 32 * 48)), 64)
  assert len(buckets.groups_of(edge, _tokens, 0.2)) == 1
  assert len(buckets.groups_of(edge, _tokens, 0.19)) == 2


def _mixed_batches(count):
  groups = buckets.groups_of(MIXED, _tokens, 0.2)
  manifest = [
    (buckets.Stream(1000 * k + np.arange(37 + k), 1.0), buckets.Stream(np.arange(0)))
    for k in range(5)
  ]
  batches, epoch = [], 0
  while len(batches) < count:
    batches += list(buckets.plan(manifest, groups, 0, epoch))
    epoch += 1
  return groups, batches


def test_the_buckets_of_a_group_come_by_their_weights_in_every_thousand_samples():
  groups, batches = _mixed_batches(2000)
  own = np.concatenate([b.rows.buckets for b in batches if b.group == 0])
  for start in range(0, len(own) - 1000, 1000):
    counts = np.bincount(own[start : start + 1000], minlength=5)
    expected = 1000 * np.array([3, 0, 2, 4, 0]) / 9
    assert np.abs(counts - expected).max() <= 1
  assert len({tuple(b.rows.buckets) for b in batches if b.group == 0}) > 20
  counts = np.bincount([batch.group for batch in batches])
  shares = np.array([group.share for group in groups])
  assert np.abs(counts - shares * len(batches)).max() < 1


def test_every_sample_of_a_group_comes_once_in_a_pass_of_its_bucket():
  _, batches = _mixed_batches(500)
  for bucket in range(5):
    ids, passes = _samples(batches, bucket)
    assert passes[-1] >= 2 and (np.diff(passes) >= 0).all()
    for number in range(passes[-1]):
      expected = 1000 * bucket + np.arange(37 + bucket)
      assert sorted(ids[passes == number]) == list(expected)


def test_a_bucket_keeps_its_passes_when_others_join_its_group():
  _, batches = _mixed_batches(60)
  manifest = [(buckets.Stream(1000 * k + np.arange(37 + k)),) for k in range(5)]
  alone = buckets.plan(manifest, buckets.groups_of(MIXED, _tokens), 0, 0)
  for bucket in range(5):
    first, second = (_samples(found, bucket)[0] for found in (batches, alone))
    count = min(len(first), len(second))
    np.testing.assert_array_equal(first[:count], second[:count])
