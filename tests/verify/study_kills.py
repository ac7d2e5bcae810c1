"""Fifty raters vote through the real server, which is killed with -9 ten times.

Every acknowledged vote must be one line of the file, no line may be double, and the
chain of hashes must hold.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.train.evaluate.study.killed_server import under_kills
from train.evaluate.study.design import Rules

NAME = "Human study: votes of 50 raters while the server is killed ten times"
COMMAND = "python -m tests.verify study_kills"

RATERS, KILLS = 50, 10
_RULES = Rules(votes_per_pair=50, comparisons=18, damaged=1, repeats=0, same=1)


def run() -> list[dict[str, Any]]:
  """Votes to the end, and counts."""
  with tempfile.TemporaryDirectory() as name:
    found = under_kills(Path(name) / "study", RATERS, _RULES, KILLS, between=2.5)
  lost = set(found.acknowledged) - set(found.kept)
  double = len(found.kept) - len(set(found.kept))
  wanted, wait = RATERS * _RULES.trials, float(np.median(found.waits))
  rows = [
    (f"votes kept, of {RATERS} raters, {KILLS} kills", len(found.kept), wanted),
    ("acknowledged votes without a line", len(lost), 0),
    ("double lines", double, 0),
    ("faults of the chain", int(bool(found.fault)), 0),
    ("answers that a page does not expect", len(found.problems), 0),
  ]
  rows = [
    {"figure": figure, "value": value, "unit": "", "target": str(target)}
    | {"ok": value == target}
    for figure, value, target in rows
  ]
  spent = {"figure": "all votes, kills and 1.5 s to look included", "unit": "s"}
  rows.append(
    spent | {"value": found.seconds, "target": "< 180", "ok": found.seconds < 180}
  )
  waited = {"figure": "median time of an acknowledged request", "unit": "s"}
  return [*rows, waited | {"value": wait, "target": "< 1", "ok": wait < 1}]
