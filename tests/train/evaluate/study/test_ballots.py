"""Which pair is whose, and which votes count: one a trial, whatever is sent again."""

import collections
import json
import uuid
from http import HTTPStatus

import pytest

from tests.train.evaluate.study.cases import study
from train.evaluate.study.ballots import Ballots, Refused, effective
from train.evaluate.study.design import Rules


class Desk:
  """Ballots with a clock, and what was written."""

  def __init__(self, made=None, raters=("a", "b", "c"), shown=(), votes=()):
    self.study, self.raters = made or study(), raters
    self.ballots = Ballots(self.study, raters)
    self.ballots.restore(shown, votes)
    self.now, self.shown, self.votes = 1000.0, [*shown], [*votes]

  def open(self, rater):
    if row := self.ballots.open(rater, self.now):
      self.shown.append(row)
    return self.ballots.state(rater)

  def vote(self, rater, choice="left", **changes):
    face = self.open(rater)["open"]
    self.now += 5
    return self.send(rater, ballot(face, choice, **changes))

  def send(self, rater, row):
    if line := self.ballots.check(rater, row, self.now):
      self.ballots.apply(line)
      self.votes.append(line)
    return line

  def again(self):
    """Starts another server from what was written."""
    rows = json.loads(json.dumps([self.shown, self.votes]))
    desk = Desk(self.study, self.raters, *rows)
    desk.now = self.now
    return desk


def ballot(face, choice="left", **changes):
  kept = {name: face[name] for name in ("trial", "left", "right")}
  kept |= {"vote": str(uuid.uuid4()), "choice": choice, "plays": 1, "seconds": 5.0}
  return kept | {"screen": "390x844", "replaces": None} | changes


def test_a_page_learns_no_model_no_item_and_no_kind():
  desk = Desk()
  while (state := desk.open("a"))["open"]:
    said = json.dumps(state)
    assert "secret" not in said and "item" not in said and "damaged" not in said
    assert set(state["open"]) == {"trial", "left", "right", "prompt", "image"}
    desk.vote("a")
  assert desk.open("a")["done"] == desk.study.rules.trials


def test_a_trial_stays_open_through_reloads_and_restarts():
  desk = Desk()
  for _ in range(5):
    desk.vote("a")
    desk.open("b")
    before = desk.open("a")
    assert desk.open("a") == before
    assert desk.again().open("a") == before


def test_the_same_vote_twice_is_one():
  desk = Desk()
  row = ballot(desk.open("a")["open"])
  desk.now += 5
  assert desk.send("a", row) is not None
  assert desk.send("a", row) is None
  assert desk.again().send("a", row) is None
  assert len(desk.votes) == 1


def test_another_vote_for_an_answered_trial_is_refused():
  desk = Desk()
  face = desk.open("a")["open"]
  desk.vote("a")
  for row in (ballot(face), ballot(face, trial=1), ballot(face, trial=7)):
    with pytest.raises(Refused) as refused:
      desk.send("a", row)
    assert refused.value.status == HTTPStatus.CONFLICT
  assert len(desk.votes) == 1


def test_a_vote_counts_only_for_the_clips_that_were_seen():
  desk = Desk()
  face = desk.open("a")["open"]
  desk.now += 5
  with pytest.raises(Refused, match="another pair"):
    desk.send("a", ballot(face, left=face["right"], right=face["left"]))


def test_nobody_votes_with_the_name_of_anothers_vote():
  desk = Desk()
  first = desk.vote("a")
  with pytest.raises(Refused):
    desk.vote("b", vote=first["vote"])


def test_a_vote_before_anybody_could_have_looked_is_refused():
  desk = Desk()
  face = desk.open("a")["open"]
  desk.now += 1.4
  with pytest.raises(Refused, match="Look at both"):
    desk.send("a", ballot(face))
  assert desk.send("a", ballot(face, "broken"))


@pytest.mark.parametrize(
  "change",
  [
    {"vote": "1"},
    {"vote": None},
    {"choice": "upper"},
    {"choice": ["left"]},
    {"trial": "0"},
    {"trial": True},
    {"trial": -1},
    {"left": 3},
    {"plays": 1.5},
    {"seconds": float("nan")},
    {"seconds": float("inf")},
    {"screen": "<b>"},
    {"screen": "390x844\n"},
    {"replaces": "last"},
  ],
)
def test_what_is_no_vote_is_refused(change):
  desk = Desk()
  face = desk.open("a")["open"]
  desk.now += 5
  with pytest.raises(Refused) as refused:
    desk.send("a", ballot(face) | change)
  assert refused.value.status == HTTPStatus.BAD_REQUEST
  for other in (None, [], "vote", 3):
    with pytest.raises(Refused, match="no vote"):
      desk.send("a", other)


def test_the_last_vote_can_be_replaced_and_no_other():
  desk = Desk()
  desk.vote("a")
  second = desk.vote("a", "left")
  state = desk.open("a")
  assert state["last"]["vote"] == second["vote"] and state["done"] == 2
  new = desk.send("a", ballot(state["last"], "right", replaces=second["vote"]))
  assert new["trial"] == 1 and desk.open("a")["open"] == state["open"]
  assert [row["choice"] for row in effective(desk.votes)] == ["left", "right"]
  again = desk.again()
  assert again.open("a")["last"]["vote"] == new["vote"]
  with pytest.raises(Refused):
    desk.send("a", ballot(state["last"], "tie", replaces=second["vote"]))


def test_a_replacement_by_broken_asks_for_another_vote():
  rules = Rules(votes_per_pair=1, comparisons=1, damaged=0, repeats=0, same=0)
  desk = Desk(study(2, 1, damaged=0, rules=rules))
  first = desk.vote("a", "left")
  assert desk.open("b")["open"] is None
  last = desk.open("a")["last"]
  desk.send("a", ballot(last, "broken", replaces=first["vote"]))
  assert desk.open("b")["open"]


def test_an_open_trial_is_nobody_elses_for_ten_minutes():
  rules = Rules(votes_per_pair=1, comparisons=1, damaged=0, repeats=0, same=0)
  desk = Desk(study(2, 1, damaged=0, rules=rules))
  face = desk.open("a")["open"]
  state = desk.open("b")
  assert state["open"] is None and state["waits"]
  desk.now += 601
  assert desk.open("b")["open"]["prompt"] == face["prompt"]
  desk.vote("b")
  # Who comes back late is not sent away: the vote counts as well.
  assert desk.send("a", ballot(face))["rater"] == "a"
  assert desk.open("c") == {
    "done": 0,
    "count": 0,
    "open": None,
    "last": None,
    "waits": False,
  }


def test_every_pair_of_clips_gets_its_votes_by_different_raters():
  raters = [f"r{k}" for k in range(5)]
  rules = Rules(votes_per_pair=2, comparisons=15, damaged=1, repeats=1, same=1)
  desk = Desk(study(3, 12, rules=rules), raters)
  while any(desk.open(rater)["open"] for rater in raters):
    for rater in raters:
      if desk.open(rater)["open"]:
        desk.vote(rater)
  pairs = [row for row in desk.votes if row["kind"] == "pair"]
  by = collections.defaultdict(list)
  for row in pairs:
    by[row["item"], *sorted((row["left"], row["right"]))].append(row["rater"])
  assert len(by) == 36
  assert all(len(who) == len(set(who)) == 2 for who in by.values())


def test_only_clips_of_the_open_and_the_last_trial_are_given_out():
  desk = Desk()
  assert desk.ballots.media("a") == set()
  first = desk.open("a")["open"]
  assert desk.ballots.media("a") == {f"{first[s]}.mp4" for s in ("left", "right")}
  for _ in range(4):
    desk.vote("a")
  state = desk.open("a")
  faces = state["open"], state["last"]
  allowed = {f"{face[side]}.mp4" for face in faces for side in ("left", "right")}
  assert desk.ballots.media("a") == allowed


def test_a_vote_by_an_unknown_rater_is_named():
  desk = Desk()
  desk.vote("a")
  with pytest.raises(ValueError, match="by a, whom raters.json does not have"):
    Desk(desk.study, ("b",), votes=desk.votes)


def test_what_the_file_of_shown_trials_lost_is_asked_anew():
  desk = Desk()
  desk.vote("a")
  face = desk.open("a")["open"]
  desk.shown.pop()
  again = desk.again()
  assert again.open("a")["open"] == face
