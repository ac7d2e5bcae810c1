"""Writes the results of a study: numbers, a page, a drawing, and votes for others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltx_jax.data import partial
from train.evaluate.study.ballots import Row
from train.evaluate.study.tally import Cast
from train.page import study as pages

COLUMNS = (
  *("vote", "rater", "trial", "kind", "item", "left", "right", "choice", "good"),
  *("shown", "answered", "plays", "seconds", "screen"),
)


def write(folder: Path, cast: Cast, found: Mapping[str, Any]) -> list[Path]:
  """Writes all files of results, and returns their paths.

  Args:
    folder: Folder of the results; it is created if it does not exist.
    cast: All answers.
    found: What `results.results` returns.
  """
  folder.mkdir(parents=True, exist_ok=True)
  files = {
    "results.json": json.dumps(found, indent=2, allow_nan=False).encode() + b"\n",
    "results.html": pages.page(found),
    "results.md": pages.markdown(found).encode(),
    "results.svg": pages.plot(found),
    "votes.csv": table_of(cast.rows).encode(),
  }
  for name, content in files.items():
    partial.write_bytes(folder / name, content)
  return [folder / name for name in files]


def table_of(rows: Sequence[Row]) -> str:
  """Returns answers as comma-separated values, checks among them."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(COLUMNS)
  for row in rows:
    writer.writerow([_cell(row.get(name)) for name in COLUMNS])
  return text.getvalue()


def _cell(value: Any) -> Any:
  """Returns a value that no program for tables takes for a formula."""
  if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
    return f"'{value}"
  return "" if value is None else value
