"""From votes to numbers that statistics take, and what is known of each rater.

Checks never count as votes. They say who looked: a rater is flagged by rules that were
fixed before the first vote, and nobody is dropped, since results are given with flagged
raters and without.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltx_jax.metrics.win_rates import Votes
from train.evaluate.study import design, ledger
from train.evaluate.study.ballots import CHOICES, Row, effective
from train.evaluate.study.design import Study

_FIELDS = {
  **dict.fromkeys(("vote", "rater", "item", "left", "right", "choice", "kind"), str),
  **dict.fromkeys(("trial", "plays"), int),
  **dict.fromkeys(("shown", "answered"), (int, float)),
}


class Cast(NamedTuple):
  """All answers of a study.

  Attributes:
    study: The study.
    rows: Answers that count, checks among them, in the order in which they came.
    taken_back: Number of answers that a later one replaces.
    head: Hash of the last line.
    fault: What is wrong with the first broken line; "" if nothing is.
  """

  study: Study
  rows: list[Row]
  taken_back: int
  head: str
  fault: str


class Person(NamedTuple):
  """What is known of a rater.

  Attributes:
    answers: Number of answers, checks among them.
    left: Share of decisive votes for the left clip; NaN without one.
    ties: Share of votes on pairs that call both equal; NaN without votes.
    seconds: Median time of an answer.
    wrong: Number of wrong answers to checks against damaged copies.
    checks: Number of those checks.
    same: Number of repeated pairs with the same answer.
    repeats: Number of repeated pairs.
    flags: Why the rater is flagged.
  """

  answers: int
  left: float
  ties: float
  seconds: float
  wrong: int
  checks: int
  same: int
  repeats: int
  flags: list[str]


def read(folder: Path, head: str | None = None, as_is: bool = False) -> Cast:
  """Reads the votes of a study.

  Args:
    folder: Folder of the study.
    head: Hash that its owner kept of the last line; None if none was kept.
    as_is: Whether votes of a broken file are read all the same.

  Raises:
    ValueError: If the file is broken, or does not end with that hash.
  """
  study = design.read(folder)
  path = folder / design.VOTES
  chain = ledger.read(path, study.sha256)
  fault = chain.fault
  if head and chain.head != head.lower():
    fault = fault or f"it ends with the hash {chain.head[:12]}, not {head[:12]}"
  items = {item.id for item in study.items}
  rows = [row for row in chain.rows if _is_vote(row, items, set(study.models))]
  if len(rows) < len(chain.rows):
    fault = fault or f"{len(chain.rows) - len(rows)} lines are no votes of this study"
  if fault and not as_is:
    raise ValueError(
      f"{path} was changed: {fault}. Restore the file, or show what it says with "
      "--as-is."
    )
  kept = effective(rows)
  return Cast(study, kept, len(rows) - len(kept), chain.head, fault)


def _is_vote(row: Row, items: set[str], models: set[str]) -> bool:
  good = all(isinstance(row.get(name), kind) for name, kind in _FIELDS.items())
  good = good and row["choice"] in CHOICES and row["item"] in items
  return good and {row["left"], row["right"]} <= models


def pairs(rows: Sequence[Row]) -> list[Row]:
  """Returns the votes that count: on pairs of models, of clips that play."""
  return [row for row in rows if row["kind"] == "pair" and row["choice"] != "broken"]


def votes(study: Study, rows: Sequence[Row]) -> Votes:
  """Returns votes as statistics take them; the left model is the first."""
  number = {model: k for k, model in enumerate(study.models)}
  return Votes(
    prompt=np.array([row["item"] for row in rows]),
    rater=np.array([row["rater"] for row in rows]),
    a=np.array([number[row["left"]] for row in rows], np.int64),
    b=np.array([number[row["right"]] for row in rows], np.int64),
    outcome=np.array([_OUTCOMES[row["choice"]] for row in rows], np.float64),
    models=len(number),
  )


_OUTCOMES = {"left": 1.0, "right": 0.0, "tie": 0.5}


def people(study: Study, rows: Sequence[Row]) -> dict[str, Person]:
  """Returns what is known of each rater who has answered, by name."""
  of: dict[str, list[Row]] = collections.defaultdict(list)
  for row in rows:
    of[row["rater"]].append(row)
  return {rater: _person(study, of[rater]) for rater in sorted(of)}


def _person(study: Study, rows: list[Row]) -> Person:
  rules, cast = study.rules, pairs(rows)
  choices = collections.Counter(row["choice"] for row in cast)
  decisive = choices["left"] + choices["right"]
  seconds = np.array([row["answered"] - row["shown"] for row in rows])
  checks = [row for row in rows if row["kind"] == "damaged"]
  checks = [row for row in checks if row["choice"] != "broken"]
  wrong = sum(row["choice"] != row.get("good") for row in checks)
  repeated = _repeated(rows)
  quick = float(np.mean(seconds < rules.quick))
  flags = []
  if checks and wrong > rules.most_wrong * len(checks):
    flags.append(f"{wrong} of {len(checks)} checks wrong")
  if quick > rules.most_quick:
    flags.append(f"{quick:.0%} of answers within {rules.quick:g} seconds")
  if decisive and side_p(choices["left"], decisive) < rules.least_side_p:
    flags.append(f"the left clip in {choices['left']} of {decisive} decisive votes")
  return Person(
    answers=len(rows),
    left=choices["left"] / decisive if decisive else math.nan,
    ties=choices["tie"] / len(cast) if cast else math.nan,
    seconds=float(np.median(seconds)),
    wrong=wrong,
    checks=len(checks),
    same=sum(repeated),
    repeats=len(repeated),
    flags=flags,
  )


def _repeated(rows: Sequence[Row]) -> list[bool]:
  """Says of each repeated pair whether it got the same answer."""
  first = {_subject(row): row for row in rows if row["kind"] == "pair"}
  found = []
  for row in rows:
    earlier = first.get(_subject(row))
    if row["kind"] == "repeat" and earlier is not None:
      found.append(_winner(row) == _winner(earlier))
  return found


def _subject(row: Row) -> tuple[str, ...]:
  return row["item"], *sorted((row["left"], row["right"]))


def _winner(row: Row) -> str:
  """Returns the model that won, or how the vote ended else."""
  return row[row["choice"]] if row["choice"] in ("left", "right") else row["choice"]


def side_p(left: int, count: int) -> float:
  """Returns the probability of a share as far from half if sides are equal."""
  less = min(left, count - left)
  tail = sum(math.comb(count, k) for k in range(less + 1)) / 2**count
  return min(1.0, 2 * tail)


def shares_of_checks(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
  """Returns how many checks were answered right, and how many there are."""
  same = [row["choice"] == "tie" for row in rows if row["kind"] == "same"]
  damaged = [row for row in rows if row["kind"] == "damaged"]
  good = [r["choice"] == r.get("good") for r in damaged if r["choice"] != "broken"]
  by = collections.defaultdict(list)
  for row in rows:
    by[row["rater"]].append(row)
  again = [same for of in by.values() for same in _repeated(of)]
  found = {
    "the damaged copy is worse": good,
    "a pair again, sides swapped: the same answer": again,
    "a clip and itself: about the same": same,
  }
  return {name: (sum(each), len(each)) for name, each in found.items()}
