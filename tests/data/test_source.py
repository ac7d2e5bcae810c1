import dataclasses

import numpy as np
import pytest

from ltx_jax.config.runs import AutoBuckets, Bucket, Stage
from ltx_jax.data.source import Mixture, mixed, resolved

SHORT, LONG = Bucket(1, 32, 32), Bucket(9, 32, 32)


@dataclasses.dataclass
class Numbered:
  """Samples that are their own ids, behind the source's number."""

  number: int
  count: int
  width: int = 1
  fingerprint: str = "numbers"

  def assign(self, buckets):
    return [np.arange(self.count // bucket.frames) for bucket in buckets]

  def propose(self, auto, factors, tokens):
    return (SHORT, dataclasses.replace(LONG, weight=float(tokens(LONG))))

  def read(self, bucket, ids, seeds):
    rows = np.stack([np.full(len(ids), self.number), ids], axis=1)
    return {"rows": np.repeat(rows, self.width, axis=1), "seed": seeds}


def test_a_bucket_takes_samples_of_every_source():
  mixture = Mixture((Numbered(0, 20), Numbered(1, 9)), (2.0, 1.0))
  short, long = mixture.streams([SHORT, LONG])
  assert [len(stream.ids) for stream in short] == [20, 9]
  assert [len(stream.ids) for stream in long] == [2, 1]
  assert [stream.weight for stream in short] == [2.0, 1.0]
  assert len(set(np.concatenate([stream.ids for stream in short]))) == 29


def test_a_batch_keeps_the_order_of_its_samples():
  mixture = Mixture((Numbered(0, 20), Numbered(1, 9)), (2.0, 1.0))
  first, second = (stream.ids for stream in mixture.streams([SHORT])[0])
  ids = np.array([second[3], first[5], second[0], first[7]])
  batch = mixture.read(SHORT, ids, np.arange(4, dtype=np.uint32))
  assert batch["rows"].tolist() == [[1, 3], [0, 5], [1, 0], [0, 7]]
  assert batch["seed"].tolist() == [0, 1, 2, 3]


def test_one_source_reads_as_it_is():
  ids = np.array([4, 2])
  batch = mixed(Numbered(0, 5)).read(SHORT, ids, np.zeros(2, np.uint32))
  assert batch["rows"].tolist() == [[0, 4], [0, 2]]


def test_fingerprints_follow_sources_and_weights():
  one, other = Numbered(0, 5), Numbered(0, 5, fingerprint="others")
  prints = {
    mixed(one).fingerprint,
    mixed(other).fingerprint,
    Mixture((one, other), (1.0, 1.0)).fingerprint,
    Mixture((one, other), (1.0, 2.0)).fingerprint,
  }
  assert len(prints) == 4


@pytest.mark.parametrize(
  ("weights", "said"),
  [((1.0,), "2 source.s. but 1 weight"), ((1.0, 0.0), "must be above 0")],
)
def test_weights_that_mix_nothing_are_refused(weights, said):
  with pytest.raises(ValueError, match=said):
    Mixture((Numbered(0, 5), Numbered(1, 5)), weights)


def test_buckets_are_found_where_a_stage_names_none():
  stages = (Stage(3, (SHORT,), 64), Stage(5, AutoBuckets(), 64))
  first, second = resolved(stages, Numbered(0, 5), (8, 32), lambda bucket: 2)
  assert first is stages[0]
  assert second == Stage(5, (SHORT, dataclasses.replace(LONG, weight=2.0)), 64)


def test_sources_of_other_arrays_are_refused():
  mixture = Mixture((Numbered(0, 5), Numbered(1, 5, width=2)), (1.0, 1.0))
  ids = np.concatenate([stream.ids[:1] for stream in mixture.streams([SHORT])[0]])
  with pytest.raises(ValueError, match="differ in rows"):
    mixture.read(SHORT, ids, np.zeros(2, np.uint32))
