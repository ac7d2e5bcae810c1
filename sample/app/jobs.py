"""Videos in the making: in a thread, watched, and ended when nobody watches."""

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
"""Lock of the computing job: there is one device, which makes one video at a time."""

_PATIENCE = 20.0
"""Seconds without a look after which the client counts as gone."""


class Cancelled(Exception):
  """Raised in a job's thread after the step in which it was cancelled."""


class Job:
  """One video in the making.

  Attributes:
    stage: Current stage.
    step: Number of steps that are done.
    steps: Number of steps of the pass.
    preview: Small images of the expected result; None before there are any.
    result: Return value of `make`.
    error: Exception that `make` raised.
  """

  def __init__(self, make: Callable[[Job], Any]):
    self.stage, self.step, self.steps = "waiting for the device", 0, 0
    self.preview: np.ndarray | None = None
    self.result: Any = None
    self.error: Exception | None = None
    self._make, self._cancelled, self._done = make, threading.Event(), threading.Event()
    self._watched = self._first_step = time.monotonic()

  def start(self) -> Job:
    """Starts in a thread of its own."""
    threading.Thread(target=self._run, daemon=True).start()
    return self

  def cancel(self) -> None:
    """Ends it after the current step."""
    self._cancelled.set()

  @property
  def cancelled(self) -> bool:
    """Whether the user cancelled it."""
    return self._cancelled.is_set()

  def wait(self, seconds: float) -> bool:
    """Waits up to `seconds` as a watcher; returns whether the job has ended."""
    self._watched = time.monotonic()
    return self._done.wait(seconds)

  def check(self) -> None:
    """Ends the job's thread if it was cancelled, or if nobody watches any more.

    Raises:
      Cancelled: In these cases.
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
    if index == 0:  # It may include compilation, so it says nothing about other steps.
      self._first_step = time.monotonic()
    self.step, self.steps = index + 1, steps

  @property
  def seconds_left(self) -> float | None:
    """Estimated seconds left in the stage, by the steps done; None before the third."""
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
    except Exception as error:  # The page reports any error and keeps running.
      self.error = error
      if not isinstance(error, Cancelled | ValueError):
        _LOG.exception("A video could not be made.")
    finally:
      self._done.set()
