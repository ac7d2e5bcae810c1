"""Runs cases in child processes with limits, and says what became of each.

A fork server imports everything once; workers are forked from it, run many cases each,
and are replaced when they die, hang or have grown. A case is good where it works, or is
refused as the error policy says: a ValueError or an error of the system, in a sentence.
Anything else is a fault: another exception, one of a library's own, a signal, a case
that never ends, memory beyond the limit.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import math
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

Attempt = Callable[[int], None]
"""Runs the case of a number; a function of a module, which children import."""

READ, REFUSED, FAULT = "read", "refused", "fault"

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("ltx_jax", "sample", "train")
_LONGEST = 4000
"""Characters of a sentence that a person would still read."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a case may take.

  Attributes:
    seconds: Time of the processor.
    patience: Time on the clock; a busy machine gives a case little of itself.
    memory: Bytes in memory above those at its start.
    reserved: Bytes of address space above those at its start; beyond, nothing is given.
    cases: Cases of one worker, and then the next one takes over.
    growth: Bytes by which a worker may grow over all its cases.
  """

  seconds: float = 20
  patience: float = 300
  memory: int = 2 * 10**9
  reserved: int = 4 * 10**9
  cases: int = 1000
  growth: int = 500_000_000


class Outcome(NamedTuple):
  """What became of a case.

  Attributes:
    kind: `READ`, `REFUSED` or `FAULT`.
    words: What it was refused with, or what is wrong and where.
    seconds: Time of the processor.
    memory: Bytes above those at its start.
  """

  case: int
  kind: str
  words: str = ""
  seconds: float = 0.0
  memory: int = 0


def judged(
  attempt: Attempt,
  cases: Iterable[int],
  limits: Limits = Limits(),
  preloaded: Sequence[str] = (),
) -> Iterator[Outcome]:
  """Yields what becomes of each case.

  Args:
    attempt: Runs one.
    cases: Their numbers.
    limits: What each may take.
    preloaded: Modules that workers need; a module that is not there is left out.
  """
  server = multiprocessing.get_context("forkserver")
  server.set_forkserver_preload(list(preloaded))
  worker = None
  try:
    for case in cases:
      worker = worker or _Worker(server, attempt, limits)
      outcome, lives = worker.run(case)
      yield outcome
      if not lives:
        worker.end()
        worker = None
  finally:
    if worker:
      worker.end()


class _Worker:
  """A child process, as its parent sees it."""

  def __init__(
    self,
    server: multiprocessing.context.ForkServerContext,
    attempt: Attempt,
    limits: Limits,
  ):
    self._limits = limits
    handle, self._log = tempfile.mkstemp(prefix="worker-", suffix=".log")
    os.close(handle)
    self._pipe, theirs = server.Pipe()
    # No daemon: what is read may start processes.
    self._process = server.Process(
      target=_work, args=(theirs, attempt, limits, self._log)
    )
    self._process.start()
    theirs.close()
    self._pipe.recv()  # It is ready: its start does not count.

  def run(self, case: int) -> tuple[Outcome, bool]:
    """Returns what becomes of a case, and whether the worker can go on."""
    self._pipe.send(case)
    patience, limit = self._limits.patience, self._limits.seconds
    if not wait([self._pipe, self._process.sentinel], patience):
      os.kill(self._process.pid, signal.SIGXCPU)  # It says where it is, and ends.
      self._process.join(_TO_TELL)
      words = f"has not ended after {patience:g} s on the clock{self._said()}"
      return Outcome(case, FAULT, words, limit), False
    try:
      return self._pipe.recv()
    except (EOFError, ConnectionResetError):
      self._process.join()
    code = self._process.exitcode
    words = f"its process ended with code {code}{self._said()}"
    if code == -signal.SIGXCPU:
      words = f"has not ended after {limit:g} s of the processor{self._said()}"
    return Outcome(case, FAULT, words, limit if code == -signal.SIGXCPU else 0.0), False

  def end(self) -> None:
    """Ends the process."""
    self._process.kill()
    self._process.join()
    self._pipe.close()
    Path(self._log).unlink(missing_ok=True)

  def _said(self) -> str:
    """The end of what it printed."""
    text = Path(self._log).read_text(errors="replace").strip()
    return f"; it said: {text[-2000:]}" if text else ""


_TO_TELL = 10
"""Seconds."""


def _work(pipe: Connection, attempt: Attempt, limits: Limits, log: str) -> None:
  """Runs the cases that come through the pipe, in the child."""
  output = os.open(log, os.O_WRONLY | os.O_APPEND)
  for stream in (1, 2):
    os.dup2(output, stream)
  faulthandler.enable()
  faulthandler.register(signal.SIGXCPU, chain=True)
  warnings.simplefilter("ignore")
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  begin = _in_memory("VmRSS")
  pipe.send("ready")
  for count in range(1, limits.cases + 1):
    outcome = _run(attempt, pipe.recv(), limits)
    lives = count < limits.cases and _in_memory("VmRSS") - begin < limits.growth
    pipe.send((outcome, lives))


def _run(attempt: Attempt, case: int, limits: Limits) -> Outcome:
  Path("/proc/self/clear_refs").write_text("5")  # Resets the peak.
  begin, start = _in_memory("VmRSS"), time.process_time()
  seconds = math.ceil(start + limits.seconds)
  _limit(resource.RLIMIT_CPU, seconds)
  _limit(resource.RLIMIT_AS, _in_memory("VmSize") + limits.reserved)
  try:
    kind, words = answer(attempt, case)
  finally:
    _limit(resource.RLIMIT_AS, None)
  seconds = time.process_time() - start
  memory = max(0, _in_memory("VmHWM") - begin)
  if memory > limits.memory:
    kind, words = FAULT, f"takes {memory / 1e9:.2f} GB of memory; then: {words}"
  return Outcome(case, kind, words, seconds, memory)


def _limit(what: int, value: int | None) -> None:
  """Sets a limit that this process may lift again; None lifts it."""
  _, most = resource.getrlimit(what)
  resource.setrlimit(what, (most if value is None else value, most))


def answer(attempt: Attempt, case: int) -> tuple[str, str]:
  """Runs a case in this process; returns its kind and words (`Outcome`)."""
  try:
    attempt(case)
  except Exception as error:
    wrong = complaint(error)
    if wrong is None:
      return REFUSED, str(error)
    return FAULT, f"{wrong}; {_place(error)}"
  except SystemExit as error:
    return FAULT, f"exits with {error.code!r}; {_place(error)}"
  return READ, ""


def complaint(error: BaseException) -> str | None:
  """Returns what is wrong with an error as an answer to bad input; None: nothing."""
  kind, text = type(error), str(error)
  named = f"{kind.__module__}.{kind.__qualname__}: {text[:300]}"
  own = kind.__module__ == "builtins"
  if isinstance(error, OSError) and own and error.errno and error.filename:
    return None  # The system's own, which the command line words.
  ours = kind is ValueError or kind.__module__.split(".")[0] in _OURS
  if not (isinstance(error, ValueError | OSError) and ours):
    return f"raises {named}"
  if "\n" in text or not text.endswith((".", "?")) or " " not in text:
    return f"is no sentence: {named}"
  if len(text) > _LONGEST:
    return f"is {len(text)} characters long: {named}"
  return None


def _place(error: BaseException) -> str:
  """Where an error was raised: our last line, and the last of all."""
  frames = traceback.extract_tb(error.__traceback__)
  ours = [
    f
    for f in frames
    if f.filename.startswith(str(_ROOT)) and "site-packages" not in f.filename
  ]
  last = [ours[-1], frames[-1]] if ours else frames[-1:]
  at = [f"{f.filename.removeprefix(f'{_ROOT}/')}:{f.lineno} {f.name}" for f in last]
  return "at " + ", by ".join(dict.fromkeys(at))


def _in_memory(name: str) -> int:
  """Bytes of this process: VmRSS now, VmHWM at most, VmSize reserved."""
  for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith(f"{name}:"):
      return int(line.split()[1]) * 1024
  raise RuntimeError(f"/proc/self/status has no {name}.")
