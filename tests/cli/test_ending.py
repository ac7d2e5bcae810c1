"""How programs end: by signals, and with streams that are closed, full, or not read."""

import gc
import os
import signal
import subprocess
import sys
import time
from types import MappingProxyType

import pytest

from ltx_jax.cli import console, ending
from tests.program import ROOT

pytestmark = pytest.mark.usefixtures("heeded_signals")

NOTHING = MappingProxyType({})
PROGRAM = """
import pathlib, sys
from ltx_jax.cli import console
def main():
  print("ein gro\\u00dfer Kreis \\U0001f534")
  pathlib.Path("done").touch()
console.run(main)
"""


TWICE = """
from ltx_jax.cli import console
from ltx_jax.cli.command_line import errors_in_words
def main():
  with errors_in_words():
    print("a line", flush=True)
console.run(main)
"""


def run(folder, closing="", environment=NOTHING, program=PROGRAM, **streams):
  """A program of its own, by a shell that closes what is asked for."""
  return subprocess.run(
    ["sh", "-c", f'exec "$0" -c "$1" {closing}', sys.executable, program],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    stderr=subprocess.PIPE,
    text=True,
    check=False,
    **streams,
  )


def test_a_reader_that_goes_away_is_no_error_to_speak_of(tmp_path):
  reader, writer = os.pipe()
  os.close(reader)
  done = run(tmp_path, stdout=writer)
  os.close(writer)
  assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_under_stdout_is_said_in_a_sentence(tmp_path):
  with open("/dev/full", "w") as full:
    done = run(tmp_path, stdout=full)
  assert done.returncode == 2
  assert done.stderr.startswith("Cannot read or write: No space left on device; free")
  assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_said_once_where_errors_are_caught_twice(tmp_path):
  with open("/dev/full", "w") as full:
    done = run(tmp_path, program=TWICE, stdout=full)
  assert len(done.stderr.splitlines()) == 1


def test_streams_may_be_closed(tmp_path):
  done = run(tmp_path, "<&- >&-")
  assert (done.returncode, done.stderr) == (0, "")
  assert (tmp_path / "done").exists()


def test_letters_that_a_terminal_lacks_are_written_as_codes(tmp_path):
  ascii_only = {"PYTHONIOENCODING": "ascii"}
  done = run(tmp_path, environment=ascii_only, stdout=subprocess.PIPE)
  assert done.stdout == "ein gro\\xdfer Kreis \\U0001f534\n"


def ended_by(act, capsys):
  cleaned = []

  def program():
    try:
      act()
    finally:
      cleaned.append(True)

  with pytest.raises(SystemExit) as end:
    console.run(program)
  assert cleaned
  return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize("number", ending.SIGNALS)
def test_a_signal_ends_a_program_after_its_clean_up(capsys, number):
  before = signal.getsignal(number)
  code, err = ended_by(lambda: os.kill(os.getpid(), number), capsys)
  assert (code, err) == (128 + number, f"Ended by {number.name}.\n")
  assert signal.getsignal(number) == before


def test_an_interrupt_ends_in_a_word(capsys):
  code, err = ended_by(lambda: signal.raise_signal(signal.SIGINT), capsys)
  assert (code, err) == (130, "Interrupted.\n")


def test_an_interrupt_that_an_extension_made_an_import_error_of_is_one(capsys):
  def program():
    try:
      raise KeyboardInterrupt
    except KeyboardInterrupt as error:
      raise ImportError("initialization failed") from error

  assert ended_by(program, capsys) == (130, "Interrupted.\n")
  with pytest.raises(ImportError, match="no module"):
    console.run(lambda: (_ for _ in ()).throw(ImportError("no module")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_python_collects_garbage_is_not_lost(capsys, number):
  def callback(*_):
    gc.callbacks.remove(callback)
    signal.raise_signal(number)

  def program():
    gc.callbacks.append(callback)
    gc.collect()
    time.sleep(5)
    slept.append(True)

  slept = []
  code, _ = ended_by(program, capsys)
  assert code == 128 + number and not slept


def test_a_signal_that_is_ignored_stays_so():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    console.run(lambda: os.kill(os.getpid(), signal.SIGHUP))
  finally:
    signal.signal(signal.SIGHUP, before)
