"""Which clips are kept: rules in an order, and a reason for every clip they drop.

A rule looks at the numbers of all clips at once (`table`) and says which it drops. No
video is opened, so other thresholds cost seconds, for millions of clips. Some rules
depend on the clips that reach them, those that no earlier one dropped: "the best 30 %"
on their scores, and duplicates on one another. The number that a share came to is part
of the verdict.

Nothing vanishes: each clip is kept, or dropped by one rule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from ltx_jax.curation import duplicates, windows
from ltx_jax.curation.clip import Clip, Decision, Reason
from ltx_jax.curation.table import Table
from ltx_jax.errors import check_number


class Verdict(NamedTuple):
  """What a rule says of all clips.

  Attributes:
    filter: The rule, with its share as a number.
    drops: Whether it drops each clip that reaches it.
    alone: Whether it would drop each clip if it were the only rule.
    decision: Returns why it drops the clip at a place.
  """

  filter: Filter
  drops: Bool[np.ndarray, "n"]
  alone: Bool[np.ndarray, "n"]
  decision: Callable[[int], Decision]


@runtime_checkable
class Filter(Protocol):
  """A rule."""

  @property
  def name(self) -> str:
    """Name of the rule in decisions."""
    ...

  def verdict(
    self,
    table: Table,
    reached: Bool[np.ndarray, "n"],
    everyone: Bool[np.ndarray, "n"],
  ) -> Verdict:
    """Returns what it says of all clips.

    Args:
      table: The clips.
      reached: Those that no earlier rule dropped.
      everyone: Those that would reach it if it were the only rule.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Threshold:
  """Drops clips by one of their numbers; a clip without that number is kept.

  Attributes:
    name: Name of the rule.
    reason: Why a clip is dropped.
    measure: Name of a score, or one of `DERIVED`.
    least: Smallest value that is kept.
    most: Largest value that is kept.
    best: Share of the clips that is kept, those of the largest values and all that
      equal the last of them; it stands for `least`.
  """

  name: str
  reason: Reason
  measure: str
  least: float | None = None
  most: float | None = None
  best: float | None = None

  def __post_init__(self):
    if self.best is not None:
      check_number(f"best of the rule {self.name!r}", self.best, above=0, at_most=1)
    given = self.least is not None or self.most is not None
    if given == (self.best is not None):
      raise ValueError(
        f"The rule {self.name!r} has least {self.least}, most {self.most} and best "
        f"{self.best}; give least, most or both, or best alone."
      )

  def resolved(self, table: Table, reached: Bool[np.ndarray, "n"]) -> Threshold:
    """Returns the rule with the number that its share comes to for some clips.

    The share stays where no clip has the measure.
    """
    values = table.measure(self.measure)
    values = np.sort(values[reached & ~np.isnan(values)])
    if self.best is None or not len(values):
      return self
    least = float(values[-math.ceil(self.best * len(values))])
    return dataclasses.replace(self, least=least, best=None)

  def verdict(
    self,
    table: Table,
    reached: Bool[np.ndarray, "n"],
    everyone: Bool[np.ndarray, "n"],
  ) -> Verdict:
    """Returns what it says of all clips; its share is one of those that reach it."""
    rule, values = self.resolved(table, reached), table.measure(self.measure)
    low = values < (-np.inf if rule.least is None else rule.least)
    high = values > (np.inf if rule.most is None else rule.most)

    def decision(place: int) -> Decision:
      bound = rule.least if low[place] else rule.most
      return Decision(self.name, self.reason, float(values[place]), bound)

    return Verdict(rule, low | high, low | high, decision)


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Drops clips that show what another one shows (`duplicates`).

  Attributes:
    name: Name of the rule.
    numbers: Numbers of the comparison.
    measures: Measures of which the largest value is kept, the first ones before the
      others. More bits a pixel mean less compression, in files of one codec.
    cropping: What a cropped copy is.
  """

  name: str = "duplicates"
  numbers: duplicates.DuplicateRule = duplicates.RULE
  measures: tuple[str, ...] = ("pixels", "aesthetic", "bits", "seconds")
  cropping: windows.WindowRule = windows.RULE

  def verdict(
    self,
    table: Table,
    reached: Bool[np.ndarray, "n"],
    everyone: Bool[np.ndarray, "n"],
  ) -> Verdict:
    """Returns what it says of all clips; those without hashes stay."""
    crops = self._cropped(table)
    instead = self._instead(table, reached, crops)
    alone = self._instead(table, everyone, crops)

    def decision(place: int) -> Decision:
      return Decision(self.name, "duplicate", table.ids[instead[place]])

    return Verdict(self, instead >= 0, alone >= 0, decision)

  def _least(self, count: int) -> int:
    """Returns how many stills must be the same, of clips with so many."""
    return min(self.numbers.stills, count)

  def _cropped(self, table: Table) -> dict[int, duplicates.Pairs]:
    """Returns the cropped copies among clips with the same number of hashes."""
    found = {}
    for count in np.unique(table.hashed[table.hashed > 0]).tolist():
      seen = table.windows[:, :count]
      one, other = windows.cropped(seen, self._least(count), self.cropping)
      both = (table.hashed[one] == count) & (table.hashed[other] == count)
      found[count] = one[both], other[both]
    return found

  def _instead(
    self,
    table: Table,
    which: Bool[np.ndarray, "n"],
    crops: Mapping[int, duplicates.Pairs],
  ) -> Int[np.ndarray, "n"]:
    """Returns the place of the clip that is kept instead of each; -1 if none is.

    Args:
      table: The clips.
      which: Those that are compared.
      crops: Cropped copies among all, by the number of hashes.
    """
    instead = np.full(len(table.ids), -1)
    for count, pairs in crops.items():
      places = np.flatnonzero(which & (table.hashed == count))
      instead[places] = self._instead_among(table, places, count, pairs)
    return instead

  def _instead_among(
    self,
    table: Table,
    places: Int[np.ndarray, "m"],
    count: int,
    crops: duplicates.Pairs,
  ) -> Int[np.ndarray, "m"]:
    """Returns the same for clips with the same number of hashes."""
    numbers = self.numbers._replace(stills=self._least(count))
    pairs = _among(crops, places, len(table.ids))
    finer = None if table.details is None else table.details[places, :count]
    groups = duplicates.groups(
      table.hashes[places, :count], numbers, crops=pairs, finer=finer
    )
    kept = duplicates.chosen(
      groups,
      [np.nan_to_num(table.measure(name)[places]) for name in self.measures],
      [table.ids[place] for place in places],
    )
    best = np.full(len(places), -1)
    best[groups[kept]] = places[kept]
    return np.where(kept, -1, best[groups])


def _among(
  pairs: duplicates.Pairs, places: Int[np.ndarray, "m"], clips: int
) -> duplicates.Pairs:
  """Returns the pairs of clips that both lie at some places, counted from these."""
  where = np.full(clips, -1)
  where[places] = np.arange(len(places))
  one, other = (where[each] for each in pairs)
  both = (one >= 0) & (other >= 0)
  return one[both], other[both]


class Step(NamedTuple):
  """What a rule did.

  Attributes:
    rule: Its name.
    reached: Number of clips that reached it.
    dropped: Number of clips that it dropped.
    seconds: How long those last.
    alone: Number of clips that it would drop if it were the only rule.
  """

  rule: str
  reached: int
  dropped: int
  seconds: float
  alone: int


@dataclasses.dataclass(frozen=True)
class Selection:
  """Result of all rules.

  Attributes:
    table: All clips.
    steps: What each rule did. The first are those that decided before, while clips
      were measured.
    filters: The rules, with shares as numbers.
    dropped: Number of the step that dropped each clip; -1 if it is kept.
    decisions: Functions that say why, one for each step.
  """

  table: Table
  steps: Sequence[Step]
  filters: Sequence[Filter]
  dropped: Int[np.ndarray, "n"]
  decisions: Sequence[Callable[[int], Decision]]

  @property
  def kept(self) -> Int[np.ndarray, "k"]:
    """Places of the clips that no rule dropped."""
    return np.flatnonzero(self.dropped < 0)

  def decision(self, place: SupportsIndex) -> Decision | None:
    """Returns why the clip at a place is dropped; None if it is kept."""
    step = int(self.dropped[place])
    return None if step < 0 else self.decisions[step](int(place))

  def clip(self, place: SupportsIndex) -> Clip:
    """Returns the clip at a place with its decision."""
    clip = self.table.clips[int(place)]
    return dataclasses.replace(clip, decision=self.decision(place))

  def clips(self) -> Iterator[Clip]:
    """Yields all clips with their decisions."""
    return map(self.clip, range(len(self.dropped)))

  @property
  def off(self) -> dict[str, str]:
    """Why rules decide about no clip, by their names: none has what they look at."""
    return {
      each.name: f"off: no clip has the score {each.measure}"
      for each in self.filters
      if isinstance(each, Threshold)
      and np.isnan(self.table.measure(each.measure)).all()
    }


def select(table: Table, filters: Sequence[Filter]) -> Selection:
  """Applies filters in their order; what they decided on an earlier run is forgotten.

  Args:
    table: Measured clips. What other rules decided, while measuring, stays.
    filters: Rules of different names.

  Raises:
    ValueError: If two filters have the same name.
  """
  names = [each.name for each in filters]
  if len(set(names)) < len(names):
    raise ValueError(f"Rules share a name: {', '.join(names)}; rename one of them.")
  decided = {k: d for k, d in table.decided.items() if d.rule not in names}
  seconds = table.measure("seconds")
  dropped = np.full(len(table.ids), -1)
  steps, decisions, resolved = [], [], []
  for name in sorted({decision.rule for decision in decided.values()}):
    places = [place for place, decision in decided.items() if decision.rule == name]
    left, lasts = int((dropped < 0).sum()), float(np.nansum(seconds[places]))
    dropped[places] = len(steps)
    steps.append(Step(name, left, len(places), lasts, len(places)))
    decisions.append(decided.__getitem__)
  everyone = dropped < 0
  for each in filters:
    reached = dropped < 0
    verdict = each.verdict(table, reached, everyone)
    drops, alone = verdict.drops & reached, verdict.alone & everyone
    dropped[drops] = len(steps)
    counts = (int(which.sum()) for which in (reached, drops))
    steps.append(
      Step(each.name, *counts, float(np.nansum(seconds[drops])), int(alone.sum()))
    )
    decisions.append(verdict.decision)
    resolved.append(verdict.filter)
  return Selection(table, steps, resolved, dropped, decisions)


def funnel(selection: Selection) -> list[tuple[str, int, float]]:
  """Returns rows of what is left, clips and hours: found, after each rule, kept."""
  left = len(selection.dropped)
  seconds = float(np.nansum(selection.table.measure("seconds")))
  rows = [("found", left, seconds / 3600)]
  for step in selection.steps:
    left, seconds = left - step.dropped, seconds - step.seconds
    rows.append((step.rule, left, max(seconds, 0.0) / 3600))
  return rows
