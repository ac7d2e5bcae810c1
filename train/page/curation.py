"""The page of a curation: what was kept, what each rule dropped, how both look.

It is a function of decisions alone: equal ones give an equal page, byte for byte.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ltx_jax.curation import statistics
from ltx_jax.curation.captions import FAULTS, faults_of
from ltx_jax.curation.clip import Clip, Decision
from ltx_jax.curation.filters import Filter, Selection, Threshold, funnel
from ltx_jax.curation.lint import IN_WORDS
from ltx_jax.curation.table import DERIVED
from train.page import bars
from train.page.gallery import MOST_BYTES, Gallery, Shown, Still, brief, sections, some
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

_MOST_FILES = 100
_HOW_TO_READ = (
  "Rules decide one after the other: a clip is dropped by the first rule that refuses "
  "it. In drawings of scores the faint bars are all clips that were measured, the "
  "strong ones those that were kept, and lines are thresholds. The outermost bars take "
  "in what lies beyond."
)


def page(
  selection: Selection,
  refused: Mapping[str, Decision],
  still: Still,
  most_bytes: int = MOST_BYTES,
) -> bytes:
  """Returns the page of a selection, in HTML.

  Args:
    selection: All clips with their decisions, and what each rule did.
    refused: Why files were refused, by their ids.
    still: Returns the JPEG of a still by its name; None if it is lost.
    most_bytes: Largest size of all stills; of more, fewer are shown.
  """
  told = [clip for clip in selection.clips() if clip.caption or FAULTS in clip.extra]
  content = [
    element("p", NO_ATTRIBUTES, _summary(selection, refused)),
    element("p", NO_ATTRIBUTES, _HOW_TO_READ),
    section("What each rule dropped", _funnel(selection)),
    *_files(refused),
    *_scores(selection),
    *_paper(selection, told),
    *_captions(told, len(selection.kept)),
    *sections(list(_galleries(selection)), still, most_bytes),
  ]
  return written(whole("Curation", *content))


def _summary(selection: Selection, refused: Mapping[str, Decision]) -> str:
  rows = funnel(selection)
  (_, found, hours), (_, kept, left) = rows[0], rows[-1]
  files = selection.table.files
  said = (
    f"{kept:,} of {found:,} clips are kept ({_share(kept, found)}), {left:,.2f} of "
    f"{hours:,.2f} hours, from {files:,} files."
  )
  return f"{said} {len(refused):,} files were refused." if refused else said


def _share(part: float, whole: float) -> str:
  return f"{100 * part / whole:.3g} %" if whole else "0 %"


def _head(*names: str) -> Element:
  cells = [element("th", {"scope": "col"}, name) for name in names]
  return element("tr", NO_ATTRIBUTES, *cells)


def _funnel(selection: Selection) -> Element:
  rules = {rule.name: in_words(rule) for rule in selection.filters} | selection.off
  (_, found, hours), *rest = funnel(selection)
  rows = [_stage("found", [f"{found:,}", f"{hours:,.2f}", "", "", "", ""], 1.0)]
  for step, (name, left, lasts) in zip(selection.steps, rest, strict=True):
    cells = [f"{left:,}", f"{lasts:,.2f}", f"{step.dropped:,}"]
    cells += [f"{step.seconds / 3600:,.2f}", f"{step.alone:,}", rules.get(name, "")]
    rows.append(_stage(name, cells, left / found if found else 0.0))
  head = _head(
    *("Rule", "Share left", "Clips left", "Hours left", "Clips dropped"),
    *("Hours dropped", "Would drop alone", "Keeps"),
  )
  return table([head], rows, "Clips and hours after each rule, in their order")


def _stage(name: str, cells: Sequence[str], share: float) -> Element:
  """Returns a row of the funnel, with a bar as long as the share that is left."""
  line = row(name, [_share(share, 1), *cells])
  bar = element("rect", {"width": f"{100 * share:.1f}", "height": "8"})
  picture = element(
    "svg", {"class": "run0", "viewBox": "0 0 100 8", "aria-hidden": "true"}, bar
  )
  line[1].set("class", "share")
  line[-1].set("class", "words")
  line[1].append(picture)
  return line


def in_words(rule: Filter) -> str:
  """Returns what a rule keeps, in words; "" if it is not a threshold."""
  if isinstance(rule, Threshold) and rule.best is not None:
    return f"{rule.measure} among the best {_share(rule.best, 1)}"
  bounds = " and ".join(words for _, words in _marks(rule))
  return f"{rule.measure} {bounds}" if bounds else ""


def _marks(rule: Filter) -> list[tuple[float, str]]:
  if not isinstance(rule, Threshold):
    return []
  bounds = ((rule.least, "at least"), (rule.most, "at most"))
  return [(at, f"{how} {at:g}") for at, how in bounds if at is not None]


def _files(refused: Mapping[str, Decision]) -> Iterator[Element]:
  """Yields the section of files that were refused, if there are any."""
  if not refused:
    return
  reasons = collections.Counter(decision.reason for decision in refused.values())
  rows = [row(name, [f"{reasons[name]:,}"]) for name in sorted(reasons)]
  counts = table([_head("Reason", "Files")], rows, "Files by reason")
  first = sorted(refused.items())[:_MOST_FILES]
  rows = [row(brief(name), [d.reason, brief(f"{d.value}")]) for name, d in first]
  part = f"{len(first)} of " if len(first) < len(refused) else ""
  title = f"{part}{len(refused):,} files"
  listed = table([_head("File", "Reason", "Found")], rows, "Each file")
  yield section("Files that were refused", counts, folded(title, listed))


def _scores(selection: Selection) -> Iterator[Element]:
  """Yields the section of scores, those with thresholds first."""
  marks = collections.defaultdict(list)
  for rule in selection.filters:
    if isinstance(rule, Threshold):
      marks[rule.measure] += _marks(rule)
  table = selection.table
  names = [*marks, *sorted(set(table.numbers) - {*marks, *DERIVED})]
  figures = []
  for name in names:
    values = table.measure(name)
    known, kept = _known(values), _known(values[selection.kept])
    if len(known):
      figures.append(bars.figure(bars.bars_of(name, known, kept, "kept", marks[name])))
  if figures:
    yield section("Scores", element("div", {"class": "panels"}, *figures))


def _known(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
  return values[~np.isnan(values)]


def _paper(selection: Selection, told: Sequence[Clip]) -> Iterator[Element]:
  """Yields the two figures that the paper has of its training set."""
  numbers = (selection.table.measure(name) for name in ("seconds", "frames"))
  seconds, frames = (values[selection.kept] for values in numbers)
  kept = [clip for clip in told if clip.decision is None and clip.caption]
  counts = [len(statistics.words(clip.caption)) for clip in kept]
  drawings = {"Words per caption": counts, "Seconds per clip": seconds[frames > 1]}
  figures = [
    bars.figure(bars.bars_of(title, values, values, "kept"))
    for title, values in drawings.items()
    if len(values)
  ]
  if figures:
    yield section("The training set", element("div", {"class": "panels"}, *figures))


def _captions(told: Sequence[Clip], count: int) -> Iterator[Element]:
  """Yields the section of captions of `count` clips, if there are any."""
  kept = [clip for clip in told if clip.decision is None]
  if not told:
    return
  captions = [clip.caption for clip in kept] + [""] * (count - len(kept))
  found = statistics.of_captions(captions)
  facts = {
    "Words, mean": f"{found.words.mean:.1f}",
    "Words, standard deviation": f"{found.words.deviation:.1f}",
    "Words, 1 %": f"{found.words.low:.0f}",
    "Words, median": f"{found.words.median:.0f}",
    "Words, 99 %": f"{found.words.high:.0f}",
    "Clips without a caption": _share(found.empty, 1),
    "Captions that an earlier clip has too": _share(found.repeated, 1),
    "Captions with a word for the camera": _share(found.camera, 1),
    "Distinct words in 10,000": f"{found.distinct:,.0f}",
    "Distinct triples of words in 10,000": f"{found.triples:,.0f}",
  }
  rows = [row(name, [value]) for name, value in facts.items()]
  first = [row(words, [f"{count:,}"]) for words, count in found.first]
  content = [
    table([_head("Figure", "Value")], rows, "Captions of clips that are kept"),
    _faults(told),
    _by_length(kept),
    table([_head("Words", "Captions")], first, "The most frequent beginnings"),
  ]
  yield section("Captions", *content)


def _faults(told: Sequence[Clip]) -> Element:
  """Returns the shares of captions with each fault."""
  found, left = collections.Counter(), collections.Counter()
  for clip in told:
    faults = faults_of(clip)
    found.update(faults)
    left.update(faults if clip.decision is None else ())
  rows = []
  for fault, words in IN_WORDS.items():
    counts = [f"{found[fault]:,}", f"{left[fault]:,}"]
    rows.append(row(fault, [_share(found[fault], len(told)), *counts, words]))
    rows[-1][-1].set("class", "words")
  head = _head("Fault", "Share", "Captions", "Kept with it", "The caption")
  return table([head], rows, f"Faults of {len(told):,} captions, after a second try")


def _by_length(kept: Sequence[Clip]) -> Element:
  """Returns how many words the captions of short and of long clips have."""
  told = [clip for clip in kept if clip.caption]
  seconds = np.array([clip.seconds for clip in told])
  counts = np.array([len(statistics.words(clip.caption)) for clip in told])
  edges = statistics.round_edges(seconds, 6)
  places = np.clip(np.searchsorted(edges, seconds, "right") - 1, 0, len(edges) - 2)
  rows = []
  for k in range(len(edges) - 1):
    here = counts[places == k]
    if len(here):
      name = f"{edges[k]:g} to {edges[k + 1]:g} s"
      rows.append(row(name, [f"{len(here):,}", f"{here.mean():.1f}"]))
  return table([_head("Length", "Clips", "Mean words")], rows, "Words by length")


def _galleries(selection: Selection) -> Iterator[Gallery]:
  """Yields what is kept, and for each rule what it drops, next to what it keeps."""
  kept = selection.kept
  rules = {rule.name: rule for rule in selection.filters}
  if len(kept):
    shown = [Shown(c, c.caption) for c in map(selection.clip, some(kept))]
    yield Gallery("Clips that are kept", "Kept", shown, len(kept))
  for number, step in enumerate(selection.steps):
    if not step.dropped:
      continue
    rule, place = rules.get(step.rule), f"Rule: {step.rule}"
    measure = rule.measure if isinstance(rule, Threshold) else None
    values = selection.table.measure(measure) if measure else None
    chosen = some(np.flatnonzero(selection.dropped == number), values)
    yield Gallery(place, "Dropped", _dropped(selection, chosen), step.dropped)
    # What other rules keep is in the gallery of all that is kept.
    if measure and len(kept):
      shown = [
        Shown(selection.clip(k), f"{measure} {values[k]:g}") for k in some(kept, values)
      ]
      yield Gallery(place, f"Kept, by {measure}", shown, len(kept))


def _dropped(selection: Selection, places: Sequence[int]) -> list[Shown]:
  """Returns clips with why they are dropped, next to those that are kept instead."""
  clips = [selection.clip(place) for place in places]
  wanted = {c.decision.value for c in clips if c.decision.reason == "duplicate"}
  ids = selection.table.ids
  others = {ids[k]: selection.clip(k) for k in range(len(ids)) if ids[k] in wanted}
  return [_with_reason(clip, others) for clip in clips]


def _with_reason(clip: Clip, others: Mapping[str, Clip]) -> Shown:
  """Returns a clip with why it is dropped, next to the one that is kept instead."""
  decision = clip.decision
  value = decision.value
  if decision.reason == "duplicate" and value in others:
    other = others[value]
    return Shown(clip, f"dropped, {_size(clip)}", (other, f"kept, {_size(other)}"))
  said = value if isinstance(value, str) else f"{value:g}"
  if decision.threshold is not None:
    said += f", threshold {decision.threshold:g}"
  words = f"{decision.reason}: {said}"
  return Shown(clip, f"{words}. {clip.caption}" if clip.caption else words)


def _size(clip: Clip) -> str:
  width, height = clip.size
  return f"{width}x{height}, {clip.seconds:.1f} s"
