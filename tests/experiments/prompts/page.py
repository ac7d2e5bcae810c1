"""The part of docs/experiments.md about wordings, captions and sizes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ltx_jax.metrics.estimates import Estimate
from tests.experiments.prompts import figures, measure
from tests.experiments.prompts.figures import Rows
from tests.experiments.prompts.wordings import ATTRIBUTES, WORDINGS

TRAINED, PLAIN = "trained captions", next(iter(WORDINGS))

HEADER = """\
## The shipped small model: other captions, wordings, sizes and lengths

`python -m tests.experiments prompts`

{ran}

A clip's score is the share of its five words that the judge reads right, among those
that the prompt asks for. Intervals are of 95 %, clustered by caption. A change is that
against the same captions as trained, 25 frames of 128x128 at 24 a second, with other
noise; it counts where its interval leaves 0 out. The ceiling is what the judge reads in
rendered clips of that kind. All of this is about shapes, and says nothing about the
released weights.
"""


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
  """Returns what was measured, by condition."""
  paths = {name: measure.file_of(folder, name) for name in measure.conditions()}
  return {
    name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()
  }


def percent(found: Estimate, sign: str = "") -> str:
  """Returns a share with its interval, in per cent."""
  value, low, high = (
    100 * float(each) for each in (found.value, found.low, found.high)
  )
  if np.isnan(low):
    return f"{value:{sign}.1f}"
  if not sign:  # A share, whose end the interval's arithmetic does not know.
    low, high = max(low, 0.0), min(high, 100.0)
  return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def verdict(found: Estimate) -> str:
  """Says whether a change is more than chance."""
  if not found.low <= 0 <= found.high:
    return "better" if found.value > 0 else "worse"
  return "no difference seen"


def _row(*cells: str) -> str:
  return f"| {' | '.join(cells)} |"


def _heading(*cells: str) -> list[str]:
  return [_row(*cells), _row(*["---"] * len(cells))]


def gap_lines(found: Mapping[str, Rows]) -> list[str]:
  """Returns the table of the composition gap."""
  lines = ["### Combinations that were never trained on", ""]
  lines += _heading("captions", "clips", "score, %", *(f"{n}, %" for n in ATTRIBUTES))
  for name, words in ((TRAINED, TRAINED), (PLAIN, "held-out captions")):
    rows = found[name]
    each = (f"{100 * v:.1f}" for v in figures.by_attribute(rows).values())
    lines.append(_row(words, str(len(rows)), percent(figures.share(rows)), *each))
  gap = figures.gap(found[TRAINED], found[PLAIN])
  same = gap.low <= 0 <= gap.high
  said = "no gap is seen" if same else "known combinations are easier"
  sentence = f"Composition gap: {percent(gap, '+')} points; {said}."
  return [*lines, "", sentence, ""]


def wording_lines(found: Mapping[str, Rows]) -> list[str]:
  """Returns the table of wordings, the worst one, and the shares of variance."""
  lines = ["### Other wordings of the same captions", ""]
  lines += _heading("wording", "clips", "score, %", "change, points", "verdict")
  means = {}
  for name in WORDINGS:
    rows = found[name]
    means[name] = float(figures.share(rows).value)
    change = figures.change(rows, found[PLAIN])
    cells = ("", "") if name == PLAIN else (percent(change, "+"), verdict(change))
    lines.append(_row(name, str(len(rows)), percent(figures.share(rows)), *cells))
  parts = figures.components(figures.scores_of(found, list(WORDINGS)))
  whole = sum(parts) or 1.0
  worst = min(means, key=means.__getitem__)
  sentence = (
    f'The worst wording is "{worst}". Of the variance of a caption\'s score, '
    f"{100 * parts.wording / whole:.0f} % is between wordings, "
    f"{100 * parts.seed / whole:.0f} % between seeds, and the rest is neither's."
  )
  return [*lines, "", *textwrap.wrap(sentence, 88), ""]


def domain_lines(found: Mapping[str, Rows], ceilings: Mapping[str, float]) -> list[str]:
  """Returns the table of sizes, lengths, rates and unknown words."""
  lines = ["### Other sizes, lengths and rates, and an unknown colour", ""]
  words = "condition", "clips", "score, %", "change, points", "verdict", "ceiling, %"
  lines += _heading(*words)
  for name, ceiling in ceilings.items():
    rows, known = found[name], {row["caption"] for row in found[PLAIN]}
    cells = ("", "other captions")
    if rows[0]["caption"] in known:
      change = figures.change(rows, found[PLAIN])
      cells = percent(change, "+"), verdict(change)
    share = percent(figures.share(rows))
    lines.append(_row(name, str(len(rows)), share, *cells, f"{100 * ceiling:.1f}"))
  return [*lines, ""]


def other_lines(found: Mapping[str, Rows]) -> list[str]:
  """Returns what is measured without the five words."""
  lines = []
  if rows := found.get("a second object"):
    both, either = (
      np.mean([test(row["shown"]) for row in rows]) for test in (all, any)
    )
    lines.append(
      f"Asked for a second object of another colour, {100 * both:.0f} % of {len(rows)} "
      f"clips show both colours in their middle frame, {100 * either:.0f} % at least "
      "one. No caption of the training set has two objects."
    )
  if rows := found.get("the first frame of a real clip"):
    near, moved = (np.mean([row[n] for row in rows]) for n in ("psnr", "moved"))
    lines.append(
      f"Given the first frame of a real clip, {len(rows)} clips begin with it at a "
      f"PSNR of {near:.1f} dB, and their last frame differs from the first by "
      f"{moved:.1f} of 255 levels. The VAE never saw a photograph either."
    )
  wrapped = ("\n".join(textwrap.wrap(line, 88)) for line in lines)
  return [part for line in wrapped for part in (line, "")]


def judged_elsewhere() -> list[str]:
  """Returns the conditions of `domain_lines`."""
  return [
    name
    for name, each in measure.conditions().items()
    if name not in {TRAINED, *WORDINGS} and each.image is None and each.second is None
  ]


def section(folder: Path) -> str:
  """Returns the part of the page."""
  noted = folder / "noted.json"
  if not noted.is_file():
    return HEADER.format(ran="Not run yet.")
  notes, found = json.loads(noted.read_text()), read(folder)
  ran = f"{notes['minutes']:.0f} minutes on two CPU cores at {notes['commit']}."
  lines = [HEADER.format(ran=ran), *gap_lines(found), *wording_lines(found)]
  lines += domain_lines(found, notes["ceilings"])
  return "\n".join([*lines, *other_lines(found)])
