"""Videos that are being made: in a thread, watched, and ended when nobody watches."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ltx_jax.errors import memory_in_words

_LOG = logging.getLogger("ltx_jax")
_DEVICE = threading.Lock()
"""Held by the job that computes: one device, one video at a time."""

_PATIENCE = 20.0
"""Seconds without a look after which nobody seems to be there."""


class Cancelled(Exception):
  """Raised in a job's thread after the step in which it was cancelled."""


class Job:
  """One video in the making.

  Attributes:
    stage: What is being done.
    step: Steps that are done.
    steps: Steps of the pass.
    preview: Small pictures of what it will look like; None before there are any.
    result: What `make` returned.
    error: What `make` raised.
  """

  def __init__(self, make: Callable[[Job], Any]):
    self.stage, self.step, self.steps = "waiting for the device", 0, 0
    self.preview: np.ndarray | None = None
    self.result: Any = None
    self.error: Exception | None = None
    self._make, self._cancelled, self._done = make, threading.Event(), threading.Event()
    self._watched = self._first_step = time.monotonic()

  def start(self) -> Job:
    """Begins, in a thread of its own."""
    threading.Thread(target=self._run, daemon=True).start()
    return self

  def cancel(self) -> None:
    """Ends it after the step that is being made."""
    self._cancelled.set()

  @property
  def cancelled(self) -> bool:
    """Whether it was cancelled."""
    return self._cancelled.is_set()

  def wait(self, seconds: float) -> bool:
    """Waits a little, as one who watches; returns whether it has ended."""
    self._watched = time.monotonic()
    return self._done.wait(seconds)

  def check(self) -> None:
    """Ends the job's thread where it was cancelled, or nobody watches any more.

    Raises:
      Cancelled: then.
    """
    if self.cancelled or time.monotonic() - self._watched > _PATIENCE:
      self._cancelled.set()
      raise Cancelled

  @contextlib.contextmanager
  def on_stage(self, name: str) -> Iterator[Callable[[Any], Any]]:
    """Enters a stage (`pipeline.generate.OnStage`)."""
    self.check()
    self.stage, self.step, self.steps = name, 0, 0
    yield jax.block_until_ready

  def on_step(self, index: int, steps: int) -> None:
    """Notes that a step was dispatched."""
    self.check()
    if index == 0:  # The first step may have been compiled, and says nothing of others.
      self._first_step = time.monotonic()
    self.step, self.steps = index + 1, steps

  @property
  def seconds_left(self) -> float | None:
    """Estimate for the stage, from the steps that are done; None before the third."""
    if self.step < 3:
      return None
    passed = time.monotonic() - self._first_step
    return passed / (self.step - 1) * (self.steps - self.step)

  def _run(self) -> None:
    try:
      with _DEVICE:
        self.check()
        with memory_in_words("this video", "make it smaller or shorter"):
          self.result = self._make(self)
    except Exception as error:  # Whatever it is, the page says so and lives on.
      self.error = error
      if not isinstance(error, Cancelled | ValueError):
        _LOG.exception("A video could not be made.")
    finally:
      self._done.set()
