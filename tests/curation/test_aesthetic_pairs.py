"""Which pictures people compare: like with like, all connected, none twice."""

import numpy as np
import pytest

from ltx_jax.curation import aesthetic_pairs
from ltx_jax.curation.aesthetic_pairs import top_labels


def corpus(pictures=60, labels=8, sources=20, seed=0):
  rng = np.random.default_rng(seed)
  drawn = np.stack([rng.permutation(labels)[:3] for _ in range(pictures)])
  return drawn, [f"source{k % sources}" for k in range(pictures)]


def degrees(pairs, count):
  return np.bincount(pairs.ravel(), minlength=count)


def test_labels_that_all_pictures_have_do_not_win():
  logits = np.zeros((4, 5))
  logits[:, 0] = 9  # A label that is likely everywhere.
  logits[[0, 1, 2, 3], [1, 2, 3, 4]] = 1
  assert top_labels(logits, 1)[:, 0].tolist() == [1, 2, 3, 4]
  assert top_labels(logits).shape == (4, 3)


def test_both_pictures_share_the_label_and_no_source():
  labels, sources = corpus()
  found = aesthetic_pairs.pairs(labels, sources, 200, seed=1)
  assert len(found.pairs) == len(found.labels) == 200
  for (a, b), label in zip(found.pairs, found.labels, strict=True):
    assert label in labels[a] and label in labels[b]
    assert sources[a] != sources[b]


def test_no_pair_is_drawn_twice_in_any_order():
  labels, sources = corpus()
  found = aesthetic_pairs.pairs(labels, sources, 400, seed=2)
  assert len(np.unique(np.sort(found.pairs, axis=1), axis=0)) == len(found.pairs)


def test_each_picture_is_in_four_pairs_and_all_are_connected():
  labels, sources = corpus()
  found = aesthetic_pairs.pairs(labels, sources, 150, seed=3)
  assert degrees(found.pairs, 60).min() >= 4
  assert (found.parts, found.alone) == (1, 0)


def test_the_first_pairs_already_connect_all_pictures():
  labels, sources = corpus()
  found = aesthetic_pairs.pairs(labels, sources, 59, seed=4)
  assert (found.parts, found.alone) == (1, 0)


def test_one_source_with_many_pictures_is_connected_through_another():
  labels = np.zeros((20, 1), np.int64)
  found = aesthetic_pairs.pairs(labels, ["film"] * 19 + ["other"], 100, seed=0)
  assert found.parts == 1 and len(found.pairs) == 19  # There are no more.


def test_pictures_that_share_nothing_are_counted_not_paired():
  labels = np.array([[0], [0], [1], [1], [2]])
  found = aesthetic_pairs.pairs(labels, list("abcde"), 10, seed=0)
  assert found.parts == 2 and found.alone == 1
  assert len(found.pairs) == 2


def test_labels_are_drawn_by_the_root_of_their_number():
  labels = np.repeat([0, 1], [400, 100])[:, None]
  sources = [str(k) for k in range(500)]
  found = aesthetic_pairs.pairs(labels, sources, 2000, seed=0, least=0)
  drawn = found.labels[498:]  # After the tree.
  assert np.mean(drawn == 0) == pytest.approx(2 / 3, abs=0.05)


def test_a_seed_draws_the_same_pairs_and_another_one_others():
  labels, sources = corpus()
  one, same, other = (aesthetic_pairs.pairs(labels, sources, 99, s) for s in (5, 5, 6))
  np.testing.assert_array_equal(one.pairs, same.pairs)
  assert (one.pairs != other.pairs).any()


def test_either_picture_may_be_the_first():
  labels, sources = corpus()
  found = aesthetic_pairs.pairs(labels, sources, 300, seed=7)
  assert 0.35 < np.mean(found.pairs[:, 0] < found.pairs[:, 1]) < 0.65


def test_pictures_of_one_source_are_refused_in_words():
  with pytest.raises(ValueError, match="None of 3 pictures of 1 sources share a label"):
    aesthetic_pairs.pairs(np.zeros((3, 1), np.int64), ["a"] * 3, 5, seed=0)
  with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
    aesthetic_pairs.pairs(np.zeros((3, 1), np.int64), list("abc"), 0, seed=0)
