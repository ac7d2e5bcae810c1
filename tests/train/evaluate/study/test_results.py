"""Figures of votes with known answers, and of all odd ones."""

import dataclasses
import itertools
import json
import shlex

import numpy as np
import pytest

from ltx_jax.metrics import vote_intervals
from tests.train.evaluate.study.cases import study
from tests.train.evaluate.study.simulated import Crowd, World, votes_of
from train.evaluate.study import reporting, results, tally
from train.evaluate.study.__main__ import main
from train.evaluate.study.design import Rules
from train.evaluate.study.tally import Cast

NUMBERS = itertools.count()
RULES = Rules(votes_per_pair=2, comparisons=60, damaged=4, repeats=2, same=2)


def cast_of(rows, made, fault=""):
  return Cast(made, rows, 0, "0" * 64, fault)


def simulated(seed=0, world=None, *, models=3, items=40, raters=4, habits=None):
  made = study(models, items, seed=seed, damaged=8, rules=RULES)
  names = [f"r{k}" for k in range(raters)]
  world = world or World(tuple(np.linspace(1, -1, models)))
  return made, votes_of(made, names, Crowd(made, names, world, seed, habits))


def row(rater, item, left, right, choice, kind="pair"):
  number = next(NUMBERS)
  return {
    "vote": f"{number}",
    "rater": rater,
    "trial": number,
    "kind": kind,
    "item": item,
    "left": left,
    "right": right,
    "good": None,
    "choice": choice,
    "shown": 0.0,
    "answered": 9.0,
    "plays": 1,
    "seconds": 9.0,
    "screen": "1x1",
    "replaces": None,
  }


def found(rows, made=None, resamples=50):
  made = made or study(3, 12)
  out = results.results(cast_of(rows, made), resamples)
  json.dumps(out, allow_nan=False)
  reporting.pages.page(out), reporting.pages.plot(out), reporting.pages.markdown(out)
  return out


def test_win_rates_are_wins_of_wins_and_losses():
  rows = [row("a", f"item{k}", "secret0", "secret1", "left") for k in range(6)]
  rows += [row("b", f"item{k}", "secret1", "secret0", "left") for k in range(2)]
  rows += [row("b", f"item{k}", "secret1", "secret2", "tie") for k in range(4)]
  rows += [row("b", "item5", "secret0", "secret1", "broken")]
  rows += [row("b", "item5", "secret1", "secret1", "left", "same")]
  out = found(rows)["all"]
  models = out["models"]
  assert models["secret0"]["win rate"]["value"] == 6 / 8
  assert models["secret1"]["win rate"]["value"] == 2 / 8
  assert models["secret1"]["win rate, ties as half"]["value"] == 4 / 12
  assert models["secret2"]["win rate"]["value"] is None
  assert (out["votes"], out["ties"]) == (12, 4)
  assert found(rows)["clips that did not play"] == {"item5": 1}


def test_checks_move_no_rate():
  made, rows = simulated()
  alone = [row for row in rows if row["kind"] == "pair"]
  assert found(rows, made)["all"] == found(alone, made)["all"]


def test_equal_votes_give_equal_figures_and_the_best_model_wins():
  made, rows = simulated()
  out = found(rows, made, 200)
  assert found(rows, made, 200) == out
  models = out["all"]["models"]
  rates = [model["win rate"]["value"] for model in models.values()]
  assert rates == sorted(rates, reverse=True)
  for model in models.values():
    assert model["win rate"]["low"] < model["win rate"]["value"]
    assert model["win rate"]["value"] < model["win rate"]["high"]
  assert set(out["tags"]) == {"even", "odd"}
  votes = sum(tag["votes"] for tag in out["tags"].values())
  assert votes == out["all"]["votes"]


def test_flagged_raters_are_left_out_of_a_second_table_only():
  made, rows = simulated(habits={"r0": "left"})
  out = found(rows, made)
  assert "r0" in out["flagged"]
  trusted = out["without flagged raters"]
  assert trusted["votes"] < out["all"]["votes"]
  assert trusted["raters"] == 4 - len(out["flagged"])
  page = reporting.pages.page(out).decode()
  assert "Results without flagged raters" in page


def test_one_rater_says_nothing_about_people():
  made, rows = simulated(raters=1)
  out = found(rows, made)["all"]
  assert any("nothing is said about people" in note for note in out["notes"])
  assert out["agreement"]["alpha"] is None and out["halves"] is None


def test_all_ties_have_no_win_rate():
  rows = [row(r, f"item{k}", "secret0", "secret1", "tie") for r in "ab" for k in (1, 2)]
  out = found(rows, study(2, 12))["all"]
  assert out["models"]["secret0"]["win rate"]["value"] is None
  assert out["models"]["secret0"]["score"]["value"] == pytest.approx(0)
  assert out["agreement"]["alpha"] is None and out["left clip"] is None
  assert "All votes are ties: there are no win rates." in out["notes"]


def test_a_model_that_always_wins_has_an_open_interval():
  rows = [
    row(r, f"item{k}", "secret0", "secret1", "left") for r in "abc" for k in range(4)
  ]
  out = found(rows, study(2, 12))["all"]
  winner = out["models"]["secret0"]
  assert winner["bound"] == 1 and winner["score"]["high"] is None
  assert any("at least" in note for note in out["notes"])
  page = reporting.pages.page(found(rows, study(2, 12))).decode()
  assert "at least" in page and "open" in page


def test_models_that_never_met_have_no_common_ranking():
  rows = [row("a", f"item{k}", "secret0", "secret1", "left") for k in range(3)]
  rows += [row("b", f"item{k}", "secret2", "secret3", "right") for k in range(3)]
  rows += [row("b", f"item{k}", "secret1", "secret0", "left") for k in range(2)]
  rows += [row("a", f"item{k}", "secret2", "secret3", "left") for k in range(2)]
  out = found(rows, study(4, 12))["all"]
  (note,) = [note for note in out["notes"] if "no common ranking" in note]
  assert "secret0, secret1 | secret2, secret3" in note
  assert "compare secret0 and secret2" in note


def test_without_a_vote_there_are_no_results():
  with pytest.raises(ValueError, match="none of them a vote"):
    found([row("a", "item1", "secret0", "secret0", "tie", "same")])


def test_a_model_without_notes_has_no_row_of_them():
  made, rows = simulated()
  noted = dataclasses.replace(made, models=made.models | {"secret1": {"steps": 4}})
  page = reporting.pages.page(results.results(cast_of(rows, noted), 5))
  assert b"Model secret1" in page and b"Model secret0" not in page


def test_a_changed_file_is_said_on_the_page():
  made, rows = simulated()
  out = results.results(cast_of(rows, made, "line 3 is odd"), 20)
  assert "Do not trust this" in reporting.pages.page(out).decode()


def test_all_files_are_written_and_names_are_no_markup(tmp_path):
  made, rows = simulated()
  cast = cast_of(rows, made)
  out = results.results(cast, 20)
  out["models"]["<script>"] = out["models"].pop("secret0")
  paths = reporting.write(tmp_path / "results", cast, out)
  names = ["results.html", "results.json", "results.md", "results.svg", "votes.csv"]
  assert sorted(path.name for path in paths) == names
  assert "<script>" not in paths[1].read_text()
  assert len(paths[4].read_text().splitlines()) == len(rows) + 1
  assert paths[3].read_bytes().startswith(b"<?xml")
  assert reporting.table_of([{"item": "=1+1"}]).splitlines()[1].split(",")[4] == "'=1+1"


def test_results_say_what_made_them_and_of_how_many_clips(tmp_path, monkeypatch):
  made, rows = simulated()
  monkeypatch.setattr(tally, "read", lambda *asked: cast_of(rows, made))
  given = ["results", "runs/a study", "--resamples", "20", "--output", str(tmp_path)]
  main(given)
  found = json.loads((tmp_path / "results.json").read_text())
  command = ["python", "-m", "train.evaluate.study", *given]
  assert shlex.split(found["command"]) == command and found["commit"]
  assert (found["number of clips"], found["fps"]) == (3 * 40, made.rate)


def truth(world, models):
  """Returns the strengths that fit the rates which all tastes together give."""
  rng = np.random.default_rng(0)
  spread = np.hypot(world.prompt_taste, world.rater_taste)
  likes = np.array(world.strengths) + spread * rng.standard_normal((200_000, models))
  from ltx_jax.metrics.win_rates import Matrix, bradley_terry

  chance = np.array(
    [
      [(1 / (1 + np.exp(likes[:, b] - likes[:, a]))).mean() for b in range(models)]
      for a in range(models)
    ]
  )
  np.fill_diagonal(chance, 0)
  return bradley_terry(Matrix(1e6 * chance, np.zeros_like(chance))).value


@pytest.mark.slow
def test_intervals_cover_what_is_true_and_resampled_votes_do_not():
  world, right, plain, errors = World((0.9, 0.3, -0.3, -0.9), ties=0.0), [], [], []
  true = truth(world, 4)
  for seed in range(200):
    made, rows = simulated(seed, world, models=4, items=60, raters=10)
    votes = tally.votes(made, tally.pairs(rows))
    found = vote_intervals.intervals(votes, seed, 300)
    less = true[:, None] - true
    upper = np.triu_indices(4, 1)
    right.append(
      ((found.differences.low < less) & (less < found.differences.high))[upper]
    )
    alone = votes._replace(
      prompt=np.arange(len(votes.a)), rater=np.arange(len(votes.a))
    )
    each = vote_intervals.intervals(alone, seed, 300).differences
    plain.append(((each.low < less) & (less < each.high))[upper])
    errors.append(found.scores.value - true)
  assert 0.91 <= np.mean(right) <= 0.99
  assert np.mean(plain) < 0.9
  assert np.abs(np.mean(errors, 0)).max() < 0.05


@pytest.mark.slow
def test_a_habit_of_one_side_moves_no_rate_and_is_reported():
  moved, found = [], []
  for seed in range(24):
    pair = []
    for left in (0.0, 0.3):
      world = World((0.6, 0.0, -0.6), left=left)
      made, rows = simulated(seed, world, items=60, raters=6)
      out = results.results(cast_of(rows, made), 100)["all"]
      pair.append([m["win rate"]["value"] for m in out["models"].values()])
    moved.append(np.subtract(*pair))
    found.append(out["left clip"]["value"])
  assert np.abs(np.mean(moved, 0)).max() < 0.015
  assert np.mean(found) > 0.54
