import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data.loader import Loader
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import Shapes

SMALL, LARGE = Bucket(1, 32, 32, weight=1.0), Bucket(9, 32, 64, weight=3.0)
STAGES = (Stage(20, (SMALL,), tokens=64), Stage(500, (SMALL, LARGE), tokens=64))


def _tokens(bucket):
  return ((bucket.frames - 1) // 8 + 1) * (bucket.height // 32) * (bucket.width // 32)


def _loader(stages=STAGES, seed=0, own_rows=np.arange):
  return Loader(Shapes(), stages, seed, _tokens, own_rows)


class _Ids(Shapes):
  """The samples' ids and seeds alone."""

  def read(self, bucket, ids, seeds):
    return {"ids": ids, "seeds": seeds}


def _ids_only(stages=STAGES, seed=0):
  return Loader(_Ids(), stages, seed, _tokens)


def _same(one, other):
  return one.keys() == other.keys() and all(
    one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k]) for k in one
  )


def test_a_batch_is_clips_of_its_captions_and_seeds():
  loader = _loader()
  captions = world.train_captions()
  for step, bucket in ((0, SMALL), (19, SMALL), (24, loader.bucket_at(24))):
    batch = loader.batch(step)
    size = bucket.frames, bucket.height, bucket.width
    assert batch["video"].shape == (64 // _tokens(bucket), *size, 3)
    assert batch["video"].dtype == np.uint8
    assert batch["fps"].dtype == np.float32 and (batch["fps"] == 24).all()
    assert batch["seed"].dtype == np.uint32
    ids = loader.plan_at(step)[1].rows.ids
    for video, caption, seed in zip(batch["video"], ids, batch["seed"], strict=True):
      expected = world.clip(captions[caption], int(seed), *size)
      np.testing.assert_array_equal(video, expected)


def test_a_batch_does_not_depend_on_where_reading_started():
  loader = _loader()
  # Across the end of the first stage, in another order, from another loader.
  direct = [loader.batch(step) for step in (23, 22, 21, 20, 19, 18)][::-1]
  for start in (0, 17, 18):
    batches = itertools.islice(_loader().iterate(start), 18 - start, 24 - start)
    assert all(map(_same, direct, batches))


@pytest.mark.parametrize("threads", [0, 3])
def test_the_number_of_threads_does_not_change_the_order(threads):
  loader = _ids_only()
  batches = list(loader.iterate(5, 90, threads=threads, ahead=2))
  assert len(batches) == 85
  assert all(_same(b, loader.batch(5 + i)) for i, b in enumerate(batches))


def test_the_iterator_ends_with_the_run():
  loader = _ids_only()
  assert loader.steps == 520
  assert len(list(loader.iterate(515))) == 5
  for step in (-1, 520):
    with pytest.raises(ValueError, match="0 to 519"):
      loader.batch(step)


def test_stages_change_at_their_steps_and_differ():
  loader = _loader((dataclasses.replace(STAGES[0], steps=2), STAGES[0]))
  assert [loader.plan_at(step)[0] for step in (0, 1, 2, 21)] == [0, 0, 1, 1]
  first, second = (loader.plan_at(step)[1].rows.ids for step in (0, 2))
  assert (first != second).any()


def test_shares_of_the_mixture():
  loader = _ids_only()
  large = sum(loader.bucket_at(step) == LARGE for step in range(20, 520))
  assert abs(large / 500 - 0.75) < 0.03


def test_every_caption_comes_once_in_a_pass_of_a_bucket():
  loader = _ids_only()
  captions = len(world.train_captions())
  plans = [loader.plan_at(step)[1] for step in range(20, 520)]
  for bucket in (0, 1):
    ids = np.concatenate([p.rows.ids for p in plans if p.group == bucket])
    assert len(ids) > 2 * captions
    for start in (0, captions):
      assert sorted(ids[start : start + captions]) == list(range(captions))


def test_held_out_captions_never_come():
  loader = _ids_only()
  captions = world.train_captions()
  seen = {captions[i] for b in loader.iterate(0, 200) for i in b["ids"]}
  assert len(seen) == len(captions)
  assert not seen & set(world.held_out_captions())


def test_the_same_caption_gets_another_seed_in_each_pass():
  stage = dataclasses.replace(STAGES[0], steps=60)
  batches = list(_ids_only((stage, stage)).iterate())
  ids = np.concatenate([batch["ids"] for batch in batches])
  seeds = np.concatenate([batch["seeds"] for batch in batches])[ids == 3]
  assert len(np.unique(seeds)) == len(seeds) > 8


def test_processes_read_the_rows_of_one_global_batch():
  """Here every second one, as on a mesh whose last axes go over the processes."""
  whole = _loader()
  halves = [_loader(own_rows=lambda n, p=p: np.arange(p, n, 2)) for p in (0, 1)]
  for step in (0, 30):
    parts = [half.batch(step) for half in halves]
    joined = {k: np.stack([p[k] for p in parts], 1) for k in parts[0]}
    joined = {k: rows.reshape(-1, *rows.shape[2:]) for k, rows in joined.items()}
    assert _same(whole.batch(step), joined)
    assert whole.rows(step) == halves[0].rows(step) == len(joined["seed"])
  assert whole.fingerprint == halves[0].fingerprint == halves[1].fingerprint


def test_fingerprint_tells_runs_apart_and_lets_the_last_stage_grow():
  one = _ids_only()
  longer = _ids_only((STAGES[0], dataclasses.replace(STAGES[1], steps=900)))
  assert one.fingerprint == longer.fingerprint
  assert all(_same(one.batch(s), longer.batch(s)) for s in (0, 19, 20, 519))
  assert one.fingerprint != _ids_only(seed=1).fingerprint
  assert one.fingerprint != _ids_only(STAGES[:1]).fingerprint
  later = _ids_only((dataclasses.replace(STAGES[0], steps=21), STAGES[1]))
  assert one.fingerprint != later.fingerprint
  assert not _same(one.batch(0), _ids_only(seed=1).batch(0))


def test_a_bucket_without_samples_is_refused_before_the_run():
  with pytest.raises(ValueError, match="Nothing in the data fits"):
    Loader(_Ids(captions=()), STAGES, 0, _tokens)


def test_importing_the_package_does_not_import_grain():
  code = "import sys, ltx_jax; assert not {'grain', 'av'} & set(sys.modules)"
  subprocess.run([sys.executable, "-c", code], check=True)
