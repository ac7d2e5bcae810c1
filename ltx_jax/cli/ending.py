"""How programs end: with their streams written, and in words where a signal ends them.

What a signal ends runs its clean-up first: nothing half written stays behind. Streams
may be closed, full, or read by a program that goes away; they may know fewer letters
than a prompt has.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator

SIGNALS = tuple(
  getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that ask a program to end, apart from the keyboard's."""

_MOMENT = 0.05
"""Seconds after which an interrupt is raised again."""


class Signalled(BaseException):
  """A signal asks the program to end; no handler of errors takes it for one."""

  def __init__(self, number: int):
    super().__init__(number)
    self.number = signal.Signals(number)


def prepare_streams() -> None:
  """Opens what is closed, and writes letters that a terminal lacks as their codes.

  A file that is opened later would otherwise be taken for the closed stream.
  """
  for name in ("stdin", "stdout", "stderr"):
    stream = getattr(sys, name)
    if stream is None:
      setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")


def flush() -> None:
  """Writes what was printed.

  Raises:
    OSError: where it cannot be; Python does not try again at its end.
  """
  try:
    sys.stdout.flush()
  except OSError:
    with contextlib.suppress(OSError, ValueError):
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise


def say(words: str) -> None:
  """Prints to stderr, if anybody can read it there."""
  with contextlib.suppress(OSError):
    print(words, file=sys.stderr, flush=True)


@contextlib.contextmanager
def signals_in_words() -> Iterator[None]:
  """Ends a program that a signal asks to end, with the exit code that shells expect.

  Signals that are ignored, as by `nohup`, stay so.
  """
  before = {}
  if threading.current_thread() is threading.main_thread():
    before = {n: signal.getsignal(n) for n in SIGNALS}
    before = {n: known for n, known in before.items() if known == signal.SIG_DFL}
  for number in before:
    signal.signal(number, _raise)
  try:
    with _nothing_lost():
      yield
  except (KeyboardInterrupt, Signalled, ImportError) as error:
    ended = _interrupt(error)
    if ended is None:
      raise
    number = ended.number if isinstance(ended, Signalled) else signal.SIGINT
    words = "Interrupted." if number == signal.SIGINT else f"Ended by {number.name}."
    say(words)
    raise SystemExit(128 + number) from None
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _interrupt(error: BaseException | None) -> BaseException | None:
  """Returns the interrupt behind an error: extensions make an ImportError of it."""
  while error is not None and not isinstance(error, KeyboardInterrupt | Signalled):
    error = error.__cause__ or error.__context__
  return error


@contextlib.contextmanager
def _nothing_lost() -> Iterator[None]:
  """Raises an interrupt again a moment later where Python had to ignore it.

  Python cannot raise from a callback of its garbage collection, and JAX has one.
  """
  main = threading.current_thread() is threading.main_thread()
  if not main or not hasattr(signal, "setitimer"):
    yield
    return
  lost: list[BaseException] = []

  def ignored(what: sys.UnraisableHookArgs) -> None:
    if issubclass(what.exc_type, KeyboardInterrupt | Signalled):
      lost.append(what.exc_value or what.exc_type())
      signal.setitimer(signal.ITIMER_REAL, _MOMENT)
    else:
      hook(what)

  def again(number: int, _: object) -> None:
    if lost:
      raise lost.pop()

  hook, handler = sys.unraisablehook, signal.signal(signal.SIGALRM, again)
  sys.unraisablehook = ignored
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    if sys.unraisablehook is ignored:  # Else somebody has reasons of their own.
      sys.unraisablehook = hook


def _raise(number: int, _: object) -> None:
  raise Signalled(number)
