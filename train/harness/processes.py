"""A run of several processes: stopping together, and ending when another is gone."""

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

from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.parallel import distributed
from ltx_jax.platforms import Policy
from ltx_jax.training.state import TrainState


def start(run: TransformerRun | VAERun) -> None:
  """Joins the other processes of a run (`distributed.start`), and says who this is.

  Raises:
    ValueError: where processes or devices are missing, or one runs another recipe.
  """
  recipe = dataclasses.asdict(run)
  options = recipe.pop("distributed")
  del options["process"]
  distributed.start(run.distributed, json.loads(json.dumps([recipe, options])))
  if jax.process_count() > 1:
    print(f"{distributed.describe()}.", flush=True)


def say(line: str) -> None:
  """Prints a line, of several processes in the first."""
  if distributed.is_first():
    print(line, flush=True)


def alone(policy: Policy) -> Policy:
  """Returns the policy by which the first of several processes shows what is learned.

  Others have no part in it, so it runs on one device; one process uses all it has.
  """
  return policy if jax.process_count() == 1 else dataclasses.replace(policy, mesh=None)


def shown(state: TrainState) -> TrainState:
  """Returns a state of several processes whole in each, but for its optimiser's."""
  if jax.process_count() == 1:
    return state
  ema = distributed.whole(state.ema)
  params = ema or distributed.whole(state.params)
  extra = distributed.whole(state.extra)
  return state._replace(params=params, opt_state=(), ema=ema, extra=extra)


def wait_for_all(what: str) -> None:
  """Returns when every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


Stopping = Callable[[int], signal.Signals | None]
"""step -> the signal that ends the run at this step, in every process of it, or None.
It is asked at every step."""


@contextlib.contextmanager
def stopping() -> Iterator[Stopping]:
  """Collects SIGINT and SIGTERM; a second one acts as without us.

  Several processes stop at one step, whichever of them a signal comes to: JAX passes a
  SIGTERM on, and finds the step.
  """
  if jax.process_count() == 1:
    with _caught() as caught:
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
def _caught() -> Iterator[list[signal.Signals]]:
  caught: list[signal.Signals] = []
  if threading.current_thread() is not threading.main_thread():
    yield caught  # Python lets only the main thread handle signals.
    return
  before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

  def handle(number: int, _: object) -> None:
    caught.append(signal.Signals(number))
    signal.signal(number, before[signal.Signals(number)])

  for number in before:
    signal.signal(number, handle)
  try:
    yield caught
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def peers_in_words(what: str) -> Iterator[None]:
  """Ends one of several processes with a sentence, where what needs the others fails.

  It ends at once: another is gone, and whatever waits for it on the way out would hang.
  """
  try:
    yield
  except (jax.errors.JaxRuntimeError, TimeoutError) as error:
    if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
      raise
    reason = str(error).strip().splitlines()[0].rstrip(".")
    _end(
      f"Process {jax.process_index()} ends at {what}: another process is gone or does "
      f"not answer ({reason}). The same command goes on from the last checkpoint."
    )


def _end(words: str) -> NoReturn:
  sys.stdout.flush()
  print(words, file=sys.stderr, flush=True)
  os._exit(1)


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
  """Ends one of several processes without waiting for others, where it ends early.

  The others notice by its absence; waiting for them to say goodbye would be in vain
  where they are gone.
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
  """Ends the process where its steps come to a halt; use it in a `with` statement."""

  def __init__(self, seconds: float, folder: Path):
    """Watches from now on.

    Args:
      seconds: How long a step may take; inf watches nothing.
      folder: The run's, where the stacks are written.
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
    """Says that the run goes on, and how far it is."""
    self._last, self._what = time.monotonic(), what

  @contextlib.contextmanager
  def apart(self) -> Iterator[None]:
    """Leaves out what may take longer than a step: compiling, pictures."""
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
        f"{self._what} (--distributed.hang-after), and ends. Where its threads stand "
        f"is in {self._file}. The same command goes on from the last checkpoint."
      )
