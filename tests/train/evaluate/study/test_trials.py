"""What raters see: every pair equally often, sides balanced, checks in between."""

import collections

import pytest

from tests.train.evaluate.study.cases import study
from train.evaluate.study.design import Rules
from train.evaluate.study.trials import Deck, Shelf

RULES = Rules(votes_per_pair=1, comparisons=60, damaged=6, repeats=3, same=3)


def dealt(deck, needs=lambda subject: True):
  before = []
  while (trial := deck.next(before, needs)) is not None:
    assert trial.number == len(before)
    before.append(trial)
  return before


def test_a_rater_meets_every_pair_equally_often_and_no_clips_twice():
  trials = dealt(Deck(study(4, 30, damaged=10, rules=RULES), "r001"))
  pairs = [trial for trial in trials if trial.kind == "pair"]
  met = collections.Counter(trial.subject[1:] for trial in pairs)
  assert set(met.values()) == {10} and len(met) == 6
  assert len({trial.subject for trial in pairs}) == len(pairs) == 60


def test_each_model_of_a_pair_is_on_the_left_half_of_the_time():
  trials = dealt(Deck(study(4, 30, damaged=10, rules=RULES), "a"))
  pairs = [trial for trial in trials if trial.kind == "pair"]
  left = collections.Counter((trial.left, trial.right) for trial in pairs)
  assert set(left.values()) == {5} and len(left) == 12


def test_even_after_an_odd_number_sides_differ_by_one():
  trials = dealt(Deck(study(4, 30, rules=RULES), "b"))
  for count in range(1, len(trials)):
    left = collections.Counter(
      (t.left, t.right) for t in trials[:count] if t.kind == "pair"
    )
    assert all(abs(left[a, b] - left[b, a]) <= 1 for a, b in left)


def test_raters_see_items_in_orders_of_their_own():
  made = study(2, 40, rules=RULES)
  first = [
    [t.item for t in dealt(Deck(made, rater)) if t.kind == "pair"][:10]
    for rater in ("a", "b", "a")
  ]
  assert first[0] == first[2] != first[1]
  other = dealt(Deck(study(2, 40, seed=2, rules=RULES), "a"))
  assert [t.item for t in other if t.kind == "pair"][:10] != first[0]


def test_all_sides_of_all_raters_are_balanced():
  made = study(2, 80, rules=RULES)
  firsts = [dealt(Deck(made, f"r{k}"))[0] for k in range(200)]
  left = sum(t.left == "secret0" for t in firsts if t.kind == "pair")
  count = sum(t.kind == "pair" for t in firsts)
  assert 0.38 < left / count < 0.62


@pytest.mark.parametrize("rater", [f"r{k}" for k in range(20)])
def test_checks_are_spread_and_repeats_swap_sides(rater):
  trials = dealt(Deck(study(3, 40, damaged=10, rules=RULES), rater))
  kinds = collections.Counter(trial.kind for trial in trials)
  assert kinds == {"pair": 60, "damaged": 6, "repeat": 3, "same": 3}
  half = sum(trial.kind != "pair" for trial in trials[:36])
  assert 5 <= half <= 7
  good = collections.Counter(t.good for t in trials if t.kind == "damaged")
  assert good == {"left": 3, "right": 3}
  for k, trial in enumerate(trials):
    if trial.kind == "repeat":
      earlier = [t for t in trials[:k] if t.subject == trial.subject]
      assert [(t.left, t.right) for t in earlier] == [(trial.right, trial.left)]


def test_what_needs_no_more_votes_is_not_shown():
  made = study(3, 12)
  left = {("item3", "secret0", "secret1"), ("item4", "secret1", "secret2")}
  pairs = [t for t in dealt(Deck(made, "a"), left.__contains__) if t.kind == "pair"]
  assert {trial.subject for trial in pairs} == left


def test_a_damaged_copy_stands_opposite_the_clip_itself():
  made = study(3, 40, damaged=10, rules=RULES)
  shelf = Shelf(made)
  for trial in dealt(Deck(made, "a")):
    left, right = shelf.media(trial)
    clips = shelf.items[trial.item].clips
    if trial.kind == "damaged":
      good, bad = (left, right) if trial.good == "left" else (right, left)
      assert good == clips[trial.left].media
      assert bad in {d.clip.media for d in made.damaged if d.item == trial.item}
    else:
      assert (left, right) == (clips[trial.left].media, clips[trial.right].media)
      assert (left == right) == (trial.kind == "same")
