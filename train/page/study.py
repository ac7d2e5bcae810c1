"""The page of a study of people: who won, how surely, and what the votes are worth.

It is a function of the figures alone (`train.evaluate.study.results`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from train.page.chart import short
from train.page.intervals import Interval, drawing, svg
from train.page.intervals import written as in_words
from train.page.markup import (
  NO_ATTRIBUTES,
  Element,
  element,
  row,
  section,
  table,
  whole,
  written,
)
from train.page.style import STYLE

Figures = Mapping[str, Any]

_HOW_TO_READ = (
  "A win rate is wins / (wins + losses). Scores are those of Bradley and Terry, in "
  "logits; their mean is 0, and a difference of 1 means that 73 % prefer one model. "
  "Intervals hold the true number in 95 % of studies with other people and prompts. "
  "Checks are not among the votes."
)
_RATE, _SCORE = "Win rate", "Score"


def page(found: Figures) -> bytes:
  """Returns the page of a study, in HTML."""
  everyone, trusted = found["all"], found["without flagged raters"]
  content = [element("p", NO_ATTRIBUTES, f"“{found['question']}” {_HOW_TO_READ}")]
  if found["broken file"]:
    words = f"The file of votes was changed: {found['broken file']}. Do not trust this."
    content.append(element("p", {"class": "none", "role": "alert"}, words))
  content.append(section("The study", _facts(found)))
  content += _part("Results", everyone)
  if trusted:
    content += _part("Results without flagged raters", trusted)
  if found["tags"]:
    content.append(section("By tag", _tags(found["tags"])))
  content.append(section("Checks", _checks(found["checks"])))
  content.append(section("Raters", _raters(found["raters"])))
  if found["clips that did not play"]:
    content.append(section("Broken clips", _broken(found["clips that did not play"])))
  return written(whole("A blind comparison by people", *content))


def plot(found: Figures) -> bytes:
  """Returns the win rates as an SVG file that needs nothing else."""
  picture = svg(*_rates(found["all"]), middle=0.5, ends=(0.0, 1.0), percent=True)
  picture.set("xmlns", "http://www.w3.org/2000/svg")
  style = element("style", NO_ATTRIBUTES, STYLE)
  picture.insert(0, style)
  ground = {"width": "100%", "height": "100%", "style": "fill: var(--ground)"}
  picture.insert(1, element("rect", ground))
  return ElementTree.tostring(picture, encoding="utf-8", xml_declaration=True)


def markdown(found: Figures) -> str:
  """Returns the most important figures as text."""
  part = found["all"]
  lines = [f"# {found['question']}", "", _summary(part), ""]
  lines += [f"- {note}" for note in part["notes"]]
  head = ["model", _RATE, "ties as half", _SCORE, "rank"]
  lines += ["", *_rows_of_text(head, _models(part)), ""]
  head = ["pair", "wins", "losses", "ties", "rate", "p by Holm"]
  lines += [*_rows_of_text(head, _pairs(part)), ""]
  flagged = ", ".join(found["flagged"]) or "none"
  lines += [f"Flagged raters: {flagged}.", f"Hash of the last vote: {found['head']}."]
  return "\n".join(lines) + "\n"


def _rows_of_text(head: Sequence[str], rows: Mapping[str, list[str]]) -> list[str]:
  def line(cells: Sequence[str]) -> str:
    safe = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(safe)} |"

  body = [line([name, *cells]) for name, cells in rows.items()]
  return [line(head), line(["---"] * len(head)), *body]


def _summary(part: Figures) -> str:
  return (
    f"{part['votes']} votes by {part['raters']} raters on {part['prompts']} prompts, "
    f"{part['ties']} of them ties."
  )


def _facts(found: Figures) -> Element:
  models = {
    name: ", ".join(f"{key} {value}" for key, value in notes.items())
    for name, notes in found["models"].items()
  }
  rows = [
    row("Study", [found["study"]]),
    row("Hash of the study", [found["sha256"]]),
    row("Hash of the last vote", [found["head"]]),
    row("Items", [str(found["items"])]),
    row("Answers that were changed", [str(found["answers taken back"])]),
    row("Flagged raters", [", ".join(found["flagged"]) or "none"]),
    *[row(f"Model {name}", [notes]) for name, notes in models.items() if notes],
  ]
  return table([], rows, "What was compared")


def _part(title: str, part: Figures) -> list[Element]:
  """Returns all figures of some raters."""
  pictures = element(
    "div",
    {"class": "panels"},
    drawing(*_rates(part), middle=0.5, ends=(0.0, 1.0), percent=True),
    drawing("Scores", [_interval(n, m["score"]) for n, m in part["models"].items()], 0),
  )
  said = [element("p", NO_ATTRIBUTES, words) for words in (_summary(part),)]
  said += [element("p", {"class": "none"}, note) for note in part["notes"]]
  head = _RATE, "ties as half", _SCORE, "rank"
  pairs = "wins", "losses", "ties", "rate, ties as half", "p by Holm"
  return [
    section(title, *said, pictures),
    element("div", NO_ATTRIBUTES, _table(head, _models(part), "Models")),
    element("div", NO_ATTRIBUTES, _matrix(part)),
    element("div", NO_ATTRIBUTES, _table(pairs, _pairs(part), "Pairs of models")),
    element("div", NO_ATTRIBUTES, _worth(part)),
  ]


def _rates(part: Figures) -> tuple[str, list[Interval]]:
  return "Win rates", [_interval(n, m["win rate"]) for n, m in part["models"].items()]


def _interval(name: str, found: Figures) -> Interval:
  return Interval(name, found["value"], found["low"], found["high"])


def _models(part: Figures) -> dict[str, list[str]]:
  rows = {}
  for name, model in part["models"].items():
    bound = {1: "at least ", -1: "at most ", 0: ""}[model["bound"]]
    ranks = sorted({model["best rank"], model["worst rank"]})
    rows[name] = [
      in_words(_interval(name, model["win rate"]), percent=True),
      in_words(_interval(name, model["win rate, ties as half"]), percent=True),
      bound + in_words(_interval(name, model["score"])),
      " to ".join(str(rank) for rank in ranks),
    ]
  return rows


def _pairs(part: Figures) -> dict[str, list[str]]:
  return {
    f"{pair['a']} against {pair['b']}": [
      *(str(pair[name]) for name in ("wins of a", "wins of b", "ties")),
      in_words(_interval("", pair["rate of a"]), percent=True),
      _written(pair["p by Holm"]),
    ]
    for pair in part["pairs"]
  }


def _matrix(part: Figures) -> Element:
  """Returns the rate of each row's model against each column's, with counts."""
  names = list(part["models"])
  cells = {}
  for pair in part["pairs"]:
    a, b, wins, losses = (pair[x] for x in ("a", "b", "wins of a", "wins of b"))
    rate, ties = pair["rate of a"]["value"], pair["ties"]
    if rate is not None:
      cells[a, b] = f"{short(rate, True)} ({wins}:{losses}, {ties} ties)"
      cells[b, a] = f"{short(1 - rate, True)} ({losses}:{wins}, {ties} ties)"
  rows = {a: [cells.get((a, b), "") for b in names] for a in names}
  return _table(names, rows, "Rate of the row against the column, ties as half")


def _worth(part: Figures) -> Element:
  misfit, agreed, halves = part["misfit"], part["agreement"], part["halves"]
  sides = part["left clip"]
  alpha = "undefined" if agreed["alpha"] is None else short(agreed["alpha"])
  rows = {
    "Misfit of the scores: p": [_written(misfit["p"])],
    "Agreement of raters: Krippendorff's alpha": [
      f"{alpha}, on {agreed['units'] or 0} pairs of clips with two votes or more"
    ],
    "Largest difference of a win rate between halves of the raters": [
      f"{short(halves['found'], True)}; by chance {short(halves['by_chance'], True)}"
      if halves
      else "one rater"
    ],
    "Share of the left clip": [
      f"{in_words(_interval('', sides), percent=True)}, p {_written(sides['p'])}"
      if sides
      else "only ties"
    ],
  }
  return _table(("",), rows, "What the votes are worth")


def _tags(tags: Mapping[str, Figures]) -> Element:
  names = list(next(iter(tags.values()))["rates"])
  rows = {
    f"{tag} ({part['votes']} votes)": [
      in_words(_interval(name, part["rates"][name]), percent=True) for name in names
    ]
    for tag, part in tags.items()
  }
  return _table(names, rows, "Win rates")


def _checks(checks: Mapping[str, Figures]) -> Element:
  rows = {name: [f"{each['right']} of {each['of']}"] for name, each in checks.items()}
  return _table(("",), rows, "Answers as they should be")


def _raters(raters: Mapping[str, Figures]) -> Element:
  head = "answers", "left", "ties", "median time", "checks wrong", "same again", "flags"
  rows = {
    name: [
      str(each["answers"]),
      _written(each["left"], percent=True),
      _written(each["ties"], percent=True),
      f"{each['seconds']:.1f} s",
      f"{each['wrong']} of {each['checks']}",
      f"{each['same']} of {each['repeats']}",
      "; ".join(each["flags"]),
    ]
    for name, each in raters.items()
  }
  return _table(head, rows, "What is known of each rater")


def _broken(items: Mapping[str, int]) -> Element:
  rows = {item: [str(count)] for item, count in items.items()}
  return _table(("times",), rows, "Clips that did not play")


def _written(value: float | None, percent: bool = False) -> str:
  return "none" if value is None else short(value, percent)


def _table(head: Sequence[str], rows: Mapping[str, list[str]], title: str) -> Element:
  cells = [element("th", {"scope": "col"}, name) for name in head]
  first = element("tr", NO_ATTRIBUTES, element("td"), *cells)
  body = [row(name, each) for name, each in rows.items()]
  return table([first] if any(head) else [], body, title)
