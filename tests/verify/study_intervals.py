"""Two hundred simulated studies: do the intervals hold the truth as often as they say?

Strengths, tastes of prompts and raters, ties, slips and habits are known. Resampled
votes must fail, or the world is too easy. Another check is the time that the results of
10,000 votes take.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np

from ltx_jax.metrics import agreement, win_rates
from ltx_jax.metrics.estimates import p_values
from ltx_jax.metrics.win_rates import Votes
from tests.train.evaluate.study import cases, studies
from tests.train.evaluate.study.simulated import Crowd, World, votes_of
from train.evaluate.study import results, tally
from train.evaluate.study.design import Rules
from train.evaluate.study.tally import Cast

NAME = "Human study: intervals and flags against simulated raters, speed of results"
COMMAND = "python -m tests.verify study_intervals"

STUDIES, RESAMPLES, LEVEL = 200, 1000, (0.91, 0.99)
SIZE = {"items": 100, "raters": 20}
_RULES = Rules(votes_per_pair=40, comparisons=132, damaged=9, repeats=5, same=4)


def row(figure: str, value: Any, target: str, ok: bool, unit: str = "") -> dict:
  """Returns a row of the page."""
  names = "figure", "value", "unit", "target", "ok"
  return dict(zip(names, (figure, value, unit, target, bool(ok)), strict=True))


def coverage() -> list[dict[str, Any]]:
  """Returns coverage and errors of the simulated studies."""
  world = World(studies.STRENGTHS)
  each = [studies.found(world, seed, RESAMPLES, **SIZE) for seed in range(STUDIES)]
  shares, (scores, _) = studies.coverage(each), studies.truth(world)
  rows = []
  for number, what in enumerate(("scores", "win rates")):
    ours, naive = shares["covered"][number], shares["naive"][number]
    figure = f"95 % intervals of {what} that hold the truth, {STUDIES} studies"
    ok = LEVEL[0] <= ours <= LEVEL[1]
    rows.append(row(figure, ours, "0.91 to 0.99", ok))
    rows.append(row(f"the same, votes resampled: {what}", naive, "< 0.9", naive < 0.9))
  mean = np.mean([one.scores for one in each], 0)
  error = float(abs(mean - scores).max())
  rows.append(
    row("largest error of a mean score", error, "< 0.05", error < 0.05, "logit")
  )
  order = bool((np.argsort(mean) == np.argsort(scores)).all())
  return [*rows, row("mean scores in the true order", order, "True", order)]


def joined(parts: list[Votes]) -> Votes:
  """Returns the votes of several studies, each with prompts and raters of its own."""
  columns = []
  for name in Votes._fields[:-1]:
    each = [getattr(part, name) for part in parts]
    if name in ("prompt", "rater"):
      each = [np.array([f"{k}/{x}" for x in one]) for k, one in enumerate(each)]
    columns.append(np.concatenate(each))
  return Votes(*columns, parts[0].models)


def sides() -> list[dict[str, Any]]:
  """Returns what a liking for the left clip does, over ten studies."""
  world = World(studies.STRENGTHS)
  both = [
    joined([studies.votes(w, seed, **SIZE) for seed in range(10)])
    for w in (world, dataclasses.replace(world, left=0.3))
  ]
  rates = [win_rates.win_rates(win_rates.matrix(votes)) for votes in both]
  moved = float(100 * abs(rates[0] - rates[1]).max())
  biased = both[1]
  share = agreement.side_bias(biased.outcome, biased.prompt, biased.rater)
  p = float(p_values(share, at=0.5))
  return [
    row("rates moved by a liking of 0.3 logit", moved, "< 1", moved < 1, "points"),
    row("p-value of that liking", p, "< 0.01", p < 0.01),
  ]


def flags() -> list[dict[str, Any]]:
  """Returns how many careless and careful raters are flagged, of 150 trials each."""
  rows = []
  for habit, words, least, most in (
    ("left", "raters of one key", 0.95, 1.0),
    ("random", "raters who guess", 0.95, 1.0),
    (None, "careful raters (3 % slips)", 0.0, 0.05),
  ):
    flagged = []
    for seed in range(8):
      made = cases.study(3, 60, seed=seed, damaged=20, rules=_RULES)
      raters = [f"r{k}" for k in range(25)]
      world = World((0.5, 0.0, -0.5))
      crowd = Crowd(made, raters, world, seed, dict.fromkeys(raters, habit))
      people = tally.people(made, votes_of(made, raters, crowd))
      flagged += [bool(person.flags) for person in people.values()]
    share = float(np.mean(flagged))
    target = f">= {least}" if least else f"< {most}"
    ok = share >= least if least else share < most
    rows.append(row(f"{words} who are flagged, of {len(flagged)}", share, target, ok))
  return rows


def speed() -> list[dict[str, Any]]:
  """Returns how long the results of 10,000 votes take, and whether they are equal."""
  models, items, raters = 6, 334, 25
  rules = Rules(votes_per_pair=2, comparisons=400, damaged=0, repeats=0, same=0)
  made = cases.study(models, items, damaged=0, rules=rules)
  names = [f"r{k}" for k in range(raters)]
  world = World(tuple(np.linspace(1, -1, models)))
  votes = votes_of(made, names, Crowd(made, names, world, 0))[:10_000]
  cast = Cast(made, votes, 0, "0" * 64, "")
  found, seconds = [], []
  for _ in range(2):
    start = time.monotonic()
    found.append(json.dumps(results.results(cast, 1000)))
    seconds.append(time.monotonic() - start)
  words = f"results of {len(votes)} votes, {models} models, 1000 resamples"
  return [
    row(words, min(seconds), "< 20", min(seconds) < 20, "s"),
    row(
      "two runs of them are equal", found[0] == found[1], "True", found[0] == found[1]
    ),
  ]


def run() -> list[dict[str, Any]]:
  """Simulates all of it."""
  return [*speed(), *flags(), *sides(), *coverage()]
