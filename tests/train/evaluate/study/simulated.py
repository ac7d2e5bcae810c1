"""Raters with known strengths of models, tastes and habits."""

from __future__ import annotations

import collections
import dataclasses
import uuid

import numpy as np

from train.evaluate.study.trials import Deck


@dataclasses.dataclass(frozen=True)
class World:
  """What is true of models, prompts and raters, in logits.

  Attributes:
    strengths: Strength of each model.
    prompt_taste: Spread of strengths per prompt and model.
    rater_taste: Spread of strengths per rater and model.
    ties: Share of votes that call both equal.
    left: What the left clip gains by being on the left.
    slips: Share of wrong answers to checks.
  """

  strengths: tuple[float, ...]
  prompt_taste: float = 0.7
  rater_taste: float = 0.4
  ties: float = 0.1
  left: float = 0.0
  slips: float = 0.03


class Crowd:
  """Raters of a world; names of habits say how the others answer."""

  def __init__(self, study, raters, world, seed, habits=None):
    self.study, self.world, self.habits = study, world, habits or {}
    self.rng = np.random.default_rng(seed)
    k = len(study.models)
    self.number = {model: n for n, model in enumerate(study.models)}
    draw = self.rng.standard_normal
    self.of_item = {i.id: world.prompt_taste * draw(k) for i in study.items}
    self.of_rater = {rater: world.rater_taste * draw(k) for rater in raters}

  def choice(self, rater, trial):
    habit = self.habits.get(rater)
    if habit == "left":
      return "left"
    if habit == "random":
      return str(self.rng.choice(["left", "right", "tie"], p=[0.45, 0.45, 0.1]))
    other = {"left": "right", "right": "left"}
    if trial.kind == "damaged":
      return other[trial.good] if self.rng.random() < self.world.slips else trial.good
    if trial.kind == "same" or self.rng.random() < self.world.ties:
      return "tie"
    likes = self.of_item[trial.item] + self.of_rater[rater] + self.world.strengths
    gain = likes[self.number[trial.left]] - likes[self.number[trial.right]]
    chance = 1 / (1 + np.exp(-gain - self.world.left))
    return "left" if self.rng.random() < chance else "right"


def votes_of(study, raters, crowd):
  """Lets all raters vote in turns, to the end: lines as the server writes them."""
  decks, shown = (
    {rater: Deck(study, rater) for rater in raters},
    {r: [] for r in raters},
  )
  sha256 = study.sha256  # It is a hash of all items.
  counts, rows, going = collections.Counter(), [], list(raters)

  def needs(subject):
    return counts[subject] < study.rules.votes_per_pair

  while going:
    for rater in tuple(going):
      trial = decks[rater].next(shown[rater], needs)
      if trial is None:
        going.remove(rater)
        continue
      shown[rater].append(trial)
      counts[trial.subject] += trial.kind == "pair"
      row = {"trial": trial.number, "kind": trial.kind, "item": trial.item}
      row |= {"left": trial.left, "right": trial.right, "good": trial.good}
      row |= {"vote": str(uuid.UUID(int=len(rows))), "study": sha256}
      row |= {"rater": rater, "choice": crowd.choice(rater, trial), "replaces": None}
      row |= {"shown": 1e9, "answered": 1e9 + 7, "plays": 1, "seconds": 7}
      rows.append(row | {"screen": "1x1"})
  return rows
