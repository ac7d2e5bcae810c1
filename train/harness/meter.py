"""How fast a run goes, of what its devices could do, and how long it waits for data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Work(NamedTuple):
  """What a step does, over all devices together.

  Attributes:
    clips: Rows of its batch.
    tokens: Their latent positions.
    flops: Floating-point operations that its mathematics takes, forwards and backwards;
      what is computed again does not count.
  """

  clips: int
  tokens: int
  flops: int


NO_WORK = Work(0, 0, 0)

WorkOf = Callable[[Mapping[str, Any]], Work]
"""A batch, or its shapes -> what a step does with it."""


class Meter:
  """Counts between two readings; time that is spent apart from steps is left out."""

  def __init__(self, peak: float | None):
    """Starts to count.

    Args:
      peak: FLOP/s of all devices together; None, unknown: utilisation is not said.
    """
    self._peak = peak
    self._restart()

  def _restart(self) -> None:
    self._since = time.monotonic()
    self._waited = 0.0
    self._steps = 0
    self._work = NO_WORK

  def add(self, work: Work) -> None:
    """Counts a step."""
    self._steps += 1
    self._work = Work(*(a + b for a, b in zip(self._work, work, strict=True)))

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time inside as waiting for data."""
    before = time.monotonic()
    yield
    self._waited += time.monotonic() - before

  @contextlib.contextmanager
  def apart(self) -> Iterator[None]:
    """Leaves the time inside out: that of pictures, say."""
    before = time.monotonic()
    yield
    self._since += time.monotonic() - before

  def read(self) -> dict[str, float]:
    """Returns the rates since the last reading; the share of the peak where known."""
    elapsed = max(time.monotonic() - self._since, 1e-9)
    rates = {
      "steps_per_second": self._steps / elapsed,
      "data_wait": self._waited / elapsed,
    }
    if self._work.clips:
      rates["clips_per_second"] = self._work.clips / elapsed
      rates["tokens_per_second"] = self._work.tokens / elapsed
    if self._work.flops and self._peak:
      rates["utilisation"] = self._work.flops / elapsed / self._peak
    self._restart()
    return rates
