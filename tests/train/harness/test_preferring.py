"""Training of heads: folds by source, batches, and what is learnt."""

import numpy as np
import pytest

from ltx_jax.curation import aesthetics
from train.harness import preferring
from train.harness.preferring import Fitting


@pytest.fixture(scope="module")
def case():
  """Features whose first number is what people like, and votes of sure people."""
  rng = np.random.default_rng(0)
  features = rng.normal(size=(90, 6)).astype(np.float32)
  features[:, 0] *= 100
  features[:, 1] *= 1e-3
  sources = [f"film{k % 15}" for k in range(90)]
  pairs = rng.integers(0, 90, (600, 2))
  pairs = pairs[pairs[:, 0] % 15 != pairs[:, 1] % 15]
  quality = features[:, 0] / 100 + features[:, 1] * 1e3
  chance = 1 / (1 + np.exp(-4 * (quality[pairs[:, 0]] - quality[pairs[:, 1]])))
  votes = (rng.random(len(pairs)) < chance).astype(float)
  return features, sources, pairs, votes, quality


def test_a_source_is_in_one_fold():
  sources = [f"film{k % 7}" for k in range(50)]
  fold = preferring.folds(sources, 3, seed=0)
  assert {len(set(fold[k::7])) for k in range(7)} == {1}
  assert np.bincount([fold[k] for k in range(7)]).tolist() == [3, 2, 2]


def test_batches_see_every_pair_in_each_epoch():
  found = list(preferring.batches(10, 4, 3, seed=0))
  assert {len(rows) for rows in found} == {4} and len(found) == 9
  for epoch in range(3):
    rows = np.concatenate(found[3 * epoch : 3 * epoch + 3])
    assert set(rows.tolist()) == set(range(10))
  assert [len(rows) for rows in preferring.batches(3, 256, 2, seed=0)] == [3, 3]


def test_a_head_learns_numbers_of_any_scale_and_knows_how_sure_it_is(case):
  features, sources, pairs, votes, quality = case
  how = Fitting(epochs=60, batch=64)
  found = preferring.cross_fit(features, sources, pairs, votes, how, parts=3)
  scores = preferring.score_all(found.params, features)
  # Layer norm takes the size of a row away, which matters with six features.
  assert aesthetics.kendall(scores, np.float64(quality)) > 0.6
  results = preferring.measures(found.sharpness * found.logits, votes[found.held])
  assert results["accuracy"] > 0.65
  assert results["calibration error"] < 0.15
  fold = preferring.folds(sources, 3, 0)[pairs[found.held]]
  assert (fold[:, 0] == fold[:, 1]).all()


def test_training_is_the_same_twice(case):
  features, _, pairs, votes, _ = case
  how = Fitting(epochs=2, batch=128)
  one, same = (preferring.fit(features, pairs, votes, how) for _ in range(2))
  other = preferring.fit(features, pairs, votes, Fitting(epochs=2, batch=128, seed=1))
  kernels = [p["layers"]["dense1"]["kernel"] for p in (one, same, other)]
  np.testing.assert_array_equal(kernels[0], kernels[1])
  assert (kernels[0] != kernels[2]).any()


def test_a_factor_multiplies_scores(case):
  features, _, pairs, votes, _ = case
  head = preferring.fit(features, pairs, votes, Fitting(epochs=1))
  np.testing.assert_allclose(
    preferring.score_all(preferring.sharpened(head, 0.5), features),
    0.5 * preferring.score_all(head, features),
    rtol=1e-5,
    atol=1e-6,
  )


def test_too_few_sources_are_refused_in_words(case):
  features, _, pairs, votes, _ = case
  sources = ["one"] * 45 + ["other"] * 45
  across = pairs[(pairs[:, 0] < 45) != (pairs[:, 1] < 45)]
  with pytest.raises(ValueError, match="of 2 sources, too few to hold some"):
    preferring.cross_fit(features, sources, across, votes[: len(across)], Fitting())
