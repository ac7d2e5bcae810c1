"""Signals are answered at once, even while Python does not run, as in a compiler."""

import signal
import subprocess
import sys

import pytest

from tests.program import ROOT
from train.harness.signals import STOPPING

# Hashing holds the main thread outside Python for minutes, as XLA does.
BUSY = """
import hashlib
from train.harness import signals
with signals.caught():
  print("begun", flush=True)
  hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
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
