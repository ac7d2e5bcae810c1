"""Copies of six kinds among two thousand drawn clips, found by their codes.

A clip is three stills of a pan over a picture with detail of all sizes. A copy was
compressed again, halved, made brighter, shown at another rate, so that its stills are
of other moments, put into a letterbox, which `borders` takes off, or cropped by 5 %.
Others are cropped by more, each side's length for itself, and compressed again; they
are counted apart.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ltx_jax.curation import borders, details, duplicates, windows
from tests.curation.test_scenes import texture
from tests.verify.scenes import row

NAME = "Curation: copies of six kinds among two thousand clips"
COMMAND = "python -m tests.verify duplicates"

CLIPS, COPIES, NARROW = 2000, 500, 100
SIDE = 144, 256
Still = np.ndarray


def compressed(still: Still, rng: np.random.Generator) -> Still:
  """Compresses a still with a low quality."""
  buffer = io.BytesIO()
  Image.fromarray(still).save(buffer, "JPEG", quality=int(rng.integers(15, 40)))
  return np.asarray(Image.open(buffer))


def halved(still: Still, rng: np.random.Generator) -> Still:
  """Scales a still to half its size."""
  return np.asarray(Image.fromarray(still).resize((SIDE[1] // 2, SIDE[0] // 2)))


def brighter(still: Still, rng: np.random.Generator) -> Still:
  """Makes a still brighter or darker, with more or less contrast."""
  lit = still * rng.uniform(0.7, 1.2) + rng.uniform(-15, 15)
  return lit.round().clip(0, 255).astype(np.uint8)


def boxed(still: Still, rng: np.random.Generator) -> Still:
  """Puts a still into a letterbox, and takes that off again."""
  bar = int(rng.integers(8, 40))
  whole = np.pad(still, ((bar, bar), (0, 0), (0, 0)))
  lines = borders.profile(whole.max(-1))
  at = np.array([0])
  moments = (np.stack([part]) for part in lines)
  x, y, width, height = borders.crop(borders.Profiles(*moments, at))
  return whole[y : y + height, x : x + width]


def cropped(still: Still, rng: np.random.Generator) -> Still:
  """Cuts 5 % off each side's length."""
  y, x = (int(rng.integers(0, round(0.05 * n) + 1)) for n in SIDE)
  return still[y : y + round(0.95 * SIDE[0]), x : x + round(0.95 * SIDE[1])]


def narrow(least: float, most: float) -> Callable[[Still, np.random.Generator], Still]:
  """Returns what cuts off as much of the width, and of the height, anywhere."""

  def change(still: Still, rng: np.random.Generator) -> Still:
    cut = rng.uniform(least, most, 2)
    y, x = (rng.uniform(0, cut) * SIDE).round().astype(int)
    height, width = ((1 - cut) * SIDE).round().astype(int)
    return compressed(still[y : y + height, x : x + width], rng)

  return change


def as_it_is(still: Still, rng: np.random.Generator) -> Still:
  """Returns the still."""
  return still


KINDS: dict[str, tuple[Callable[[Still, np.random.Generator], Still], float]] = {
  "compressed again": (compressed, 0.0),
  "half the size": (halved, 0.0),
  "brighter or darker": (brighter, 0.0),
  "at another rate": (as_it_is, 2.0),
  "letterboxed": (boxed, 0.0),
  "cropped": (cropped, 0.0),
}
"""What is done to a copy's stills, and by how many pixels its moments are apart."""


NARROWER = {
  "cropped by 5 to 15 %": narrow(0.05, 0.15),
  "cropped by 15 to 25 %": narrow(0.15, 0.25),
}

Codes = tuple[np.ndarray, ...]


def codes_of(
  seed: int, change: Callable = as_it_is, moved: float = 0.0, copy: int = 0
) -> Codes:
  """Returns the hashes, the windows and the details of a clip's stills."""
  rng = np.random.default_rng([seed, copy])
  picture = texture(seed).clip(0, 255).astype(np.uint8)
  places = [int(at + moved * (copy > 0)) for at in (10, 50, 90)]
  stills = [picture[40 : 40 + SIDE[0], x : x + SIDE[1]] for x in places]
  shown = [change(still, rng)[None] for still in stills]
  kinds = duplicates.hashes, windows.windows, details.details
  return tuple(np.concatenate(list(map(kind, shown))) for kind in kinds)


def grouped(clips: list[Codes]) -> np.ndarray:
  """Returns the group of each clip, given in another order."""
  order = np.random.default_rng(1).permutation(len(clips))
  hashes, places, finer = (np.stack(codes)[order] for codes in zip(*clips, strict=True))
  crops = windows.cropped(places, duplicates.RULE.stills)
  found = np.empty(len(clips), int)
  found[order] = duplicates.groups(hashes, crops=crops, finer=finer)
  return found


def run() -> list[dict[str, Any]]:
  """Hides the copies, looks for them, and counts."""
  own = [codes_of(seed) for seed in range(CLIPS)]
  rng = np.random.default_rng(0)
  chosen = rng.choice(CLIPS, COPIES, replace=False)
  kinds = list(itertools.islice(itertools.cycle(KINDS), COPIES))
  copies = [
    codes_of(seed, *KINDS[kind], copy=1)
    for seed, kind in zip(chosen, kinds, strict=True)
  ]
  found = grouped([*own, *copies])
  hits = np.array([found[CLIPS + k] == found[seed] for k, seed in enumerate(chosen)])
  truth = np.concatenate([np.arange(CLIPS), chosen])
  pairs = _pairs(found)
  right = sum(truth[a] == truth[b] for a, b in pairs)
  precision = right / max(len(pairs), 1)
  names = np.array(kinds)
  rows = [
    row(
      f"of {COPIES} copies found", hits.mean(), "", "at least 0.95", hits.mean() >= 0.95
    ),
    row(
      "pairs that are copies, of those found",
      precision,
      "",
      "at least 0.99",
      precision >= 0.99,
    ),
    *(
      row(f"{kind}: found", hits[names == kind].mean(), "", "", True) for kind in KINDS
    ),
  ]
  for kind, change in NARROWER.items():
    seeds = rng.choice(CLIPS, NARROW, replace=False)
    found = grouped([*own, *(codes_of(seed, change, copy=2) for seed in seeds)])
    share = np.mean(found[CLIPS:] == found[seeds])
    rows.append(row(f"{kind} and compressed again: found", share, "", "", True))
  return rows


def _pairs(groups: np.ndarray) -> list[tuple[int, int]]:
  """Returns all pairs of clips that share a group."""
  order = np.argsort(groups, kind="stable")
  edges = np.flatnonzero(np.diff(groups[order])) + 1
  return [
    pair
    for members in np.split(order, edges)
    for pair in itertools.combinations(members.tolist(), 2)
  ]
