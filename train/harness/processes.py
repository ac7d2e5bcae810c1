"""Stops several processes of a run together, and ends if another one is gone."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

from ltx_jax.cli import console
from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.parallel import distributed
from ltx_jax.platforms import Policy
from ltx_jax.training.state import TrainState
from train.harness import signals


def start(run: TransformerRun | VAERun) -> None:
  """Joins the other processes of a run (`distributed.start`), and prints which this is.

  From here on compiled programs are kept between runs.

  Raises:
    ValueError: If processes or devices are missing, or one runs another recipe.
  """
  recipe = dataclasses.asdict(run)
  options = recipe.pop("distributed")
  del options["process"]
  console.use_compile_cache()
  distributed.start(run.distributed, json.loads(json.dumps([recipe, options])))
  if jax.process_count() > 1:
    print(f"{distributed.describe()}.", flush=True)


def say(line: str) -> None:
  """Prints a line, but only in the first of several processes."""
  if distributed.is_first():
    print(line, flush=True)


def alone(policy: Policy) -> Policy:
  """Returns the policy with which the first of several processes makes sample images.

  The others take no part, so it uses one device; a single process uses all its devices.
  """
  return policy if jax.process_count() == 1 else dataclasses.replace(policy, mesh=None)


def shown(state: TrainState) -> TrainState:
  """Gathers a state of several processes in each, without the optimiser state."""
  if jax.process_count() == 1:
    return state
  ema = distributed.whole(state.ema)
  params = ema or distributed.whole(state.params)
  extra = distributed.whole(state.extra)
  return state._replace(params=params, opt_state=(), ema=ema, extra=extra)


def wait_for_all(what: str) -> None:
  """Returns when every process has reached this point."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


Stopping = Callable[[int], signal.Signals | None]
"""step -> the signal that ends the run at this step, in every process, or None. It is
called at every step."""


@contextlib.contextmanager
def stopping() -> Iterator[Stopping]:
  """Collects the signals that ask for an end; a second one acts as usual.

  Several processes stop at the same step, whichever of them gets the signal: JAX passes
  a SIGTERM on, and agrees on the step.
  """
  if jax.process_count() == 1:
    with signals.caught() as caught:
      yield lambda step: caught[0] if caught else None
    return
  before = signal.getsignal(signal.SIGINT)
  signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
  try:
    yield _agreed
  finally:
    signal.signal(signal.SIGINT, before)


def _agreed(step: int) -> signal.Signals | None:
  reached = multihost_utils.reached_preemption_sync_point(step)
  return signal.SIGTERM if reached else None


@contextlib.contextmanager
def peers_in_words(what: str) -> Iterator[None]:
  """Ends one of several processes with a message if something fails that needs the
  others.

  It ends at once: another process is gone, and waiting for it on the way out would
  hang.
  """
  try:
    yield
  except (jax.errors.JaxRuntimeError, TimeoutError) as error:
    if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
      raise
    reason = str(error).strip().splitlines()[0].rstrip(".")
    _end(
      f"Process {jax.process_index()} ends at {what}: another process is gone or does "
      f"not answer ({reason}). The same command resumes from the last checkpoint."
    )


def _end(words: str) -> NoReturn:
  sys.stdout.flush()
  print(words, file=sys.stderr, flush=True)
  os._exit(1)


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
  """Ends one of several processes without waiting for the others if it ends early.

  The others notice that it is gone. If they are gone, waiting for them would be in
  vain.
  """
  try:
    yield
  except BaseException as error:
    if not jax.distributed.is_initialized():
      raise
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
      traceback.print_exc()
    if not code:
      raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Watchdog:
  """Ends the process if its steps come to a halt; use it in a `with` statement."""

  def __init__(self, seconds: float, folder: Path):
    """Watches from now on.

    Args:
      seconds: Longest duration of a step; inf disables the watchdog.
      folder: Folder of the run, where the stacks are written.
    """
    self.seconds = seconds
    self._file = folder / f"hung_{jax.process_index()}.txt"
    self._last, self._what = time.monotonic(), "its start"
    self._apart = 0
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)

  def __enter__(self) -> Watchdog:
    if self.seconds < float("inf"):
      self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._ended.set()

  def beat(self, what: str) -> None:
    """Reports progress, and how far the run is."""
    self._last, self._what = time.monotonic(), what

  @contextlib.contextmanager
  def apart(self) -> Iterator[None]:
    """Pauses the watchdog for work that may take longer: compilation, sample images."""
    self._apart += 1
    try:
      yield
    finally:
      self._apart -= 1
      self.beat(self._what)

  def _watch(self) -> None:
    while not self._ended.wait(min(1.0, self.seconds / 4)):
      if self._apart or time.monotonic() - self._last < self.seconds:
        continue
      with self._file.open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
      _end(
        f"Process {jax.process_index()} has made no step for {self.seconds:g} s after "
        f"{self._what} (--distributed.hang-after), and ends. Its threads' state is "
        f"in {self._file}. The same command resumes from the last checkpoint."
      )
