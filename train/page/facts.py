"""The facts of a run's config that readers want to know first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from train.page.record import Record


def of(record: Record) -> dict[str, str]:
  """Returns facts by name, always the same names; "" if the config does not say it."""
  config = record.config
  stages = [stage for stage in _list(config.get("stages")) if isinstance(stage, dict)]
  optimizer, output = (_dict(config.get(n)) for n in ("optimizer", "output"))
  facts = {
    "Folder": str(record.folder),
    "Name": config.get("name"),
    "Steps": _steps(record, stages),
    "Time": _time(record),
    "Last logged": f"{record.logged:%Y-%m-%d %H:%M} UTC",
    "Data": _joined(_list(config.get("data"))),
    "Buckets": _joined(dict.fromkeys(_bucket(b) for s in stages for b in _buckets(s))),
    "Tokens a batch": _joined(dict.fromkeys(s.get("tokens") for s in stages)),
    "Optimiser": _joined(map(optimizer.get, ("name", "schedule"))),
    "Learning rate": _rate(optimizer),
    "Mesh": _joined(f"{axis} {n}" for axis, n in _dict(config.get("mesh")).items()),
    "Computed in": config.get("dtype"),
    "Begun from": config.get("init_from"),
    "Seed": config.get("seed"),
    "Logged every": output.get("log_every"),
  }
  return {name: "" if value is None else str(value) for name, value in facts.items()}


def _dict(value: Any) -> Mapping[str, Any]:
  return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
  return value if isinstance(value, list) else []


def _joined(values: Any) -> str:
  return ", ".join(str(value) for value in values if value not in (None, ""))


def _rate(optimizer: Mapping[str, Any]) -> str:
  rate = _joined([optimizer.get("learning_rate")])
  if optimizer.get("name") == "muon":
    return f"{optimizer.get('muon_learning_rate')} by Muon, {rate} by AdamW"
  return rate


def _steps(record: Record, stages: Sequence[Mapping[str, Any]]) -> str:
  last = max(int(series.steps[-1]) for series in record.series.values())
  planned = sum(stage.get("steps", 0) for stage in stages)
  return f"{last} of {planned}" if planned else str(last)


def _time(record: Record) -> str:
  seconds = record.series.get("seconds")
  if seconds is None:
    return ""
  hours, minutes = divmod(round(float(seconds.values[-1]) / 60), 60)
  return f"{hours} h {minutes} min"


def _buckets(stage: Mapping[str, Any]) -> Sequence[Any]:
  return [bucket for bucket in _list(stage.get("buckets")) if isinstance(bucket, dict)]


def _bucket(bucket: Mapping[str, Any]) -> str:
  return "x".join(str(bucket.get(side)) for side in ("frames", "height", "width"))
