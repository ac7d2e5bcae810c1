"""The signals that ask a run to end: answered at once, obeyed after the step.

Python calls its handlers only when the main thread runs Python, and that thread may be
in XLA's compiler for minutes. So a thread listens as well, through `set_wakeup_fd`: it
says what happens, and ends the process if a second signal finds the main thread busy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

from ltx_jax.cli import ending

STOPPING = (
  "Stopping after this step; its state will be saved. Ctrl-C again stops now, without "
  "saving."
)
_PATIENCE = 1.0
"""Seconds in which the main thread may act on a second signal itself."""


@contextlib.contextmanager
def caught() -> Iterator[list[signal.Signals]]:
  """Yields a list that takes the first signal; the second acts as usual.

  Signals that are ignored stay so.
  """
  taken: list[signal.Signals] = []
  if threading.current_thread() is not threading.main_thread():
    yield taken  # Python lets only the main thread handle signals.
    return
  before = {s: signal.getsignal(s) for s in (signal.SIGINT, *ending.SIGNALS)}
  before = {s: known for s, known in before.items() if known != signal.SIG_IGN}

  def handle(number: int, _: object) -> None:
    if not taken:
      taken.append(signal.Signals(number))
      return
    # Only now: Python complains of a signal that waits where its handler is gone.
    for each, handler in before.items():
      signal.signal(each, handler)
    signal.raise_signal(number)

  heard: list[int] = []

  def answer(number: int) -> None:
    if number not in before:
      return
    heard.append(number)
    if len(heard) == 1:
      ending.say(STOPPING)
    else:
      threading.Timer(_PATIENCE, _end, (number, ended)).start()

  ended = threading.Event()
  for number in before:
    signal.signal(number, handle)
  try:
    with _heard(answer):
      yield taken
  finally:
    ended.set()
    for number, handler in before.items():
      signal.signal(number, handler)


def _end(number: int, ended: threading.Event) -> None:
  """Ends the process, unless its main thread does so already."""
  if not ended.is_set():
    ending.say(f"Ended by {signal.Signals(number).name}; nothing more was saved.")
    os._exit(128 + number)


@contextlib.contextmanager
def _heard(answer: Callable[[int], None]) -> Iterator[None]:
  """Calls a function with the number of each signal as it comes, in a thread."""
  ours, signals = socket.socketpair()
  signals.setblocking(False)

  def listen() -> None:
    while number := ours.recv(1):
      answer(number[0])

  thread = threading.Thread(target=listen, daemon=True)
  thread.start()
  before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
  try:
    yield
  finally:
    signal.set_wakeup_fd(before)
    signals.close()
    thread.join()
    ours.close()
