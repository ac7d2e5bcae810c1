"""Signals are answered at once, even while Python does not run, as in a compiler."""

import signal
import subprocess
import sys

import pytest

from tests.program import ROOT
from train.harness.signals import STOPPING

# Hashing holds the main thread outside Python for minutes, as XLA does. Another thread
# sees it on that line only once it has let go of the interpreter, inside the hash.
BUSY = """
import hashlib, sys, threading, time
from train.harness import signals

def hash():
  hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

def tell(main=threading.get_ident(), line=hash.__code__.co_firstlineno + 1):
  while sys._current_frames()[main].f_lineno != line:
    time.sleep(0.01)
  print("begun", flush=True)

with signals.caught():
  threading.Thread(target=tell, daemon=True).start()
  hash()
"""

# Both signals wait before Python calls a handler, in the order of their numbers.
BOTH = """
import signal
from train.harness import signals
both = {signal.SIGINT, signal.SIGTERM}
with signals.caught():
  signal.pthread_sigmask(signal.SIG_BLOCK, both)
  for each in both:
    signal.raise_signal(each)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
"""


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM])
def test_a_busy_run_says_that_it_stops_and_a_second_signal_ends_it(heeded_signals, one):
  command = [sys.executable, "-c", BUSY]
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
  with subprocess.Popen(command, cwd=ROOT, **pipes) as child:
    try:
      assert child.stdout.readline() == "begun\n"
      child.send_signal(one)  # Ctrl-C ends it, whichever signal came first.
      assert child.stderr.readline() == f"{STOPPING}\n"
      child.send_signal(signal.SIGINT)
      assert child.stderr.read() == "Ended by SIGINT; nothing more was saved.\n"
      assert child.wait() == 128 + signal.SIGINT
    finally:
      child.kill()


def test_two_signals_at_once_end_a_run_without_a_complaint_of_python(heeded_signals):
  child = subprocess.run(
    [sys.executable, "-c", BOTH], cwd=ROOT, capture_output=True, text=True
  )
  assert child.returncode == -signal.SIGTERM
  assert child.stderr in ("", f"{STOPPING}\n")  # Its thread may have had no time.
