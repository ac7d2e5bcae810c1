"""Figures with intervals from what the judge said, and how much wording matters.

Clips of one caption are no independent witnesses, so intervals are clustered by
caption. Two conditions are compared where they have captions and numbers of seeds in
common. How much wording matters is the share of its variance: with y the score of a
wording w and a seed s of one caption,

    y_ws = m + a_w + b_s + e_ws

where a, b and e vary; their variances are those of the two-way analysis of variance
with random effects, added up over the captions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ltx_jax.metrics.estimates import Estimate, clustered_mean
from tests.experiments.prompts.wordings import ATTRIBUTES

Rows = Sequence[Mapping[str, Any]]


def score(row: Mapping[str, Any]) -> float:
  """Returns the share of a clip's words that are right."""
  return float(np.mean(list(row["right"].values())))


def share(rows: Rows) -> Estimate:
  """Returns the share of words that are right."""
  captions = np.array([row["caption"] for row in rows])
  return clustered_mean(np.array(list(map(score, rows))), captions)


def by_attribute(rows: Rows) -> dict[str, float]:
  """Returns the share of clips with each attribute right; nan for one never asked."""
  found = {}
  for name in ATTRIBUTES:
    said = [row["right"][name] for row in rows if name in row["right"]]
    found[name] = float(np.mean(said)) if said else math.nan
  return found


def change(rows: Rows, control: Rows) -> Estimate:
  """Returns how much more of the words is right than in a control, clip by clip.

  Only words that both were asked for count.
  """
  before = {(row["caption"], row["seed"]): row["right"] for row in control}
  captions, values = [], []
  for row in rows:
    other = before.get((row["caption"], row["seed"]))
    if other is not None:
      words = row["right"].keys() & other.keys()
      values.append(np.mean([float(row["right"][w]) - other[w] for w in words]))
      captions.append(row["caption"])
  return clustered_mean(np.array(values, np.float64), np.array(captions))


def gap(trained: Rows, held_out: Rows) -> Estimate:
  """Returns how much more of the words is right in trained captions.

  The captions are matched, each trained one with the held-out one at its place.
  """
  pairs = list(zip(trained, held_out, strict=True))
  values = np.array([score(one) - score(other) for one, other in pairs])
  return clustered_mean(values, np.array([other["caption"] for _, other in pairs]))


class Components(NamedTuple):
  """Variances of the score of one caption.

  Attributes:
    wording: That between wordings.
    seed: That between seeds.
    rest: What is left.
  """

  wording: float
  seed: float
  rest: float


def components(scores: np.ndarray) -> Components:
  """Returns the variances, the mean over captions.

  Args:
    scores: Scores of captions, wordings and seeds, [captions, wordings, seeds].
  """
  _, wordings, seeds = scores.shape
  means = scores.mean((1, 2), keepdims=True)
  rows, columns = scores.mean(2, keepdims=True), scores.mean(1, keepdims=True)
  of_wording = seeds * ((rows - means) ** 2).sum((1, 2)) / (wordings - 1)
  of_seed = wordings * ((columns - means) ** 2).sum((1, 2)) / (seeds - 1)
  left = (scores - rows - columns + means) ** 2
  rest = left.sum((1, 2)) / ((wordings - 1) * (seeds - 1))
  return Components(
    max(0.0, float((of_wording - rest).mean()) / seeds),
    max(0.0, float((of_seed - rest).mean()) / wordings),
    float(rest.mean()),
  )


def scores_of(found: Mapping[str, Rows], names: Sequence[str]) -> np.ndarray:
  """Returns the scores of wordings as `components` takes them.

  They are those of the captions and seeds that all of them have.
  """
  captions, seeds = (
    sorted(set.intersection(*({row[key] for row in found[name]} for name in names)))
    for key in ("caption", "seed")
  )
  table = np.zeros((len(captions), len(names), len(seeds)))
  for place, name in enumerate(names):
    by = {(row["caption"], row["seed"]): score(row) for row in found[name]}
    table[:, place] = [[by[caption, seed] for seed in seeds] for caption in captions]
  return table
