"""Assigns every logged number to a panel, grouped by the questions of a reader.

Names of held-out numbers are `BUCKET/NAME`, or `NAME` for all buckets
(`harness.evaluation`), and the losses by band of noise `loss_sigma_LOW_HIGH`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from train.page.record import HELD_OUT, Record, Series

Best = Literal["lowest", "highest"]


class Kind(NamedTuple):
  """How a number is shown.

  Attributes:
    title: Title of the panel.
    log: Whether its axis is logarithmic if its values allow it.
    percent: Whether it is a share.
    best: Which of its values is the best one; None if undefined.
    scatters: Whether it scatters from step to step in training.
  """

  title: str
  log: bool = False
  percent: bool = False
  best: Best | None = None
  scatters: bool = True


_LOSS = Kind("Loss", log=True, best="lowest")
_MEASURES = {
  "loss": _LOSS,
  "psnr": Kind("PSNR, dB", best="highest"),
  "mse": Kind("Mean squared error", log=True, best="lowest"),
  "wavelet": Kind("Wavelet loss", log=True, best="lowest"),
  "kl": Kind("KL divergence"),
}
_TRAINING = {
  "Does it learn?": _MEASURES,
  "Is it stable?": {
    "grad_norm": Kind("Norm of the gradients", log=True),
    "learning_rate": Kind("Learning rate", scatters=False),
    "skipped": Kind("Updates skipped", percent=True),
    "latent_std_max": Kind("Largest std of a latent channel"),
    "latent_std_min": Kind("Smallest std of a latent channel"),
  },
  "How fast is it?": {
    "steps_per_second": Kind("Steps a second", best="highest"),
    "clips_per_second": Kind("Clips a second", best="highest"),
    "tokens_per_second": Kind("Tokens a second", best="highest"),
    "utilisation": Kind("Utilisation of the devices", percent=True, best="highest"),
    "data_wait": Kind("Time spent waiting for data", percent=True),
    "seconds": Kind("Seconds since the run began", scatters=False),
  },
}
_HELD_OUT_TITLE = "Held-out clips"
_OTHERS = "Others"


class Panel(NamedTuple):
  """One number of all runs.

  Attributes:
    kind: How it is shown.
    lines: Its values in each run; None if a run has none.
    smoothed: Whether a running mean is shown.
  """

  kind: Kind
  lines: list[Series | None]
  smoothed: bool


class Group(NamedTuple):
  """Panels under one heading; `more` are those that few readers need."""

  title: str
  panels: list[Panel]
  more: list[Panel]


def groups(records: Sequence[Record]) -> list[Group]:
  """Sorts all numbers of runs into panels; headings without panels are left out."""
  names = dict.fromkeys(name for record in records for name in record.series)
  training = [name for name in names if not name.startswith(HELD_OUT)]
  found, known = [], set()
  for title, kinds in _TRAINING.items():
    shown = [name for name in kinds if name in training]
    known |= set(shown)
    panels = [_panel(records, name, kinds[name]) for name in shown]
    found.append(Group(title, panels, []))
  held_out = [name.removeprefix(HELD_OUT) for name in names if name not in training]
  found.insert(1, _held_out(records, held_out))
  rest = [_panel(records, n, Kind(n)) for n in training if n not in known]
  found.append(Group(_OTHERS, rest, []))
  return [group for group in found if group.panels]


def _panel(records: Sequence[Record], name: str, kind: Kind) -> Panel:
  lines = [record.series.get(name) for record in records]
  return Panel(kind, lines, smoothed=kind.scatters)


def _held_out(records: Sequence[Record], names: Iterable[str]) -> Group:
  """Returns the means over buckets, each bucket's loss, and in `more` all the rest."""
  names = list(names)
  panels, more, by_name = [], [], {}
  for name in names:
    *bucket, last = name.rsplit("/", 1)
    if bucket:
      by_name.setdefault(last, []).append(*bucket)
    else:
      panels.append(_plain(records, name, _kind(name)))
  known = [name for name in _MEASURES if name in by_name]
  for name, buckets in {n: by_name[n] for n in [*known, *by_name]}.items():
    kind = _kind(name)
    each = [
      _plain(records, f"{b}/{name}", kind._replace(title=f"{kind.title}, {b}"))
      for b in buckets
    ]
    several = len(buckets) > 1
    if name == "loss":  # Its mean has a name of its own.
      panels += each if several or name not in names else []
      continue
    means = [_mean(record, name, buckets) for record in records]
    panels += [Panel(kind, means, smoothed=False)] if any(means) else []
    more += each if several else []
  return Group(_HELD_OUT_TITLE, panels, more)


def _kind(name: str) -> Kind:
  if band := re.fullmatch(r"loss_sigma_([\d.]+)_([\d.]+)", name):
    return _LOSS._replace(title=f"Loss, sigma {band[1]} to {band[2]}")
  return _MEASURES.get(name, Kind(name))


def _plain(records: Sequence[Record], name: str, kind: Kind) -> Panel:
  lines = [record.series.get(HELD_OUT + name) for record in records]
  return Panel(kind, lines, smoothed=False)


def _mean(record: Record, name: str, buckets: Iterable[str]) -> Series | None:
  """Returns the mean over a run's buckets, at steps that all of them have."""
  found = [record.series.get(f"{HELD_OUT}{bucket}/{name}") for bucket in buckets]
  found = [series for series in found if series is not None]
  if not found:
    return None
  common = found[0].steps
  for series in found[1:]:
    common = np.intersect1d(common, series.steps)
  rows = [series.values[np.isin(series.steps, common)] for series in found]
  return Series(common, np.mean(rows, axis=0)) if len(common) else None


def best(kind: Kind, series: Series) -> tuple[int, float] | None:
  """Returns (step, value) of the best finite value, if the best is defined."""
  steps, values = series.finite()
  if kind.best is None or not len(values):
    return None
  at = int(np.argmin(values) if kind.best == "lowest" else np.argmax(values))
  return int(steps[at]), float(values[at])
