"""What the votes of a study say, as numbers.

The win rate of a model is wins / (wins + losses), as the paper on LTX-Video computes
it. Intervals are of 95 % and clustered by prompts and by raters
(`metrics.vote_intervals`). What is undefined is None.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltx_jax.metrics import agreement, vote_intervals, win_rates
from ltx_jax.metrics.estimates import Estimate, p_values
from ltx_jax.metrics.vote_intervals import Intervals
from ltx_jax.metrics.win_rates import Matrix, Votes
from train.evaluate.study import tally
from train.evaluate.study.ballots import Row
from train.evaluate.study.design import Study
from train.evaluate.study.tally import Cast

RESAMPLES = 1000
Figures = dict[str, Any]


def results(cast: Cast, resamples: int = RESAMPLES) -> Figures:
  """Returns all figures of a study; equal for equal votes.

  Args:
    cast: All answers.
    resamples: Number of resamples of prompts, raters and votes.

  Raises:
    ValueError: If there is no vote on a pair of models.
  """
  study, rows = cast.study, tally.pairs(cast.rows)
  if not rows:
    raise ValueError(
      f"There are {len(cast.rows)} answers, none of them a vote on clips of two "
      "models; results need one."
    )
  known = tally.people(study, cast.rows)
  flagged = {rater for rater, person in known.items() if person.flags}
  trusted = [row for row in rows if row["rater"] not in flagged]
  tags = sorted({tag for item in study.items for tag in item.tags})
  of_tag = {tag: {item.id for item in study.items if tag in item.tags} for tag in tags}
  by_tag = {t: [row for row in rows if row["item"] in of_tag[t]] for t in tags}
  checks = tally.shares_of_checks(cast.rows).items()
  return {
    "study": study.id,
    "sha256": study.sha256,
    "head": cast.head,
    "broken file": cast.fault,
    "question": study.question,
    "models": {name: dict(notes) for name, notes in study.models.items()},
    "items": len(study.items),
    "number of clips": sum(len(item.clips) for item in study.items),
    "fps": study.rate,
    "clips that did not play": _broken(cast.rows),
    "answers taken back": cast.taken_back,
    "all": figures(study, rows, resamples),
    "without flagged raters": (
      figures(study, trusted, resamples) if flagged and trusted else None
    ),
    "flagged": sorted(flagged),
    "tags": {
      tag: rates_alone(study, each, resamples) for tag, each in by_tag.items() if each
    },
    "checks": {name: {"right": good, "of": count} for name, (good, count) in checks},
    "raters": {
      rater: {name: _number(value) for name, value in person._asdict().items()}
      for rater, person in known.items()
    },
  }


def figures(study: Study, rows: Sequence[Row], resamples: int) -> Figures:
  """Returns rates, strengths and their intervals, and what the votes are worth."""
  votes = tally.votes(study, rows)
  counts = win_rates.matrix(votes)
  found = vote_intervals.intervals(votes, study.seed, resamples)
  misfit = win_rates.misfit(counts)
  agreed = agreement.agreement(votes)
  return {
    "votes": len(rows),
    "raters": found.raters,
    "prompts": found.prompts,
    "ties": int((votes.outcome == 0.5).sum()),
    "notes": notes(study, counts, found),
    "models": _models(study, counts, found),
    "pairs": _pairs(study, counts, found),
    "misfit": {name: _number(x) for name, x in misfit._asdict().items()},
    "agreement": {
      name: _number(x) if found.raters > 1 else None
      for name, x in agreed._asdict().items()
    },
    "halves": _halves(study, votes, found),
    "left clip": _sides(votes),
  }


def rates_alone(study: Study, rows: Sequence[Row], resamples: int) -> Figures:
  """Returns win rates of some votes, such as those of a tag."""
  found = vote_intervals.intervals(tally.votes(study, rows), study.seed, resamples)
  rates = {name: _estimate(found.rates, k) for k, name in enumerate(study.models)}
  return {"votes": len(rows), "rates": rates}


def notes(study: Study, counts: Matrix, found: Intervals) -> list[str]:
  """Returns what a reader must know before the figures."""
  said, names = [], list(study.models)
  if found.raters == 1:
    said.append(
      "There is one rater: intervals are about prompts, and nothing is said about "
      "people."
    )
  decisive = counts.wins.sum()
  if not decisive:
    said.append("All votes are ties: there are no win rates.")
  groups = win_rates.components(counts)
  if groups.max() > 0:
    parts = [
      ", ".join(name for name, g in zip(names, groups, strict=True) if g == group)
      for group in range(groups.max() + 1)
    ]
    first = [names[int(np.flatnonzero(groups == g)[0])] for g in range(len(parts))]
    bridges = "; ".join(f"{first[0]} and {name}" for name in first[1:])
    said.append(
      f"Votes join only some models: {' | '.join(parts)}. There is no common ranking; "
      f"compare {bridges}."
    )
  bounds = win_rates.bradley_terry(counts).bound
  for name, bound in zip(names, bounds, strict=True):
    if bound:
      always, word = ("wins", "at least") if bound > 0 else ("loses", "at most")
      said.append(
        f"{name}, or a group that it is in, always {always}: its score is {word} the "
        "number given."
      )
  return said


def _models(study: Study, counts: Matrix, found: Intervals) -> Figures:
  ranks = vote_intervals.ranks(found)
  scores = win_rates.bradley_terry(counts)
  wins, losses = counts.wins.sum(1), counts.wins.sum(0)
  return {
    name: {
      "wins": int(wins[k]),
      "losses": int(losses[k]),
      "ties": int(counts.ties[k].sum()),
      "win rate": _estimate(found.rates, k),
      "win rate, ties as half": _estimate(found.half_rates, k),
      "score": _estimate(found.scores, k),
      "bound": int(scores.bound[k]),
      "chance against the average": _number(1 / (1 + math.exp(-scores.value[k]))),
      "group": int(scores.component[k]),
      "best rank": int(ranks[k, 0]),
      "worst rank": int(ranks[k, 1]),
    }
    for k, name in enumerate(study.models)
  }


def _pairs(study: Study, counts: Matrix, found: Intervals) -> list[Figures]:
  names, p = list(study.models), vote_intervals.pair_p_values(found)
  out = []
  for a in range(len(names)):
    for b in range(a + 1, len(names)):
      row = {
        "a": names[a],
        "b": names[b],
        "wins of a": int(counts.wins[a, b]),
        "wins of b": int(counts.wins[b, a]),
        "ties": int(counts.ties[a, b]),
        "rate of a": _estimate(found.pair_rates, (a, b)),
        "score of a less that of b": _estimate(found.differences, (a, b)),
        "p by Holm": _number(p[a, b]),
      }
      out.append(row)
  return out


def _halves(study: Study, votes: Votes, found: Intervals) -> Figures | None:
  if found.raters < 2:
    return None
  return agreement.halves(votes, study.seed)._asdict()


def _sides(votes: Votes) -> Figures | None:
  """Returns the share of the left clip; None if every vote is a tie."""
  if (votes.outcome == 0.5).all():
    return None
  share = agreement.side_bias(votes.outcome, votes.prompt, votes.rater)
  return _estimate(share, ()) | {"p": _number(p_values(share, at=0.5))}


def _broken(rows: Sequence[Row]) -> Figures:
  """Returns how often clips of an item did not play."""
  found = collections.Counter(r["item"] for r in rows if r["choice"] == "broken")
  return dict(sorted(found.items()))


def _estimate(found: Estimate, at: Any) -> Figures:
  names = "value", "low", "high"
  return {name: _number(np.asarray(getattr(found, name))[at]) for name in names}


def _number(value: Any) -> Any:
  """Returns a value as JSON has it: None for what is undefined or without end."""
  if isinstance(value, str | list | bool) or value is None:
    return value
  if isinstance(value, int | np.integer):
    return int(value)
  return float(value) if math.isfinite(value) else None
