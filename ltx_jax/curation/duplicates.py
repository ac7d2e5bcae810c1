"""Near-duplicates: clips that show the same, encoded, scaled or lit differently.

A still is shrunk to 9 x 8 pixels of gray, and each of the 64 bits of its hash says
whether a pixel is brighter than its right neighbour. Encoding again, another size and
another brightness change few bits. A clip has the hashes of a few stills, at the same
parts of its length whatever its frame rate; two clips are the same if enough of them
differ by at most `bits`.

Not all pairs of 10^8 clips can be compared. Hashes that differ by 3 bits or less agree
in one of 4 bands of 16 bits, and most that differ by 5; clips that share a band of one
still are compared in all stills. Hashes of almost only zeros or ones, of images without
detail, say nothing. Stills that are the same by their hashes must not contradict each
other in finer ones (`details`), since the hash of a bright thing on a dark ground is
hardly more than its outline.

Crops change many bits. They are found by windows that a picture places itself
(`windows`), and by features of a network, if there are any: two clips are the same if
the cosine of their features is high, compared within the cells of k-means only.
Mirrored clips are other clips.

Result and choice do not depend on the order of the clips.

Source: the difference hash is that of N. Krawetz, "Kind of like that", 2013.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt64
from PIL import Image

from ltx_jax.curation import details
from ltx_jax.curation.details import Details

PARTS = (1 / 6, 1 / 2, 5 / 6)
"""Parts of a clip's length at which its stills are compared."""

_WIDE, _HIGH = 9, 8
_BANDS, _BAND = 4, 16
_STEPS = 10  # Of k-means.

Hashes = UInt64[np.ndarray, "clips stills"]
Features = Float[np.ndarray, "clips d"]
Pairs = tuple[np.ndarray, np.ndarray]


class DuplicateRule(NamedTuple):
  """Numbers of the rule.

  Attributes:
    bits: Largest number of bits in which hashes of the same still differ.
    stills: Least number of stills that are the same.
    plain: Hashes with fewer ones, or fewer zeros, say nothing.
    told: Least number of finer differences that are clear and the same in both stills,
      of 256. A plain disc has up to 78.
    contradict: Largest share of finer differences with another sign, of the clear ones.
    cosine: Least cosine of the features of clips that are the same.
    cell: Clips in a cell of k-means, about.
    crowd: Clips that a clip is compared with at most for one band, the nearest ones in
      the order of their hashes.
  """

  bits: int = 5
  stills: int = 2
  plain: int = 6
  told: int = 80
  contradict: float = 0.11
  cosine: float = 0.97
  cell: int = 1000
  crowd: int = 256


RULE = DuplicateRule()
"""The numbers that were measured."""


def hashes(stills: UInt8[np.ndarray, "n H W 3"]) -> UInt64[np.ndarray, "n"]:
  """Returns the hash of each still; borders are cut off before."""
  found = np.zeros(len(stills), np.uint64)
  for k, still in enumerate(stills):
    # Pillow averages over the area, so that detail leaves no trace.
    gray = Image.fromarray(still).convert("L")
    small = np.asarray(gray.resize((_WIDE, _HIGH), Image.Resampling.BOX), np.int16)
    bits = (small[:, :-1] > small[:, 1:]).ravel()
    found[k] = np.packbits(bits).view(">u8")[0]
  return found


def to_text(hashes: UInt64[np.ndarray, "n"]) -> tuple[str, ...]:
  """Returns hashes as a clip stores them."""
  return tuple(f"{value:016x}" for value in hashes.tolist())


def from_text(hashes: Sequence[str]) -> list[int]:
  """Returns the hashes that `to_text` wrote.

  Raises:
    ValueError: If one is no number of 64 bits in hexadecimal.
  """
  try:
    found = [int(value, 16) for value in hashes]
  except ValueError:
    found = [-1]
  if found and not 0 <= min(found) <= max(found) < 1 << 64:
    raise ValueError(
      f"hashes {list(hashes)[:3]} are not all numbers of 64 bits in hexadecimal"
    )
  return found


def groups(
  hashes: Hashes,
  rule: DuplicateRule = RULE,
  features: Features | None = None,
  crops: Pairs | None = None,
  finer: Details | None = None,
) -> Int[np.ndarray, "clips"]:
  """Returns a number for each clip that it shares with those that are the same.

  Args:
    hashes: Hashes of the stills of each clip.
    rule: Numbers of the rule.
    features: Features of each clip, if there are any.
    crops: Pairs of clips of which one is a cropped copy of the other, if these were
      looked for (`windows.cropped`).
    finer: Details of the same stills; without them hashes alone decide.
  """
  parents = np.arange(len(hashes))
  others = [(parents[:0], parents[:0])] if crops is None else [crops]
  pairs = [*others, *_same(hashes, rule, finer)]
  if features is not None:
    pairs += _alike(hashes, features, rule)
  one, other = map(np.concatenate, zip(*pairs, strict=True))
  # The smallest clip of a group reaches all others, twice as far with each turn.
  while True:
    low = np.minimum(parents[one], parents[other])
    before = parents.copy()
    for side in (parents[one], parents[other], one, other):
      np.minimum.at(parents, side, low)
    parents = parents[parents]
    if np.array_equal(parents, before):
      return parents


def _same(
  hashes: Hashes, rule: DuplicateRule, finer: Details | None
) -> Iterator[Pairs]:
  """Yields pairs of clips that are the same by their hashes, and by their details."""
  ones = np.bitwise_count(hashes)
  plain = (ones < rule.plain) | (ones > 64 - rule.plain)
  for still in range(hashes.shape[1]):
    for one, other in _candidates(hashes[:, still], ~plain[:, still], rule):
      near = np.bitwise_count(hashes[one] ^ hashes[other]) <= rule.bits
      near &= ~plain[one] & ~plain[other]
      same = near.sum(1) >= rule.stills
      one, other, near = one[same], other[same], near[same]
      if finer is not None:
        near &= details.agree(finer[one], finer[other], rule.told, rule.contradict)
      same = near.sum(1) >= rule.stills
      yield one[same], other[same]


def _candidates(
  hashes: UInt64[np.ndarray, "clips"],
  told: Bool[np.ndarray, "clips"],
  rule: DuplicateRule,
) -> Iterator[Pairs]:
  """Yields pairs of clips whose hashes share a band, among those that say something.

  Pairs whose hashes differ by more than twice the bits are left out at once: a copy
  seldom does so in one still only, and most pairs that share a band do.
  """
  clips = np.flatnonzero(told)
  for band in range(_BANDS):
    # The shared band in front, so that clips that share it are neighbours.
    first = np.uint64(band * _BAND)
    turned = (hashes[clips] << first) | (hashes[clips] >> (np.uint64(64) - first))
    turned = hashes[clips] if band == 0 else turned
    order = np.argsort(turned, kind="stable")
    near, places = turned[order], clips[order]
    key = (near >> np.uint64(64 - _BAND)).astype(np.uint16)
    for apart in range(1, min(rule.crowd, len(clips))):
      shared = key[:-apart] == key[apart:]
      if not shared.any():
        break
      shared &= np.bitwise_count(near[:-apart] ^ near[apart:]) <= 2 * rule.bits
      found = np.flatnonzero(shared)
      yield places[found], places[found + apart]


def _alike(hashes: Hashes, features: Features, rule: DuplicateRule) -> Iterator[Pairs]:
  """Yields pairs of clips whose features point the same way."""
  # In an order of their own, so that the cells do not depend on the order given.
  order = np.lexsort((*features.T[:4], *hashes.T))
  length = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
  unit = (features / length)[order].astype(np.float32)
  cells = _cells(unit, max(1, len(unit) // rule.cell))
  for cell in range(int(cells.max(initial=-1)) + 1):
    clips = np.flatnonzero((cells == cell).any(1))
    alike = np.triu(unit[clips] @ unit[clips].T >= rule.cosine, 1)
    one, other = np.nonzero(alike)
    yield order[clips[one]], order[clips[other]]


def _cells(unit: Features, count: int) -> Int[np.ndarray, "clips 2"]:
  """Returns the two nearest of a number of means for each clip, by k-means."""
  if count < 2:
    return np.zeros((len(unit), 2), np.int64)
  means = unit[np.linspace(0, len(unit) - 1, count).astype(int)]
  for _ in range(_STEPS):
    nearest = (unit @ means.T).argmax(1)
    sums = np.zeros_like(means)
    np.add.at(sums, nearest, unit)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    means = np.where(length > 0, sums / np.maximum(length, 1e-12), means)
  # Two, because a copy may lie on the other side of a border.
  return np.argpartition(-(unit @ means.T), 1, axis=1)[:, :2]


def chosen(
  groups: Int[np.ndarray, "clips"],
  measures: Sequence[Int[np.ndarray, "clips"] | Float[np.ndarray, "clips"]],
  ids: Sequence[str],
) -> Bool[np.ndarray, "clips"]:
  """Says for each clip whether it is the one of its group that is kept.

  That is the one with the largest first measure, then with the largest second one, and
  so on, then the one with the smallest id.

  Args:
    groups: Result of `groups`.
    measures: Numbers of each clip, the first ones before the others.
    ids: Their ids.
  """
  ranks = np.argsort(np.argsort(np.array(ids, object), kind="stable"), kind="stable")
  order = np.lexsort((ranks, *(-each for each in reversed(measures)), groups))
  kept = np.zeros(len(groups), bool)
  _, first = np.unique(groups[order], return_index=True)
  kept[order[first]] = True
  return kept
