"""Figures of many clips: chosen evenly, summed up, and laid out as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from ltx_jax.moving_shapes.judge import Judgement

WORDS = ("color", "shape", "direction", "size", "background")


def spread(captions: Sequence[str], count: int) -> list[str]:
  """Returns `count` captions spread evenly over a list, repeated if it is too short.

  Raises:
    ValueError: If `count` is below 1.
  """
  if count < 1:
    raise ValueError(f"At least 1 clip is needed, found {count}.")
  stride = max(1.0, len(captions) / count)
  return [captions[int(i * stride) % len(captions)] for i in range(count)]


def decibels(figures: Sequence[float]) -> dict[str, float]:
  """Summarises the PSNR of clips: the mean, the PSNR of the mean error, the lowest."""
  with np.errstate(divide="ignore"):  # A clip without any error has infinite PSNR.
    pooled = -10 * np.log10(np.mean(10 ** (-np.asarray(figures) / 10)))
  return {"mean": np.mean(figures), "pooled": pooled, "lowest": np.min(figures)}


def shares(agreements: Sequence[dict[str, bool]]) -> dict[str, float]:
  """Returns the share of clips in which each word is right, and in which all five are.

  What else the clips were compared in stands at the end, each by its name.
  """
  others = [name for name in agreements[0] if name not in WORDS]
  mean = {n: np.mean([a[n] for a in agreements]) for n in (*WORDS, *others)}
  five = np.mean([all(a[word] for word in WORDS) for a in agreements])
  return {word: mean.pop(word) for word in WORDS} | {"all five": five} | mean


def told_wrong(judgement: Judgement, caption: str) -> str:
  """Says which words the judge read differently; "" if it agrees."""
  agreement = judgement.agreement(caption)
  words = [w for w in WORDS if not agreement[w]]
  return ", ".join(f"{word} {getattr(judgement, word) or 'unclear'}" for word in words)


def rows_of(side: dict[str, Any]) -> dict[str, float]:
  """Flattens {"psnr": {"mean": 30.0}} to {"psnr, mean": 30.0}."""
  rows = {}
  for name, value in side.items():
    values = value if isinstance(value, dict) else {"": value}
    rows |= {f"{name}, {key}" if key else name: x for key, x in values.items()}
  return rows


def table(results: dict[str, dict[str, Any]]) -> Table:
  """Makes a table with one figure per row and its subjects in the columns."""
  sides = {name: rows_of(side) for name, side in results.items()}
  out = Table("", *sides)
  for row in dict.fromkeys(row for side in sides.values() for row in side):
    style = "{:.1%}" if row.startswith("judged right") else "{:.2f}"
    cells = [style.format(side[row]) if row in side else "" for side in sides.values()]
    out.add_row(row, *cells)
  return out
