"""Frozen dataclasses and the JSON objects in a checkpoint's `config` metadata.

Fields have the names of the metadata's keys, so that reading and writing is mechanical.
Keys that this code does not use are kept in a field `extra` and written back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

COUNT = {"at_least": 1, "whole": True}
POSITIVE = {"above": 0}
"""Bounds of numbers in configs, as arguments of `errors.check_number`."""


def freeze(value: Any) -> Any:
  """Turns JSON values into hashable ones: lists to tuples, dicts to item tuples."""
  if isinstance(value, Mapping):
    return ("__dict__", tuple((k, freeze(v)) for k, v in value.items()))
  if isinstance(value, list | tuple):
    return tuple(freeze(v) for v in value)
  return value


def thaw(value: Any) -> Any:
  """Inverts `freeze`; tuples become lists."""
  if isinstance(value, tuple):
    if len(value) == 2 and value[0] == "__dict__":
      return {k: thaw(v) for k, v in value[1]}
    return [thaw(v) for v in value]
  return value


def require(config: str, key: str, value: Any, allowed: tuple) -> None:
  """Refuses an option that this code does not support.

  Raises:
    ValueError: If the value is not allowed; the message names config, key and value.
  """
  if value not in allowed:
    options = ", ".join(repr(a) for a in allowed)
    raise ValueError(f"{config} has {key} = {value!r}; this code runs {options}.")


_Config = TypeVar("_Config", bound="Metadata")


class Metadata:
  """Reading and writing the JSON objects of a checkpoint's `config` metadata."""

  # The original's defaults, if they differ from the fields'.
  DEFAULTS: ClassVar[dict[str, Any]] = {}

  @classmethod
  def from_metadata(cls: type[_Config], metadata: Mapping[str, Any]) -> _Config:
    """Builds the config from one JSON object of a checkpoint's metadata.

    Raises:
      ValueError: If the original would use an option that no released checkpoint
        selects; the message names key and value.
    """
    types = {f.name: str(f.type) for f in dataclasses.fields(cls) if f.name != "extra"}
    known = {k: freeze(v) for k, v in metadata.items() if k in types}
    extra = tuple((k, freeze(v)) for k, v in metadata.items() if k not in types)
    for key, value in known.items():
      if types[key].startswith("float") and type(value) is int:
        known[key] = float(value)  # JSON files write 1000 for 1000.0.
    return cls(**{**cls.DEFAULTS, **known}, extra=extra)

  def to_metadata(self) -> dict[str, Any]:
    """Returns the JSON object, including keys that this code does not use."""
    fields = {f.name: thaw(getattr(self, f.name)) for f in dataclasses.fields(self)}
    fields.pop("extra")
    return fields | {k: thaw(v) for k, v in self.extra}
