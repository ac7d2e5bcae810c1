"""The contents of a run's folder: numbers over steps, config, last sign of life."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.files import NotJSON, parse_json, read_text
from train.harness.reporting import (
  CONFIG_FILE,
  EVALUATION_FILE,
  METRICS_FILE,
  is_step,
  read_metrics,
)

HELD_OUT = "held_out/"
"""Prefix of the names of held-out numbers."""

# Every run has its own.
_NOT_COMPARED = ("output.folder",)


class Series(NamedTuple):
  """A number over ascending steps; it may be nan or infinite."""

  steps: Int[np.ndarray, "s"]
  values: Float[np.ndarray, "s"]

  def finite(self) -> Series:
    """Drops values that are not finite."""
    kept = np.isfinite(self.values)
    return Series(self.steps[kept], self.values[kept])


@dataclasses.dataclass(frozen=True)
class Record:
  """One run.

  Attributes:
    label: Unique label on the page.
    config: Its config; {} if the folder has none.
    series: Its numbers by name; those of held-out clips start with `held_out/`.
    logged: When it last logged.
  """

  label: str
  folder: Path
  config: dict[str, Any]
  series: dict[str, Series]
  logged: datetime.datetime


def read(folders: Sequence[Path]) -> list[Record]:
  """Reads runs, each once.

  Raises:
    ValueError: If one has logged nothing, or its config is not JSON.
  """
  folders = list({folder.resolve(): folder for folder in folders}.values())
  return [_read(*pair) for pair in zip(folders, _labels(folders), strict=True)]


def _labels(folders: Sequence[Path]) -> list[str]:
  """Returns the ends of the paths, as short as is unambiguous."""
  parts = [folder.resolve().parts for folder in folders]
  for count in range(1, max(map(len, parts)) + 1):
    labels = ["/".join(each[-count:]) for each in parts]
    if len(set(labels)) == len(labels):
      break
  return labels


def _read(folder: Path, label: str) -> Record:
  series = series_of(read_metrics(folder))
  if not series:
    raise ValueError(
      f"{folder} has no curves: a run's folder has a {METRICS_FILE} in which some step "
      "has a number."
    )
  held_out = series_of(read_metrics(folder, EVALUATION_FILE))
  series |= {HELD_OUT + name: found for name, found in held_out.items()}
  seconds = (folder / METRICS_FILE).stat().st_mtime
  logged = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return Record(label, folder, _config(folder), series, logged)


def _config(folder: Path) -> dict[str, Any]:
  path = folder / CONFIG_FILE
  if not path.exists():
    return {}
  try:
    config = parse_json(read_text(path))
  except NotJSON as error:
    raise ValueError(
      f"{path} is not JSON ({error}); remove it, or restore what the run wrote."
    ) from None
  return config if isinstance(config, dict) else {}


def series_of(rows: Iterable[Any]) -> dict[str, Series]:
  """Returns each number of logged rows over their steps, by name.

  If the steps go back, the run was resumed: what it had logged from there on is
  dropped, as the trainer itself does.
  """
  kept: list[dict[str, Any]] = []
  for row in rows:
    if not is_step(row):
      continue
    while kept and kept[-1]["step"] >= row["step"]:
      kept.pop()
    kept.append(row)
  points: dict[str, list[tuple[float, float]]] = {}
  for row in kept:
    for name, value in row.items():
      if name != "step" and _is_number(value):
        points.setdefault(name, []).append((row["step"], value))
  return {name: _series(found) for name, found in points.items()}


def _series(points: list[tuple[float, float]]) -> Series:
  steps, values = zip(*points, strict=True)
  return Series(np.array(steps, np.int64), np.array(values, np.float64))


def _is_number(value: Any) -> bool:
  whole = isinstance(value, int) and abs(value) < 2**1000  # A float holds no more.
  return isinstance(value, float) or (whole and not isinstance(value, bool))


def flattened(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
  """Returns the leaves of a config as text, by their dotted names."""
  leaves = {}
  for name, value in config.items():
    if isinstance(value, dict):
      leaves |= flattened(value, f"{prefix}{name}.")
    else:
      text = value if isinstance(value, str) else json.dumps(value)
      leaves[prefix + name] = text
  return leaves


def differences(records: Sequence[Record]) -> dict[str, list[str]]:
  """Returns what differs between the configs of runs: each value, "" for none."""
  leaves = [flattened(record.config) for record in records]
  names = dict.fromkeys(name for each in leaves for name in each)
  rows = {name: [each.get(name, "") for each in leaves] for name in names}
  return {
    name: values
    for name, values in rows.items()
    if len(set(values)) > 1 and name not in _NOT_COMPARED
  }
