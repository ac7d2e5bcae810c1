"""Which clips are kept: rules in an order, and a row for every clip they drop.

A rule looks at one clip's numbers and returns why it is dropped, or None. No video is
opened, so other thresholds cost seconds. Some rules depend on all clips: "the best
30 %" on their scores, and duplicates on one another. So a `Filter` makes its rule of
the clips that reach it, those that no earlier one dropped, and says the number that a
share came to.

Nothing vanishes: kept and dropped add up to what was found, or `select` raises.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ltx_jax.curation import duplicates
from ltx_jax.curation.clip import Clip, Decision, Reason
from ltx_jax.errors import check_number

Rule = Callable[[Clip], Decision | None]
"""Says why a clip is dropped; None keeps it."""

DIGITS = 4
"""Decimals to which values are rounded before they are compared: two runs of a network
may differ in the last bits."""

DERIVED: Mapping[str, Callable[[Clip], float]] = {
  "seconds": lambda clip: clip.seconds,
  "frames": lambda clip: clip.frames,
  "fps": lambda clip: clip.fps,
  "side": lambda clip: min(clip.size),
  "pixels": lambda clip: math.prod(clip.size),
}
"""Measures that every clip has; the others are among its scores."""

_OF_TIME = ("seconds", "frames", "fps")
"""Those that an image, a clip of one frame, does not have."""


@runtime_checkable
class Filter(Protocol):
  """A rule that is made of the clips that reach it."""

  @property
  def name(self) -> str:
    """Name of the rule in decisions."""
    ...

  def rule(self, clips: Sequence[Clip]) -> Rule:
    """Returns the rule for these clips."""
    ...


def measured(clip: Clip, measure: str) -> float | None:
  """Returns a measure of a clip, rounded; None if it has none, as images no motion."""
  if clip.frames == 1 and measure in _OF_TIME:
    return None
  derived = DERIVED.get(measure)
  value = derived(clip) if derived else clip.scores.get(measure)
  return None if value is None else round(value, DIGITS)


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

  def resolved(self, clips: Sequence[Clip]) -> Threshold:
    """Returns the rule with the number that its share comes to for these clips.

    A share of no values is no number: then the rule stays, and drops nothing.
    """
    values = [value for clip in clips if (value := self._value(clip)) is not None]
    if self.best is None or not values:
      return self
    values.sort(reverse=True)
    last = values[math.ceil(self.best * len(values)) - 1]
    return dataclasses.replace(self, least=last, best=None)

  def rule(self, clips: Sequence[Clip]) -> Rule:
    """Returns the rule for these clips."""
    return self.resolved(clips)._decide

  def _value(self, clip: Clip) -> float | None:
    return measured(clip, self.measure)

  def _decide(self, clip: Clip) -> Decision | None:
    value = self._value(clip)
    if value is None:
      return None
    for bound, beyond in ((self.least, -1), (self.most, 1)):
      if bound is not None and beyond * (value - bound) > 0:
        return Decision(self.name, self.reason, value, bound)
    return None


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Drops clips that show what another one shows (`duplicates`).

  Attributes:
    name: Name of the rule.
    numbers: Numbers of the comparison.
    measure: Measure whose largest value is kept among equal sizes.
  """

  name: str = "duplicates"
  numbers: duplicates.DuplicateRule = duplicates.RULE
  measure: str = "aesthetic"

  def rule(self, clips: Sequence[Clip]) -> Rule:
    """Returns the rule for these clips; those without hashes are kept."""
    hashed = [clip for clip in clips if clip.hashes]
    counts = sorted({len(clip.hashes) for clip in hashed})
    kept_instead: dict[str, str] = {}
    for count in counts:
      some = [clip for clip in hashed if len(clip.hashes) == count]
      kept_instead |= self._kept_instead(some, count)

    def decide(clip: Clip) -> Decision | None:
      other = kept_instead.get(clip.id)
      return other and Decision(self.name, "duplicate", other)

    return decide

  def _kept_instead(self, clips: Sequence[Clip], stills: int) -> dict[str, str]:
    """Returns, by the id of each clip that another is kept for, the id of that one."""
    codes = np.stack([duplicates.from_text(clip.hashes) for clip in clips])
    numbers = self.numbers._replace(stills=min(self.numbers.stills, stills))
    groups = duplicates.groups(codes, numbers)
    kept = duplicates.chosen(
      groups,
      np.array([math.prod(clip.size) for clip in clips]),
      np.array([measured(clip, self.measure) or 0.0 for clip in clips]),
      [clip.id for clip in clips],
    )
    best = {groups[k]: clips[k].id for k in np.flatnonzero(kept)}
    return {clips[k].id: best[groups[k]] for k in np.flatnonzero(~kept)}


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


class Selection(NamedTuple):
  """Result of all rules.

  Attributes:
    clips: All clips in their order, each with its decision.
    steps: What each rule did. The first are those that decided before, while clips
      were measured.
    filters: The filters with shares as numbers, where a clip has such a number.
  """

  clips: list[Clip]
  steps: list[Step]
  filters: list[Filter]

  @property
  def kept(self) -> list[Clip]:
    """The clips that no rule dropped."""
    return [clip for clip in self.clips if clip.decision is None]

  @property
  def off(self) -> dict[str, str]:
    """Why rules decide about no clip, by their names: none has what they look at."""
    found = {}
    for each in self.filters:
      if isinstance(each, Threshold) and not any(
        measured(clip, each.measure) is not None for clip in self.clips
      ):
        found[each.name] = f"off: no clip has the score {each.measure}"
    return found


def select(clips: Iterable[Clip], filters: Sequence[Filter]) -> Selection:
  """Applies filters in their order; what they decided on an earlier run is forgotten.

  Args:
    clips: Measured clips. What other rules decided, while measuring, stays.
    filters: Rules of different names.

  Raises:
    ValueError: If two filters have the same name.
  """
  names = [each.name for each in filters]
  if len(set(names)) < len(names):
    raise ValueError(f"Rules share a name: {', '.join(names)}; rename one of them.")
  found = [_forgotten(clip, names) for clip in clips]
  steps = _earlier(found)
  resolved = []
  measured_ones = [clip for clip in found if clip.decision is None]
  for each in filters:
    reached = [clip for clip in found if clip.decision is None]
    each = each.resolved(reached) if isinstance(each, Threshold) else each
    rule, before = each.rule(reached), len(reached)
    found = [clip if clip.decision else _decided(clip, rule) for clip in found]
    dropped = [c for c in found if c.decision and c.decision.rule == each.name]
    # Once for all clips: rules such as duplicates compare each with every other.
    only = each.rule(measured_ones)
    alone = sum(only(clip) is not None for clip in measured_ones)
    lasts = sum(clip.seconds for clip in dropped)
    steps.append(Step(each.name, before, len(dropped), lasts, alone))
    resolved.append(each)
  selection = Selection(found, steps, resolved)
  if len(selection.kept) + sum(step.dropped for step in steps) != len(found):
    raise ValueError(
      f"{len(selection.kept)} clips are kept of {len(found)}, but the rules dropped "
      f"{[step.dropped for step in steps]}; a rule gave another name than its own."
    )
  return selection


def _forgotten(clip: Clip, names: Sequence[str]) -> Clip:
  decided = clip.decision is not None and clip.decision.rule in names
  return dataclasses.replace(clip, decision=None) if decided else clip


def _decided(clip: Clip, rule: Rule) -> Clip:
  decision = rule(clip)
  return clip if decision is None else dataclasses.replace(clip, decision=decision)


def _earlier(clips: Sequence[Clip]) -> list[Step]:
  """Returns what was decided before, by rule, in the order of their names."""
  dropped: dict[str, list[float]] = {}
  for clip in clips:
    if clip.decision is not None:
      dropped.setdefault(clip.decision.rule, []).append(clip.seconds)
  left, steps = len(clips), []
  for name in sorted(dropped):
    count = len(dropped[name])
    steps.append(Step(name, left, count, sum(dropped[name]), count))
    left -= count
  return steps


def funnel(selection: Selection) -> list[tuple[str, int, float]]:
  """Returns rows of what is left, clips and hours: found, after each rule, kept."""
  left = len(selection.clips)
  seconds = sum(clip.seconds for clip in selection.clips)
  rows = [("found", left, seconds / 3600)]
  for step in selection.steps:
    left, seconds = left - step.dropped, seconds - step.seconds
    rows.append((step.rule, left, max(seconds, 0.0) / 3600))
  return rows
