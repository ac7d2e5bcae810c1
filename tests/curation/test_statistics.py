"""Statistics: counted by hand on a few captions, and sums that agree."""

import numpy as np
import pytest

from ltx_jax.curation import statistics
from ltx_jax.curation.statistics import Summary

CAPTIONS = [
  "A man walks; the camera pans left.",
  "A man walks.",
  "",
  "A man walks.",
  "The cat's well-fed.",
]


def test_words_are_counted():
  assert statistics.words("The cat's well-fed, isn’t it? 3 times!") == (
    ["the", "cat's", "well-fed", "isn’t", "it", "3", "times"]
  )
  assert statistics.words(" -- ") == []


def test_captions():
  found = statistics.of_captions(CAPTIONS)
  assert found.words.count == 5 and found.words.mean == (7 + 3 + 0 + 3 + 3) / 5
  assert found.empty == 0.2 and found.repeated == 0.25 and found.camera == 0.25
  vocabulary = {
    "a",
    "man",
    "walks",
    "the",
    "camera",
    "pans",
    "left",
    "cat's",
    "well-fed",
  }
  assert found.distinct == 1e4 * len(vocabulary) / 16
  assert found.triples == 1e4 * 6 / 16
  assert found.first[:2] == [("a man walks", 2), ("a man walks the camera", 1)]


def test_the_order_of_captions_does_not_matter():
  assert statistics.of_captions(CAPTIONS) == statistics.of_captions(CAPTIONS[::-1])


def test_summaries():
  found = statistics.summary(np.arange(101))
  assert found == Summary(101, 50.0, pytest.approx(np.arange(101).std()), 1, 50, 99)
  assert statistics.summary([]) == Summary(0, 0, 0, 0, 0, 0)
  assert statistics.of_captions([]).words.count == 0


@pytest.mark.parametrize(
  "values", [[0.0, 9.9], [3, 3, 3], [0.001, 0.8], [1e6, 2e6], [-5, 5], []]
)
def test_round_edges_cover_all_values(values):
  edges = statistics.round_edges(values, 10)
  found = statistics.histogram(values, edges)
  assert found.counts.sum() == len(values)
  assert 2 <= len(edges) <= 13 and (np.diff(edges) > 0).all()
  if values:
    assert edges[0] <= min(values) and max(values) < edges[-1]


def test_round_edges_are_round():
  assert statistics.round_edges([0.2, 19.7], 10).tolist() == list(range(0, 22, 2))


def test_what_lies_outside_is_counted_in_the_outer_bins():
  found = statistics.histogram([-3, 0.5, 1.5, 2.0, 99], [0, 1, 2])
  assert found.counts.tolist() == [2, 3]


def test_a_table_of_text():
  found = statistics.histogram([0.5] * 4 + [1.5], [0, 1, 2, 3])
  assert statistics.table(found, "seconds", 8).splitlines() == [
    "seconds  clips",
    "0 to 1       4  ########",
    "1 to 2       1  ##",
    "2 to 3       0",
  ]
