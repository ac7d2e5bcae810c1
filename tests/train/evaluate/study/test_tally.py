"""Who is flagged, what checks say, and what a changed file is answered with."""

import json

import pytest

from tests.train.evaluate.study import folder_case
from tests.train.evaluate.study.cases import study
from tests.train.evaluate.study.simulated import Crowd, World, votes_of
from train.evaluate.study import design, tally
from train.evaluate.study.design import Rules
from train.evaluate.study.ledger import Ledger

RULES = Rules(votes_per_pair=40, comparisons=132, damaged=9, repeats=5, same=4)
WORLD = World((0.5, 0.0, -0.5))


def crowded(seed, count, habit=None):
  """Returns a study with raters of one habit, and what is known of them."""
  made = study(3, 60, seed=seed, damaged=20, rules=RULES)
  raters = [f"r{k}" for k in range(count)]
  crowd = Crowd(made, raters, WORLD, seed, dict.fromkeys(raters, habit))
  rows = votes_of(made, raters, crowd)
  return tally.people(made, rows), rows


@pytest.mark.parametrize(
  ("habit", "least", "most"), [("left", 0.95, 1), ("random", 0.95, 1), (None, 0, 0.05)]
)
def test_careless_raters_are_flagged_and_careful_ones_are_not(habit, least, most):
  flagged = [
    bool(person.flags)
    for seed in range(4)
    for person in crowded(seed, 25, habit)[0].values()
  ]
  assert least <= sum(flagged) / len(flagged) <= most


def test_habits_are_named():
  known, rows = crowded(1, 3, "left")
  for person in known.values():
    assert person.left == 1 and person.answers == 150 and person.checks == 9
    assert any("the left clip in 132 of 132" in flag for flag in person.flags)
    assert person.same == 0 and person.repeats == 5
  checks = tally.shares_of_checks(rows)
  assert checks["a clip and itself: about the same"] == (0, 12)
  assert checks["a pair again, sides swapped: the same answer"] == (0, 15)
  assert checks["the damaged copy is worse"][1] == 27


def test_quick_answers_are_flagged():
  made = study(rules=RULES)
  rows = votes_of(made, ["a"], Crowd(made, ["a"], WORLD, 1))
  quick = [row | {"answered": row["shown"] + 2} for row in rows]
  assert "within 3 seconds" in " ".join(tally.people(made, quick)["a"].flags)


@pytest.mark.parametrize(
  ("left", "count", "p"),
  [(5, 10, 1.0), (0, 10, 2 / 1024), (10, 10, 2 / 1024), (1, 1, 1)],
)
def test_the_probability_of_a_share_of_sides(left, count, p):
  assert tally.side_p(left, count) == pytest.approx(p)


def kept(folder):
  """Writes a study with votes; returns it and the hash of the last one."""
  made, _ = folder_case.written(folder)
  rows = votes_of(made, ["r001"], Crowd(made, ["r001"], WORLD, 1))
  book = Ledger(folder / design.VOTES, made.sha256)
  for row in rows:
    book.append(row).result(timeout=10)
  book.close()
  return made, rows, book.head


def test_votes_are_read_as_they_were_cast(tmp_path):
  made, rows, head = kept(tmp_path / "study")
  cast = tally.read(tmp_path / "study", head)
  assert (cast.study, cast.rows, cast.fault) == (made, rows, "")


def test_a_changed_file_is_refused_and_shown_as_it_is(tmp_path):
  folder = tmp_path / "study"
  _, rows, head = kept(folder)
  path = folder / design.VOTES
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:3] + lines[4:]))
  with pytest.raises(ValueError, match=r"line 4 does not follow.*--as-is"):
    tally.read(folder)
  cast = tally.read(folder, as_is=True)
  assert len(cast.rows) == len(rows) - 1 and "line 4" in cast.fault
  path.write_bytes(b"".join(lines[:-1]))
  assert tally.read(folder).fault == ""
  with pytest.raises(ValueError, match="it ends with the hash"):
    tally.read(folder, head)
  path.write_bytes(b"".join(lines) + json.dumps({"prev": head}).encode() + b"\n")
  with pytest.raises(ValueError, match="was changed"):
    tally.read(folder)
