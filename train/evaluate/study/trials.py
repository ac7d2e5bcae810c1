"""What one rater sees, in which order and on which side.

All of it follows from the study's seed, the rater, and what was shown before. A keyed
hash stands in for a generator of random numbers: its values never change.

A rater meets all pairs of models equally often: next comes the pair that was met least,
and of its items the first, in the rater's own order, that still needs votes. Of two
meetings of a pair, one has the first model on the left.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

from train.evaluate.study.design import Item, Study

Kind = Literal["pair", "damaged", "repeat", "same"]
Side = Literal["left", "right"]


@dataclasses.dataclass(frozen=True)
class Trial:
  """Two clips that a rater compares.

  Attributes:
    number: Its place among the rater's trials, from 0.
    kind: `pair` counts; the others are checks.
    item: Item of the clips.
    left: Model of the left clip.
    right: Model of the right one.
    good: Side of the clip that is not damaged, in a check against a damaged copy.
  """

  number: int
  kind: Kind
  item: str
  left: str
  right: str
  good: Side | None = None

  @property
  def subject(self) -> tuple[str, str, str]:
    """Item and models, whatever their sides."""
    return self.item, *sorted((self.left, self.right))


def drawn(seed: int, *words: object) -> int:
  """Returns a number of 64 bits that looks random and never changes."""
  text = "\0".join(str(word) for word in (seed, *words))
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


class Deck:
  """The trials of one rater."""

  def __init__(self, study: Study, rater: str):
    """Lays out the order of kinds, and of items in each pair of models.

    Args:
      study: The study.
      rater: Identity of the rater.
    """
    self.study, self.rater = study, rater
    self.kinds = self._kinds()
    items = [item.id for item in study.items]
    self._orders = {
      pair: sorted(items, key=lambda item, p=pair: self._drawn("item", *p, item))
      for pair in study.pairs
    }

  def next(
    self, before: Sequence[Trial], needs: Callable[[tuple[str, str, str]], bool]
  ) -> Trial | None:
    """Returns the trial after those that were shown; None if nothing is left.

    Args:
      before: What the rater was shown, in order.
      needs: Function that says whether a subject needs another vote.
    """
    number = len(before)
    if number >= len(self.kinds):
      return None
    kind = self.kinds[number]
    check = None
    if kind == "damaged":
      check = self._damaged(number, before)
    elif kind == "repeat":
      check = self._repeated(number, before)
    elif kind == "same":
      check = self._same(number)
    return check or self._pair(number, before, needs)

  def _drawn(self, *words: object) -> int:
    return drawn(self.study.seed, self.rater, *words)

  def _kinds(self) -> list[Kind]:
    """Returns the kind of each trial: checks spread evenly, repeats not at first."""
    rules = self.study.rules
    counts = {"damaged": rules.damaged, "repeat": rules.repeats, "same": rules.same}
    checks = [(kind, k) for kind, count in counts.items() for k in range(count)]
    checks.sort(key=lambda check: self._drawn("check", *check))
    kinds: list[Kind] = ["pair"] * rules.trials
    for k, (kind, _) in enumerate(checks):
      low = k * rules.trials // len(checks)
      high = (k + 1) * rules.trials // len(checks)
      kinds[low + self._drawn("place", k) % (high - low)] = kind
    first = kinds.index("pair") if "pair" in kinds else 0
    for place in range(first):  # Before the first pair there is none to repeat.
      if kinds[place] == "repeat":
        kinds[place], kinds[first] = kinds[first], kinds[place]
        break
    return kinds

  def _pair(
    self,
    number: int,
    before: Sequence[Trial],
    needs: Callable[[tuple[str, str, str]], bool],
  ) -> Trial | None:
    seen = [trial for trial in before if trial.kind == "pair"]
    known = {trial.subject for trial in seen}
    met = collections.Counter(trial.subject[1:] for trial in seen)

    def turn(pair: tuple[str, str]) -> tuple[int, int]:
      times = met[tuple(sorted(pair))]
      return times, self._drawn("turn", times, *pair)

    for pair in sorted(self.study.pairs, key=turn):
      for item in self._orders[pair]:
        subject = item, *sorted(pair)
        if subject not in known and needs(subject):
          times = met[tuple(sorted(pair))]
          swapped = self._drawn("side", times // 2, *pair) % 2 ^ times % 2
          left, right = reversed(pair) if swapped else pair
          return Trial(number, "pair", item, left, right)
    return None

  def _damaged(self, number: int, before: Sequence[Trial]) -> Trial | None:
    used = {(t.item, t.left) for t in before if t.kind == "damaged"}
    left = [d for d in self.study.damaged if (d.item, d.model) not in used]
    if not left:
      return None
    chosen = min(left, key=lambda d: self._drawn("damaged", d.item, d.model))
    good = ("left", "right")[(self._drawn("good", len(used) // 2) + len(used)) % 2]
    return Trial(number, "damaged", chosen.item, chosen.model, chosen.model, good)

  def _repeated(self, number: int, before: Sequence[Trial]) -> Trial | None:
    again = {trial.subject for trial in before if trial.kind == "repeat"}
    once = [t for t in before if t.kind == "pair" and t.subject not in again]
    once = once[: max(1, len(once) // 2)]  # Long enough ago to be forgotten.
    if not once:
      return None
    chosen = once[self._drawn("repeat", number) % len(once)]
    return dataclasses.replace(
      chosen, number=number, kind="repeat", left=chosen.right, right=chosen.left
    )

  def _same(self, number: int) -> Trial:
    items = self.study.items
    item = items[self._drawn("same", number) % len(items)]
    models = list(item.clips)
    model = models[self._drawn("same model", number) % len(models)]
    return Trial(number, "same", item.id, model, model)


class Shelf:
  """Finds items and clips of a study by name."""

  def __init__(self, study: Study):
    """Lists them.

    Args:
      study: The study.
    """
    self.items: dict[str, Item] = {item.id: item for item in study.items}
    self._damaged = {(d.item, d.model): d.clip.media for d in study.damaged}

  def media(self, trial: Trial) -> tuple[str, str]:
    """Returns the names of the left and the right clip."""
    clips = self.items[trial.item].clips
    left, right = clips[trial.left].media, clips[trial.right].media
    if trial.kind == "damaged":
      copy = self._damaged[trial.item, trial.left]
      return (left, copy) if trial.good == "left" else (copy, right)
    return left, right
