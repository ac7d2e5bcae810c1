"""Errors of devices, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

_LESS = "ask for fewer frames, a smaller size, or fewer clips or prompts at a time"


@contextlib.contextmanager
def memory_in_words(what: str, remedy: str = _LESS) -> Iterator[None]:
  """Says what there was not enough memory for, where it runs out inside.

  Work that is dispatched inside may fail only where its results are waited for: that
  place wants this as well.

  Args:
    what: The stage and its shapes, such as "decoding latents of shape (1, 2, 3, 3, 8)".
    remedy: What to do about it.

  Raises:
    ValueError: in one sentence, in place of the device's own error.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ValueError(f"There was not enough memory for {what}; {remedy}.") from error
