"""Speed of a run, its share of the devices' peak, and its wait for data."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Work(NamedTuple):
  """Work of a step, over all devices together.

  Attributes:
    clips: Number of rows of its batch.
    tokens: Number of latent positions of the rows.
    flops: Floating-point operations of the mathematics, forwards and backwards; what is
      recomputed does not count.
  """

  clips: int
  tokens: int
  flops: int


NO_WORK = Work(0, 0, 0)

WorkOf = Callable[[Mapping[str, Any]], Work]
"""Returns a step's work from a batch, or from its shapes."""


class Meter:
  """Counts between two readings; time spent outside of steps is left out."""

  def __init__(self, peak: float | None):
    """Starts to count.

    Args:
      peak: FLOP/s of all devices together; None means unknown, and reports no
        utilisation.
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
    """Leaves the time inside out, such as that of sample images."""
    before = time.monotonic()
    yield
    self._since += time.monotonic() - before

  def read(self) -> dict[str, float]:
    """Returns the rates since the last reading, and the share of the peak if known."""
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
