"""Statistics of a training set: lengths of clips, words of captions, histograms.

The paper shows two figures of its data: words per caption, and lengths of clips. Both
are a `Histogram` here, and all else is plain numbers, for a page or a terminal to show.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Values = Float[np.ndarray, "n"] | Int[np.ndarray, "n"] | Sequence[float]
Edges = Float[np.ndarray, "edges"] | Sequence[float]

CAMERA = frozenset(
  "camera pan pans panning zoom zooms zooming tilt tilts tilting dolly tracking".split()
)
"""Words that say what the camera does."""

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_FIRST, _SHOWN = 5, 10


class Summary(NamedTuple):
  """What values are like.

  Attributes:
    count: How many there are.
    mean: Their mean; 0 without values, as all others.
    deviation: Their standard deviation.
    low: Value that 1 % lie below.
    median: Value in the middle.
    high: Value that 1 % lie above.
  """

  count: int
  mean: float
  deviation: float
  low: float
  median: float
  high: float


class Histogram(NamedTuple):
  """Numbers of values between edges.

  Attributes:
    edges: Edges of the bins, ascending, one more than there are bins.
    counts: Number of values in each; the last bin has its upper edge too.
  """

  edges: Float[np.ndarray, "bins+1"]
  counts: Int[np.ndarray, "bins"]


class Captions(NamedTuple):
  """What captions are like.

  Attributes:
    words: Words per caption.
    empty: Share of clips without a caption.
    repeated: Share of captions that an earlier clip has too.
    distinct: Distinct words in 10,000 words.
    triples: Distinct triples of words in 10,000 words.
    camera: Share of captions with a word of `CAMERA`.
    first: The most frequent beginnings of five words, with their numbers.
  """

  words: Summary
  empty: float
  repeated: float
  distinct: float
  triples: float
  camera: float
  first: list[tuple[str, int]]


def summary(values: Values) -> Summary:
  """Returns what values are like."""
  values = np.asarray(values, np.float64)
  if not len(values):
    return Summary(0, *[0.0] * 5)
  parts = np.percentile(values, [1, 50, 99]).tolist()
  return Summary(len(values), float(values.mean()), float(values.std()), *parts)


def histogram(values: Values, edges: Edges) -> Histogram:
  """Counts values between edges; what lies outside is counted in the outer bins."""
  edges = np.asarray(edges, np.float64)
  inside = np.clip(np.asarray(values, np.float64), edges[0], edges[-1])
  return Histogram(edges, np.histogram(inside, edges)[0].astype(np.int64))


def round_edges(values: Values, bins: int = 20) -> Float[np.ndarray, "edges"]:
  """Returns edges at round numbers that cover all values, about as many as asked."""
  values = np.asarray(values, np.float64)
  low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
  rough = max(high - low, abs(high) * 1e-6, 1e-9) / bins
  unit = 10.0 ** np.floor(np.log10(rough))
  step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= rough * (1 - 1e-9))
  first, last = np.floor(low / step), np.floor(high / step) + 1
  return np.round(np.arange(first, last + 1) * step, 12)


def words(caption: str) -> list[str]:
  """Returns the words of a caption, in lower case."""
  return _WORD.findall(caption.lower())


def of_captions(captions: Iterable[str]) -> Captions:
  """Returns what captions are like, over all clips."""
  lengths: list[int] = []
  vocabulary, triples = set(), set()
  seen: set[str] = set()
  starts: collections.Counter[str] = collections.Counter()
  empty = repeated = camera = 0
  for caption in captions:
    said = words(caption)
    lengths.append(len(said))
    if not said:
      empty += 1
      continue
    repeated += caption in seen
    seen.add(caption)
    vocabulary.update(said)
    triples.update(zip(said, said[1:], said[2:], strict=False))
    camera += not CAMERA.isdisjoint(said)
    starts[" ".join(said[:_FIRST])] += 1
  total, count = max(sum(lengths), 1), max(len(lengths), 1)
  told = max(count - empty, 1)
  # Equal numbers in the order of the words, whatever the order of the clips.
  first = sorted(starts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
  return Captions(
    summary(lengths),
    empty / count,
    repeated / told,
    1e4 * len(vocabulary) / total,
    1e4 * len(triples) / total,
    camera / told,
    first,
  )


def table(found: Histogram, unit: str, width: int = 40) -> str:
  """Returns a histogram as lines of text: range, number, and a bar."""
  largest = max(int(found.counts.max(initial=0)), 1)
  ranges = [
    f"{a:g} to {b:g}" for a, b in zip(found.edges, found.edges[1:], strict=False)
  ]
  wide = max([len(unit), *map(len, ranges)])
  digits = max(len(f"{largest:,}"), len("clips"))
  lines = [f"{unit:<{wide}}  {'clips':>{digits}}"]
  for name, count in zip(ranges, found.counts.tolist(), strict=True):
    bar = "#" * (-(-count * width // largest))
    lines.append(f"{name:<{wide}}  {count:>{digits},}  {bar}".rstrip())
  return "\n".join(lines)
