"""Whether a rater's liking for subjects leaks into the aesthetic network's scores.

The rater of `tests.verify.aesthetics` likes some labels more than others. Two pictures
of a pair that shares a label have the same liking, so a head that learns from such
pairs should know nothing of it; one that learns from random pairs should.

A score may depend on the label without any leak, because "undamaged" pictures of some
subjects look softer or noisier than others to every head. What a head shows whose rater
likes nothing at all is therefore the least that any head can have.

    BACKBONE=efficientnet-lite0.safetensors python -m tests.verify aesthetic_leaks

Pictures and backbone are those of `tests.verify.aesthetics`, and so is AESTHETICS.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltx_jax.curation import aesthetic_pairs, aesthetics
from tests.verify.aesthetics import (
  PAIRS,
  PICTURES,
  SHARPNESS,
  Material,
  Truth,
  learnt,
  likings,
  material,
  rated,
  sigmoid,
)
from tests.verify.scenes import row

NAME = "Curation: what of a rater's liking for subjects leaks into the scores"
COMMAND = "python -m tests.verify aesthetic_leaks"

SEVERAL = 3
"""Least number of sources of a label that says something about labels."""


class Leak(NamedTuple):
  """What explains the scores of undamaged pictures, as R2.

  Attributes:
    liking: How the rater likes the label.
    sources: The label, of the mean scores of sources, among labels of several sources.
    label: The label, of pictures, whatever their sources.
  """

  liking: float
  sources: float
  label: float


WORDS = Leak(
  "undamaged pictures' scores on how the rater likes their label",
  f"the mean scores of sources on their label, labels of {SEVERAL} sources or more",
  "undamaged pictures' scores on their label, whatever their sources",
)


def indifferent(found: Material) -> Truth:
  """Returns random pairs, and the votes of a rater who likes no subject."""
  pairs = rated(found, np.ones(len(found.quality), bool), PAIRS, shared=False).pairs
  quality = found.quality
  logits = SHARPNESS * (quality[pairs[:, 0]] - quality[pairs[:, 1]])
  votes = np.random.default_rng(2).random(len(pairs)) < sigmoid(logits)
  return Truth(pairs, votes.astype(np.float64), logits)


def leak(found: Material, truth: Truth) -> Leak:
  """Returns what explains the scores of a head that learnt from pairs.

  Pictures of one source look alike, and many labels have pictures of one source only,
  so pictures alone cannot tell a label from a source. The mean scores of sources can,
  among labels of several sources.
  """
  whole = found.quality == 0
  scores = learnt(found, truth)[whole]
  labels = aesthetic_pairs.top_labels(found.table.labels, 1)[whole, 0]
  sources = np.array(found.table.sources)[whole]
  return Leak(
    float(np.corrcoef(scores, likings(found)[whole])[0, 1] ** 2),
    aesthetics.explained(*by_source(scores, labels, sources)),
    aesthetics.explained(scores, labels),
  )


def by_source(
  scores: np.ndarray, labels: np.ndarray, sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean scores of sources and their labels, of labels of several sources.

  Args:
    scores: Scores of pictures.
    labels: The label of each.
    sources: The source of each; it may have pictures of several labels.
  """
  groups, places = np.unique(
    np.stack([labels, np.unique(sources, return_inverse=True)[1]]),
    axis=1,
    return_inverse=True,
  )
  means = np.bincount(places.ravel(), scores) / np.bincount(places.ravel())
  counts = np.bincount(groups[0])
  enough = counts[groups[0]] >= SEVERAL
  return means[enough], groups[0][enough]


def rows_of(found: Material) -> Iterator[dict[str, Any]]:
  """Yields the rows of random pairs, shared labels, and a rater without likings."""
  every = np.ones(len(found.quality), bool)
  random = leak(found, rated(found, every, PAIRS, shared=False))
  shared = leak(found, rated(found, every, PAIRS))
  least = leak(found, indifferent(found))
  for words, most, own, limit in zip(WORDS, random, shared, least, strict=True):
    figure = f"R2 of {words}"
    above = most > own
    yield row(
      f"{figure}, random pairs", most, "", "more than with shared labels", above
    )
    third = f"at most a third, {most / 3:.3f}"
    yield row(f"{figure}, pairs that share a label", own, "", third, own <= most / 3)
    yield row(f"{figure}, a rater who likes no subject", limit, "", "", True)


def run() -> list[dict[str, Any]]:
  """Measures all of it."""
  if "AESTHETICS" in os.environ:
    return list(rows_of(material(Path(os.environ["AESTHETICS"]), PICTURES)))
  with tempfile.TemporaryDirectory() as folder:
    return list(rows_of(material(Path(folder), PICTURES)))
