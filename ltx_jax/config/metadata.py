"""Frozen dataclasses and the JSON objects in a checkpoint's `config` metadata.

Fields have the names of the metadata's keys, so that reading and writing is mechanical.
Keys that this code does not use are kept in a field `extra` and written back.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from ltx_jax.errors import shown

COUNT = {"at_least": 1, "whole": True}
SIZE = COUNT | {"at_most": 1_000_000}
LAYERS = COUNT | {"at_most": 1000}
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
    raise ValueError(f"{config} has {key} = {shown(value)}; this code runs {options}.")


_WORDS = {
  int: "a whole number",
  float: "a number",
  bool: "true or false",
  str: "a text",
  types.NoneType: "null",
}


def checked(name: str, value: Any, kind: Any) -> Any:
  """Returns a value of a JSON file as the type of a field.

  Args:
    name: Name of the field in error messages.
    value: The value, frozen.
    kind: Type of the field: a plain type, a union, or `tuple[type, ...]`.

  Raises:
    ValueError: If the value has another type.
  """
  kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
  if float in kinds and type(value) is int and abs(value) < 2**1000:
    return float(value)  # JSON files write 1000 for 1000.0.
  for each in kinds:
    if typing.get_origin(each) is tuple and isinstance(value, tuple):
      return tuple(checked(name, item, typing.get_args(each)[0]) for item in value)
  plain = tuple(each for each in kinds if isinstance(each, type))
  if isinstance(value, plain) and (bool in plain or not isinstance(value, bool)):
    return value
  words = " or ".join(_WORDS.get(k, "a list") for k in kinds)
  raise ValueError(f"{name} is {shown(thaw(value))}; it must be {words}.")


_Config = TypeVar("_Config", bound="Metadata")


class Metadata:
  """Reading and writing the JSON objects of a checkpoint's `config` metadata."""

  CALLED: ClassVar[str] = "config"
  """Prefix of a field's name in error messages."""

  # The original's defaults, if they differ from the fields'.
  DEFAULTS: ClassVar[dict[str, Any]] = {}

  @classmethod
  def from_metadata(cls: type[_Config], metadata: Mapping[str, Any]) -> _Config:
    """Builds the config from one JSON object of a checkpoint's metadata.

    Raises:
      ValueError: If the original would use an option that no released checkpoint
        selects; the message names key and value.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    fields.pop("extra")
    known = {k: freeze(v) for k, v in metadata.items() if k in fields}
    extra = tuple((k, freeze(v)) for k, v in metadata.items() if k not in fields)
    for key, value in known.items():
      known[key] = checked(f"{cls.CALLED}.{key}", value, fields[key])
    return cls(**{**cls.DEFAULTS, **known}, extra=extra)

  def to_metadata(self) -> dict[str, Any]:
    """Returns the JSON object, including keys that this code does not use."""
    fields = {f.name: thaw(getattr(self, f.name)) for f in dataclasses.fields(self)}
    fields.pop("extra")
    return fields | {k: thaw(v) for k, v in self.extra}
