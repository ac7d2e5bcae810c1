"""Which pictures people compare: pairs that share a label, from different sources.

A multi-label network gives each picture its top three labels. Common labels would win
everywhere, so each label's mean over all pictures is subtracted first. Then pairs are
drawn, in this order:

  1. a tree, which connects all pictures that can be: scores of pictures that no chain
     of pairs connects cannot be compared
  2. pairs for pictures that are in fewer than four
  3. a label, with a probability that grows with the root of the number of its pictures,
     and two of its pictures, again and again

No pair is drawn twice, and none has two pictures of one source, whose frames look
alike. People may stop anywhere: what matters most comes first.

Source: the paper (arXiv:2501.00103, section 3.1) for the shared label; the order and
the numbers are ours.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.errors import check_number, check_seed

TOP, LEAST = 3, 4
"""Labels of a picture, and pairs that it is in at least, where there are as many."""

_TRIES, _MISSES = 20, 1000


class Pairs(NamedTuple):
  """Pairs of pictures, by their numbers.

  Attributes:
    pairs: The two pictures of each, in random order.
    labels: The label that both have.
    parts: Number of parts that no pair connects, pictures without any pair left out.
    alone: Number of pictures without any pair.
  """

  pairs: Int[np.ndarray, "p 2"]
  labels: Int[np.ndarray, "p"]
  parts: int
  alone: int


def top_labels(
  logits: Float[np.ndarray, "n k"], count: int = TOP
) -> Int[np.ndarray, "n top"]:
  """Returns the labels of each picture that stand out most from the mean picture."""
  above = np.asarray(logits, np.float64) - np.mean(logits, axis=0, dtype=np.float64)
  return np.argsort(-above, axis=1, kind="stable")[:, :count]


def _root(above: list[int], picture: int) -> int:
  """Returns the picture that stands for a part, and shortens the way to it."""
  while above[picture] != picture:
    above[picture] = above[above[picture]]
    picture = above[picture]
  return picture


class _Drawing:
  """Pairs that were drawn, and the parts of the graph that they make."""

  def __init__(self, labels: np.ndarray, sources: Sequence[str], seed: int):
    self.rng = np.random.default_rng(seed)
    self.sources = sources
    groups = collections.defaultdict(list)
    for picture, row in enumerate(labels.tolist()):
      for label in dict.fromkeys(row):
        groups[label].append(picture)
    # A label all of whose pictures are of one source has no pair.
    self.groups = {
      label: np.array(members)
      for label, members in sorted(groups.items())
      if len({sources[picture] for picture in members}) > 1
    }
    self.of = [[x for x in row if x in self.groups] for row in labels.tolist()]
    self.used: dict[tuple[int, int], int] = {}
    self.pairs: list[tuple[int, int]] = []
    self.degree = np.zeros(len(labels), np.int64)
    self._above = list(range(len(labels)))

  def fits(self, a: int, b: int) -> bool:
    different = a != b and self.sources[a] != self.sources[b]
    return different and (min(a, b), max(a, b)) not in self.used

  def add(self, a: int, b: int, label: int) -> None:
    self.used[min(a, b), max(a, b)] = label
    self.pairs.append((a, b) if self.rng.random() < 0.5 else (b, a))
    self.degree[[a, b]] += 1
    self._above[_root(self._above, a)] = _root(self._above, b)

  def tree(self) -> None:
    """Connects the pictures of each label with one another."""
    for label in self.rng.permutation(list(self.groups)).tolist():
      placed: list[int] = []
      waiting: list[int] = []  # Until one of another source is placed.
      sources = set()
      for picture in self.rng.permutation(self.groups[label]).tolist():
        placed.append(picture)
        waiting.append(picture)
        sources.add(self.sources[picture])
        if len(sources) > 1:
          for one in waiting:
            self._connect(one, placed, label)
          waiting.clear()

  def _connect(self, picture: int, placed: Sequence[int], label: int) -> None:
    for _ in range(_TRIES):
      other = placed[int(self.rng.integers(len(placed)))]
      if self.fits(picture, other):
        break
    else:
      fitting = [other for other in placed if self.fits(picture, other)]
      if not fitting:
        return
      other = fitting[0]
    if _root(self._above, picture) != _root(self._above, other):
      self.add(picture, other, label)

  def fill(self, least: int) -> None:
    """Gives each picture `least` pairs, with pictures that have few themselves."""
    for picture in self.rng.permutation(len(self.degree)).tolist():
      for label in self.rng.permutation(self.of[picture]).tolist():
        if self.degree[picture] >= least:
          break
        members = self.rng.permutation(self.groups[label])
        members = members[np.argsort(self.degree[members], kind="stable")]
        for other in members.tolist():
          if self.degree[picture] < least and self.fits(picture, other):
            self.add(picture, other, label)

  def draw(self, count: int) -> None:
    """Draws labels and pairs of them until there are so many, or hardly any is left."""
    if not self.groups:
      return
    names = list(self.groups)
    weights = np.sqrt([len(self.groups[name]) for name in names])
    misses = 0
    while len(self.pairs) < count and misses < _MISSES:
      label = names[self.rng.choice(len(names), p=weights / weights.sum())]
      a, b = self.rng.choice(self.groups[label], 2, replace=False).tolist()
      if self.fits(a, b):
        self.add(a, b, label)
        misses = 0
      else:
        misses += 1


def pairs(
  labels: Int[np.ndarray, "n top"],
  sources: Sequence[str],
  count: int,
  seed: int,
  least: int = LEAST,
) -> Pairs:
  """Draws pairs of pictures for people to compare.

  Args:
    labels: Labels of each picture (`top_labels`); one label for all pictures draws
      random pairs.
    sources: Source of each picture.
    count: Number of pairs; fewer are drawn if there are no more.
    seed: Random seed; the same one draws the same pairs.
    least: Pairs that each picture is in, where there are as many.

  Raises:
    ValueError: If no two pictures of different sources share a label.
  """
  check_number("count", count, at_least=1, whole=True)
  check_seed(seed)
  drawing = _Drawing(labels, sources, seed)
  drawing.tree()
  drawing.fill(least)
  drawing.draw(count)
  chosen = np.array(drawing.pairs[:count], np.int64).reshape(-1, 2)
  if not len(chosen):
    raise ValueError(
      f"None of {len(labels)} pictures of {len(set(sources))} sources share a label "
      "with one of another source; give more pictures."
    )
  named = [drawing.used[min(a, b), max(a, b)] for a, b in chosen.tolist()]
  parts, alone = _parts(chosen, len(labels))
  return Pairs(chosen, np.array(named), parts, alone)


def _parts(chosen: np.ndarray, count: int) -> tuple[int, int]:
  above = list(range(count))
  for a, b in chosen.tolist():
    above[_root(above, a)] = _root(above, b)
  seen = set(chosen.ravel().tolist())
  return len({_root(above, picture) for picture in seen}), count - len(seen)
