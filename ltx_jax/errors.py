"""Checks of numbers with clear messages, and messages for devices that lack memory."""

from __future__ import annotations

import contextlib
import math
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

FPS = (0.1, 240.0)
"""Smallest and largest number of frames per second."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 10
LESS = "ask for fewer frames, a smaller size, or fewer clips or prompts at a time"
"""What to do if memory runs out and no plan says what fits."""

_LONGEST = 120
"""Largest number of characters of a value in an error message."""


def check_number(
  name: str,
  value: Any,
  *,
  above: int | float | None = None,
  at_least: int | float | None = None,
  below: int | float | None = None,
  at_most: int | float | None = None,
  whole: bool = False,
) -> None:
  """Refuses a value that is not a number, not finite, or out of bounds.

  Args:
    name: Name of the option, as the user wrote it.
    value: Value of the option.
    whole: Whether it must be a whole number by its type.

  Raises:
    ValueError: If it is refused; the message has the name, the value and the bounds.
  """
  bounds = {
    "above": (above, lambda bound: value > bound),
    "at least": (at_least, lambda bound: value >= bound),
    "below": (below, lambda bound: value < bound),
    "at most": (at_most, lambda bound: value <= bound),
  }
  stated = {words: pair for words, pair in bounds.items() if pair[0] is not None}
  kinds = (int, np.integer) if whole else (int, float, np.number)
  # Python's own whole numbers are finite, however long; its truth values are none.
  good = type(value) is int or (
    isinstance(value, kinds) and type(value) is not bool and math.isfinite(value)
  )
  if good and all(holds(bound) for bound, holds in stated.values()):
    return
  must = [f"{words} {_plain(bound)}" for words, (bound, _) in stated.items()]
  must.append("whole" if whole else "a finite number") if whole or not must else None
  listed = " and ".join([", ".join(must[:-1]), must[-1]] if must[1:] else must)
  raise ValueError(f"{name} is {shown(value)}; it must be {listed}.")


def is_number(value: Any) -> bool:
  """Whether something is one number: no text, no truth value, no list."""
  if isinstance(value, bool | str | bytes) or np.ndim(value):
    return False
  try:
    float(value)
  except (TypeError, ValueError):
    return False
  return True


def shown(value: Any) -> str:
  """What was given, in a few letters."""
  if isinstance(value, np.generic | float | int) and not isinstance(value, bool):
    text = str(value)
    return text if len(text) <= 60 else f"{text[:20]}... ({len(text)} digits)"
  if hasattr(value, "shape") and hasattr(value, "dtype"):
    return f"an array of shape {tuple(value.shape)} and type {value.dtype}"
  if isinstance(value, type):
    return value.__name__
  if isinstance(value, str | bytes | list | tuple | dict | bool | None):
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= 120 else f"{text[:120]}..."
  return f"of type {type(value).__name__}"


def check_kind(
  name: str, value: Any, kinds: type | tuple[type, ...], what: str
) -> None:
  """Refuses what is of another kind than a function takes.

  Args:
    name: Name of the argument.
    value: What was given.
    kinds: What it may be.
    what: What to give, in words.

  Raises:
    ValueError: with the name, what was given, and what to give.
  """
  if not isinstance(value, kinds):
    raise ValueError(f"{name} is {shown(value)}; give {what}.")


def said(error: BaseException) -> str:
  """Returns the message of a library's error, on one line and shortened."""
  text = getattr(error, "strerror", None) or str(error) or type(error).__name__
  words = " ".join(str(text).split()).rstrip(".")
  return words if len(words) <= 2 * _LONGEST else f"{words[: 2 * _LONGEST]}..."


def check_fields(
  config: Any, bounds: Mapping[str, Mapping[str, Any]], name: str = "{}"
) -> None:
  """Checks the numbers in the fields of a dataclass, also in tuples; None is allowed.

  Args:
    config: The dataclass.
    bounds: Arguments of `check_number` by the name of the field.
    name: Template for the name of a field in messages; `{}` is the field's own name.

  Raises:
    ValueError: If `check_number` refuses a value.
  """
  for field, limits in bounds.items():
    value = getattr(config, field)
    for number in value if isinstance(value, tuple) else (value,):
      if number is not None:
        check_number(name.format(field), number, **limits)


def check_seed(seed: Any) -> None:
  """Checks a seed.

  Raises:
    ValueError: If it is not a whole number in the range that JAX reads.
  """
  check_number("seed", seed, at_least=0, below=2**32, whole=True)


def check_fps(fps: Any) -> None:
  """Checks a number of frames per second.

  Raises:
    ValueError: If it is out of bounds.
  """
  rate = float(fps) if is_number(fps) else fps
  check_number("fps", rate, at_least=FPS[0], at_most=FPS[1])


def _plain(bound: int | float) -> str:
  return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


class OutOfMemory(ValueError):
  """Memory ran out, although the plan said that there was enough.

  Attributes:
    what: The work for which memory was too small.
  """

  def __init__(self, what: str, remedy: str = LESS):
    super().__init__(f"There was not enough memory for {what}; {remedy.rstrip('.')}.")
    self.what = what


@contextlib.contextmanager
def memory_in_words(what: str, remedy: str = LESS) -> Iterator[None]:
  """Reports what there was not enough memory for, if memory runs out inside.

  Work that is dispatched inside may fail only where its results are waited for, so that
  place needs this context too.

  Args:
    what: The stage and its shapes, such as "decoding latents of shape (1, 2, 3, 3, 8)".
    remedy: What to do about it.

  Raises:
    OutOfMemory: If memory runs out; it replaces the device's own error.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise OutOfMemory(what, remedy) from error


@contextlib.contextmanager
def remedy_for_memory(remedy: str) -> Iterator[None]:
  """Replaces what a message about memory inside says to do.

  Raises:
    OutOfMemory: If memory runs out inside; it has this remedy.
  """
  try:
    yield
  except OutOfMemory as error:
    raise OutOfMemory(error.what, remedy) from error
