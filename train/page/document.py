"""The page of a run, or of several runs compared (`markup.whole`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ltx_jax.files import atomic_file
from train.page import facts
from train.page.chart import chart, colour_of, short
from train.page.markup import (
  NO_ATTRIBUTES,
  Element,
  element,
  folded,
  row,
  section,
  table,
  whole,
  written,
)
from train.page.panels import Group, Panel, best, groups
from train.page.record import Record, differences, read
from train.page.samples import Shelf, captions_of, shelves

_MOST_DIFFERENCES = 12
_HOW_TO_READ = (
  "Every drawing is over training steps. Where values scatter, the faint line shows "
  "what was logged and the strong one its running mean."
)


def write(runs: Sequence[Path], output: Path) -> None:
  """Writes the page of some runs.

  Raises:
    ValueError: If one has logged nothing, or its config is not JSON.
    OSError: If a sample image cannot be read.
  """
  page = written(_document(read(runs)))
  output.parent.mkdir(parents=True, exist_ok=True)
  with atomic_file(output) as file:
    file.write(page)


def _document(records: Sequence[Record]) -> Element:
  labels = [record.label for record in records]
  title = f"Training: {', '.join(labels)}"
  found = groups(records)
  return whole(
    title,
    element("p", NO_ATTRIBUTES, _HOW_TO_READ),
    _legend(labels),
    section("The runs", *_facts(records)),
    section("Figures at the end", _figures(found, labels)),
    *[_group(group, labels) for group in found],
    *[_shelf(shelf, records) for shelf in shelves(records)],
  )


def _legend(labels: Sequence[str]) -> Element:
  """Returns the legend of the runs' colours; it stays in sight."""
  entries = []
  for run, label in enumerate(labels):
    line = element("line", {"x1": "0", "x2": "24", "y1": "6", "y2": "6"})
    key = element("svg", {"viewBox": "0 0 24 12", "aria-hidden": "true"}, line)
    name = element("span", NO_ATTRIBUTES, label)
    entries.append(element("li", {"class": colour_of(run)}, key, name))
  return element(
    "ul", {"class": "legend", "aria-label": "Colours of the runs"}, *entries
  )


def _facts(records: Sequence[Record]) -> list[Element]:
  head = _head(record.label for record in records)
  each = [facts.of(record) for record in records]
  told = {name: [known[name] for known in each] for name in each[0]}
  rows = [row(name, values) for name, values in told.items() if any(values)]
  content = [table([head], rows, "What was run")]
  if different := differences(records):
    rows = [row(name, values) for name, values in different.items()]
    compared = table([head], rows, "What differs between the configs")
    if len(different) > _MOST_DIFFERENCES:
      compared = folded(f"What differs: {len(different)} fields", compared)
    content.append(compared)
  elif len(records) > 1:
    content.append(element("p", NO_ATTRIBUTES, "The configs do not differ."))
  return content


def _head(labels: Iterable[str]) -> Element:
  cells = [element("th", {"scope": "col"}, label) for label in labels]
  return element("tr", NO_ATTRIBUTES, element("td"), *cells)


def _figures(found: Sequence[Group], labels: Sequence[str]) -> Element:
  """Returns the last value of each number, and the best one if that is defined."""
  rows = []
  for group in found:
    heading = {"scope": "rowgroup", "colspan": f"{1 + 2 * len(labels)}"}
    rows.append(element("tr", NO_ATTRIBUTES, element("th", heading, group.title)))
    rows += [row(p.kind.title, _last_and_best(p)) for p in group.panels]
  runs = [element("th", {"scope": "colgroup", "colspan": "2"}, name) for name in labels]
  which = [element("th", {"scope": "col"}, name) for name in ("last", "best")]
  head = [
    element("tr", NO_ATTRIBUTES, element("td"), *runs),
    element("tr", NO_ATTRIBUTES, element("td"), *which * len(labels)),
  ]
  return table(head, rows, "The last value, and the best one with its step")


def _last_and_best(panel: Panel) -> list[str]:
  cells = []
  for series in panel.lines:
    if series is None:
      cells += ["", ""]
      continue
    found = best(panel.kind, series)
    cells.append(short(float(series.values[-1]), panel.kind.percent))
    cells.append(
      f"{short(found[1], panel.kind.percent)} at step {found[0]}" if found else ""
    )
  return cells


def _group(group: Group, labels: Sequence[str]) -> Element:
  def drawn(panels: Sequence[Panel]) -> Element:
    return element("div", {"class": "panels"}, *[chart(p, labels) for p in panels])

  content = [drawn(group.panels)]
  if group.more:
    content.append(folded("Each bucket by itself", drawn(group.more)))
  return section(group.title, *content)


def _shelf(shelf: Shelf, records: Sequence[Record]) -> Element:
  """Returns the sample images of each step in a row, newest first."""
  content = []
  if len(shelf.steps) < shelf.of:
    said = f"{len(shelf.steps)} of {shelf.of} steps, evenly spread."
    content.append(element("p", NO_ATTRIBUTES, said))
  told = []
  for run in sorted({run for row_of in shelf.steps.values() for run in row_of}):
    lines = captions_of(records[run].folder)
    if lines and lines not in told:  # Captions that runs share are shown once.
      told.append(lines)
      items = [element("li", NO_ATTRIBUTES, line) for line in lines]
      title = f"Rows from top to bottom, {records[run].label}"
      content.append(folded(title, element("ol", NO_ATTRIBUTES, *items)))
  for step, row_of in shelf.steps.items():
    content.append(element("h3", NO_ATTRIBUTES, f"Step {step}"))
    pictures = []
    for run, uri in row_of.items():
      label = records[run].label
      alt = f"{shelf.name} of {label} at step {step}"
      image = element("img", {"src": uri, "alt": alt, "loading": "lazy"})
      name = element("figcaption", {"class": colour_of(run)}, label)
      pictures.append(element("figure", NO_ATTRIBUTES, name, image))
    content.append(element("div", {"class": "pictures"}, *pictures))
  return section(f"Pictures: {shelf.name}", *content)
