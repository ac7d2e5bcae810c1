"""Who is to compare what, and which votes are accepted: the server without its network.

A rater has one open trial, which stays the same whatever is reloaded or restarted, on
any device. While it is open nobody else gets it, for ten minutes. A vote says which
clips it was given for, so that it is never counted for others.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ltx_jax.errors import shown as shown_value
from train.evaluate.study.design import SCHEMA, Study
from train.evaluate.study.trials import Deck, Shelf, Trial

CHOICES = ("left", "right", "tie", "broken")
LEASE = 600.0
"""Seconds for which an open trial is not given to others."""
SOONEST = 1.5
"""Seconds before which nobody can have looked at two clips."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SCREEN = re.compile(r"[0-9]{1,5}x[0-9]{1,5}", re.ASCII)

Row = dict[str, Any]


class Refused(Exception):
  """A vote that is not taken; the message is shown on the page."""

  def __init__(self, status: HTTPStatus, words: str):
    super().__init__(words)
    self.status = status


@dataclasses.dataclass
class _Person:
  """One rater's trials and answers."""

  deck: Deck
  shown: list[Trial] = dataclasses.field(default_factory=list)
  times: list[float] = dataclasses.field(default_factory=list)
  answers: list[Row] = dataclasses.field(default_factory=list)
  seen: float = -math.inf

  @property
  def open(self) -> Trial | None:
    """The trial that has no answer."""
    return self.shown[-1] if len(self.shown) > len(self.answers) else None


class Ballots:
  """The state of a study; all of it follows from two files."""

  def __init__(self, study: Study, raters: Iterable[str]):
    """Begins without votes.

    Args:
      study: The study.
      raters: Identities of the raters.
    """
    self.study, self.shelf = study, Shelf(study)
    self._people = {rater: _Person(Deck(study, rater)) for rater in raters}
    self._votes: dict[str, str] = {}
    self._counts: collections.Counter = collections.Counter()

  def restore(self, shown: Iterable[Row], votes: Iterable[Row]) -> None:
    """Takes in what the files hold.

    Raises:
      ValueError: If a line is no vote, or by a rater that raters.json does not have.
    """
    for row in votes:
      if not self._is_whole(row, "vote", "choice", "replaces"):
        raise ValueError(
          f"The file of votes holds {shown_value(row)}, which is no vote of this "
          "study; restore the file."
        )
      person = self._people.get(row["rater"])
      if person is None:
        raise ValueError(
          f"A vote is by {row['rater']}, whom raters.json does not have; restore that "
          "file. A rater who shall not vote any more has the state closed."
        )
      trial = _trial_of(row)
      if not row["replaces"]:
        person.shown.append(trial)
        person.times.append(row["shown"])
      self._count(row, trial)
    for row in shown:
      person = self._people.get(row.get("rater"))
      follows = person is not None and row.get("trial") == len(person.shown)
      if follows and self._is_whole(row):
        person.shown.append(_trial_of(row))
        person.times.append(row["shown"])
        person.seen = row["shown"]

  def open(self, rater: str, now: float) -> Row | None:
    """Opens a trial if none is open; returns what is to be noted of a new one."""
    person = self._people[rater]
    person.seen = now
    if person.open is not None:
      return None
    leased = {
      other.open.subject
      for name, other in self._people.items()
      if name != rater and other.open and other.seen > now - LEASE
    }

    def needs(subject: tuple[str, str, str]) -> bool:
      votes = self._counts[subject]
      return votes + (subject in leased) < self.study.rules.votes_per_pair

    trial = person.deck.next(person.shown, needs)
    if trial is None:
      return None
    person.shown.append(trial)
    person.times.append(now)
    return {"rater": rater, **_row_of(trial), "shown": now}

  def state(self, rater: str) -> Row:
    """Returns all that the page may know: no model, no item, no kind of trial."""
    person = self._people[rater]
    done = len(person.answers)
    waits = person.open is None and done < len(person.deck.kinds) and self._unfinished()
    last = None
    if person.answers:
      last = {**self._faces(person.shown[done - 1]), "vote": person.answers[-1]["vote"]}
    return {
      "done": done,
      "count": done if person.open is None and not waits else len(person.deck.kinds),
      "open": None if person.open is None else self._faces(person.open),
      "last": last,
      "waits": waits,
    }

  def media(self, rater: str) -> set[str]:
    """Returns the files that a rater's page may ask for."""
    person = self._people[rater]
    trials = person.shown[max(0, len(person.answers) - 1) :]
    names = {f"{name}.mp4" for trial in trials for name in self.shelf.media(trial)}
    images = (self.shelf.items[trial.item].image for trial in trials)
    return names | {f"{image.media}.jpg" for image in images if image}

  def check(self, rater: str, ballot: Any, now: float) -> Row | None:
    """Returns the line of a vote; None if the same vote is there already.

    Raises:
      Refused: If it is no vote, comes too soon, or its trial has another answer.
    """
    ballot = _checked(ballot)
    known = self._votes.get(ballot["vote"])
    if known == rater:
      return None
    person = self._people[rater]
    replaces = ballot["replaces"]
    number = len(person.answers) - 1 if replaces else len(person.answers)
    last = person.answers[-1]["vote"] if person.answers else None
    if (
      known is not None
      or ballot["trial"] != number
      or number >= len(person.shown)
      or (replaces and replaces != last)
    ):
      raise Refused(HTTPStatus.CONFLICT, "This pair has an answer already.")
    trial, shown = person.shown[number], person.times[number]
    if (ballot["left"], ballot["right"]) != self.shelf.media(trial):
      raise Refused(HTTPStatus.CONFLICT, "This is another pair now.")
    if now - shown < SOONEST and ballot["choice"] != "broken":
      raise Refused(HTTPStatus.TOO_EARLY, "Look at both clips first.")
    return {
      "schema": SCHEMA,
      "vote": ballot["vote"],
      "study": self.study.sha256,
      "rater": rater,
      **_row_of(trial),
      "choice": ballot["choice"],
      "shown": round(shown, 3),
      "answered": round(now, 3),
      "plays": ballot["plays"],
      "seconds": ballot["seconds"],
      "screen": ballot["screen"],
      "replaces": replaces,
    }

  def apply(self, row: Row) -> None:
    """Counts a vote that is on disk."""
    self._count(row, _trial_of(row))

  def _count(self, row: Row, trial: Trial) -> None:
    person = self._people[row["rater"]]
    self._votes[row["vote"]] = row["rater"]
    if row["replaces"]:
      old = person.answers.pop()
      self._counts[trial.subject] -= _settles(old)
    person.answers.append(row)
    self._counts[trial.subject] += _settles(row)

  def _is_whole(self, row: Row, *also: str) -> bool:
    """Whether a line has all that a trial of this study has, and more fields."""
    names = {"rater", "trial", "kind", "item", "left", "right", "good", "shown", *also}
    if not names <= set(row) or row["item"] not in self.shelf.items:
      return False
    return {row["left"], row["right"]} <= set(self.study.models)

  def _unfinished(self) -> bool:
    """Whether pairs lack votes, such as those that are open elsewhere."""
    subjects = len(self.study.items) * len(self.study.pairs)
    full = sum(n >= self.study.rules.votes_per_pair for n in self._counts.values())
    return full < subjects and any(p.open for p in self._people.values())

  def _faces(self, trial: Trial) -> Row:
    item = self.shelf.items[trial.item]
    left, right = self.shelf.media(trial)
    image = f"{item.image.media}.jpg" if item.image else None
    face = {"trial": trial.number, "left": left, "right": right}
    return face | {"prompt": item.prompt, "image": image}


def effective(votes: Sequence[Row]) -> list[Row]:
  """Returns the votes that count: those that no later one replaces."""
  replaced = {row["replaces"] for row in votes if row["replaces"]}
  return [row for row in votes if row["vote"] not in replaced]


def _settles(row: Mapping[str, Any]) -> bool:
  """Whether a vote is one of those that its pair needs."""
  return row["kind"] == "pair" and row["choice"] != "broken"


def _row_of(trial: Trial) -> Row:
  row = dataclasses.asdict(trial)
  return {"trial": row.pop("number"), **row}


def _trial_of(row: Mapping[str, Any]) -> Trial:
  names = (field.name for field in dataclasses.fields(Trial) if field.name != "number")
  return Trial(number=row["trial"], **{name: row[name] for name in names})


def _checked(ballot: Any) -> Row:
  """Returns a vote's fields, all of them what they should be."""
  row = ballot if isinstance(ballot, dict) else {}

  def text(name: str, pattern: re.Pattern) -> bool:
    value = row.get(name)
    return isinstance(value, str) and bool(pattern.fullmatch(value))

  good = text("vote", _UUID) and text("screen", _SCREEN)
  good &= row.get("replaces") is None or text("replaces", _UUID)
  good &= row.get("choice") in CHOICES
  good &= all(isinstance(row.get(side), str) for side in ("left", "right"))
  for name, most in (("trial", 10**6), ("plays", 10**6)):
    good &= type(row.get(name)) is int and 0 <= row[name] <= most
  seconds = row.get("seconds")
  good &= type(seconds) in (int, float) and 0 <= seconds <= 10**9
  if not good:
    raise Refused(HTTPStatus.BAD_REQUEST, "This is no vote.")
  names = "vote", "trial", "left", "right", "choice", "plays", "screen"
  kept = {name: row[name] for name in names}
  return kept | {"seconds": round(seconds, 3), "replaces": row.get("replaces")}
