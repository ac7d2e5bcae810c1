"""Token dropping: which tokens are kept, with their places."""

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data import token_dropping
from ltx_jax.data.loader import Loader

LARGE, SMALL, IMAGE = Bucket(9, 96, 96), Bucket(25, 64, 64), Bucket(1, 128, 128)
GRIDS = {(2, 3, 3): LARGE, (4, 2, 2): SMALL, (1, 4, 4): IMAGE}  # 18, 16 and 16 tokens.
STAGE = Stage(400, (LARGE, SMALL, IMAGE), tokens=96)


def _grid(bucket):
  return next(grid for grid, each in GRIDS.items() if each == bucket)


def _tokens(bucket):
  return int(np.prod(_grid(bucket)))


class _Numbered:
  """Latents that encode where they come from: sample, frame, row and column."""

  fingerprint = "numbered"

  def assign(self, buckets):
    return [np.arange(10 + len(buckets)) for _ in buckets]

  def propose(self, auto, factors, tokens):
    raise NotImplementedError

  def read(self, bucket, ids, seeds):
    places = np.indices(_grid(bucket)).transpose(1, 2, 3, 0)
    latents = np.stack(
      [np.concatenate([0 * places[..., :1] + i, places], -1) for i in ids]
    )
    fps = np.full(len(ids), 24, np.float32)
    batch = {"latents": latents.astype(np.float32), "fps": fps, "seed": seeds}
    return token_dropping.as_tokens(batch)


def _loader(own_rows=np.arange):
  how = {"own_rows": own_rows, "token_dropping": 0.2}
  return Loader(_Numbered(), (STAGE,), 0, _tokens, **how)


def test_tokens_are_the_latents_in_order_each_with_its_place():
  latents = np.random.default_rng(0).standard_normal((2, 3, 2, 4, 5))
  batch = token_dropping.as_tokens({"latents": latents, "fps": np.ones(2)})
  assert (
    batch["latents"].shape == (2, 24, 5) and batch["grid"].tolist() == [[3, 2, 4]] * 2
  )
  for row in range(2):
    for token, (f, h, w) in zip(
      batch["latents"][row], batch["places"][row], strict=True
    ):
      np.testing.assert_array_equal(token, latents[row, f, h, w])


def test_every_token_is_kept_as_often_as_any_other():
  tokens, count, trials = 40, 32, 4000
  rows = [token_dropping.kept(tokens, count, seed) for seed in range(trials)]
  assert all(len(set(row)) == count and (np.diff(row) > 0).all() for row in rows)
  rate = np.bincount(np.concatenate(rows), minlength=tokens) / trials
  deviation = np.sqrt(0.8 * 0.2 / trials)
  assert np.abs(rate - 0.8).max() < 4 * deviation
  assert 0.5 < rate.std() / deviation < 1.5
  # So are pairs: a clip's tokens are not dropped in runs.
  first = np.array([row[0] == 0 for row in rows])
  both = np.array([row[0] == 0 and row[1] == 1 for row in rows])
  expected = (count - 1) / (tokens - 1)
  assert abs(both.sum() / first.sum() - expected) < 4 * deviation


def test_clips_of_a_group_are_trimmed_to_its_smallest_bucket():
  loader, seen = _loader(), set()
  for step in range(40):
    batch = loader.batch(step)
    assert batch["latents"].shape == (6, 16, 4) and batch["places"].shape == (6, 16, 3)
    assert loader.bucket_at(step) in (SMALL, IMAGE)
    _, planned = loader.plan_at(step)
    for row, bucket in enumerate(planned.rows.buckets):
      grid = _grid(STAGE.buckets[bucket])
      seen.add(grid)
      assert tuple(batch["grid"][row]) == grid
      tokens, places = batch["latents"][row], batch["places"][row]
      assert (tokens[:, 0] == planned.rows.ids[row]).all()
      np.testing.assert_array_equal(tokens[:, 1:], places)
      flat = np.ravel_multi_index(places.T, grid)
      assert (np.diff(flat) > 0).all()
  assert seen == set(GRIDS)


def test_what_is_dropped_differs_from_pass_to_pass():
  loader, kept = _loader(), {}
  for step in range(120):
    batch, (_, planned) = loader.batch(step), loader.plan_at(step)
    for row in np.flatnonzero(planned.rows.buckets == 0):
      places = batch["places"][row].tobytes()
      kept.setdefault(int(planned.rows.ids[row]), []).append(places)
  assert all(len(set(each)) > 0.7 * len(each) > 3 for each in kept.values())


def test_a_bucket_alone_drops_nothing():
  loader = Loader(_Numbered(), (STAGE,), 0, _tokens, token_dropping=0.1)
  sizes = {loader.batch(step)["latents"].shape[1] for step in range(40)}
  assert sizes == {18, 16}


@pytest.mark.parametrize("count", [2, 3])
def test_processes_read_the_rows_of_one_mixed_batch(count):
  whole = [_loader().batch(step) for step in range(8)]
  for index in range(count):
    own = _loader(lambda n, k=index: np.array_split(np.arange(n), count)[k])
    for step, batch in enumerate(whole):
      found, size = own.batch(step), 6 // count
      for name, rows in batch.items():
        expected = rows[index * size : (index + 1) * size]
        np.testing.assert_array_equal(found[name], expected)
