"""Runs a case in a process of its own, and keeps what came of it.

Most are forks of this process, which has imported all programs and asked JAX for no
device: they start at once, and then run what `python -m PROGRAM` runs. Where a fork
would not be true (what Python does with its streams when it starts) a case says so, and
is a process of its own.

Nobody who works as root notices that a file may not be read. The forks give up that
right, and are as other users are.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import dataclasses
import fnmatch
import hashlib
import importlib
import io
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.odd_inputs.case import PYTHON, Case, put

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = (
  *("sample.generate", "sample.gpu", "sample.convert", "sample.compile"),
  *("sample.doctor", "sample.app.__main__", "sample.making", "sample.__main__"),
  *("train.vae", "train.transformer", "train.manifest", "train.precompute"),
  *("train.records", "train.curves", "train.compile", "train.plan"),
  *("train.evaluate.__main__", "train.evaluate.reconstruction.__main__"),
  *(f"train.evaluate.{part}.__main__" for part in ("loss", "study", "vbench")),
  *("train.tokenizer", "train.perceptual_weights"),
  *("train.aesthetics", "train.aesthetic_weights"),
)
TOKENIZER = ROOT / "ltx_jax" / "assets" / "moving_shapes" / "tokenizer"
ADDRESSES = 64 << 30
"""Bytes of addresses that a process may have: JAX asks for many that it never uses."""
PATIENCE = 20
"""How many times as long as it may work a process may take, while others work too."""
_STEP = 0.02
_NO_RIGHTS = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of a case.

  Attributes:
    code: Exit code, as a shell reports it; None where it was killed for its time.
    stdout: What it printed.
    stderr: What it complained of.
    seconds: Processor time that it took: the machine may have other work.
    megabytes: Its peak of memory.
    before: Hashes of the files in the working folder, before.
    after: The same, after.
    temporary: Names of the temporary files that were left behind.
    folder: The working folder.
  """

  code: int | None
  stdout: str
  stderr: str
  seconds: float
  megabytes: float
  before: Mapping[str, str]
  after: Mapping[str, str]
  temporary: Sequence[str]
  folder: Path


def prepare(programs: Sequence[str] = PROGRAMS) -> None:
  """Imports what the forks run."""
  for name in programs:
    importlib.import_module(name)
  if programs is not PROGRAMS:
    return
  library = importlib.import_module("ltx_jax")
  for name in library.__all__:
    getattr(library, name)
  # These are imported only when there is a text, or something to draw.
  for name in ("transformers", "matplotlib.pyplot", "PIL.Image"):
    importlib.import_module(name)
  importlib.import_module("ltx_jax.text.prompts").load_tokenizer(TOKENIZER)


@contextlib.contextmanager
def done(case: Case, shelf: Path) -> Iterator[Outcome]:
  """Runs a case, and keeps its folder for as long as it is looked at."""
  # Not a TemporaryDirectory: a fork would remove it when it ends.
  root = Path(tempfile.mkdtemp(prefix="odd-"))
  mounted = False
  try:
    folder, aside = root / "here", root / "aside"
    for each in (folder, aside / "tmp", aside / "cache"):
      each.mkdir(parents=True)
    if case.disk is not None:
      (folder / "disk").mkdir()
      mounted = _mount(folder / "disk", case.disk)
    for name, make in case.files.items():
      put(folder / name, make, shelf)
    yield _outcome(case, shelf, folder, aside, quota=case.disk and not mounted)
  finally:
    if mounted:
      subprocess.run(["umount", str(root / "here" / "disk")], check=True)
    _remove(root)


def _outcome(
  case: Case, shelf: Path, folder: Path, aside: Path, quota: bool | None
) -> Outcome:
  before = listing(folder)
  pid = (_spawn if case.real else _fork)(case, shelf, folder, aside, quota)
  code, peak, seconds = _wait(pid, case, folder, aside)
  return Outcome(
    code,
    _read(aside / "stdout"),
    _read(aside / "stderr"),
    seconds,
    peak,
    before,
    listing(folder),
    sorted(path.name for path in (aside / "tmp").iterdir()),
    folder,
  )


def _mount(path: Path, kilobytes: int) -> bool:
  """Mounts a small disk, where one may."""
  words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path)]
  return os.geteuid() == 0 and not subprocess.run(words, capture_output=True).returncode


def _remove(root: Path) -> None:
  for parent, _, _ in os.walk(root):
    os.chmod(parent, 0o700)
  shutil.rmtree(root)


def listing(folder: Path) -> dict[str, str]:
  """Returns what is in a folder: a hash of each file, and the names of folders."""
  found = {}
  for parent, folders, files in os.walk(folder):
    for name in folders:
      found[os.path.relpath(os.path.join(parent, name), folder) + "/"] = ""
    for name in files:
      path = os.path.join(parent, name)
      found[os.path.relpath(path, folder)] = _hash(path)
  return found


def _hash(path: str) -> str:
  if os.path.islink(path):
    return os.readlink(path)
  if not os.path.isfile(path):
    return "special"
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> str:
  return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def arguments(case: Case, shelf: Path) -> list[str]:
  """The command with the shelf's path in it."""
  return [word.replace("{shelf}", str(shelf)) for word in case.command]


def environment(case: Case, aside: Path) -> dict[str, str]:
  """Variables of the process: temporary files and caches of its own."""
  own = {"TMPDIR": str(aside / "tmp"), "XDG_CACHE_HOME": str(aside / "cache")}
  own["PYTHONPATH"] = str(ROOT)
  return {**own, "HF_HUB_OFFLINE": "1", **case.streams.environment}


# --- Starting -------------------------------------------------------------------------


def _opened(case: Case, aside: Path) -> list[int]:
  """Opens the three streams, as the case says; -1 for one that is closed."""
  streams, opened = case.streams, []
  if streams.stdin == "open":
    reader, writer = os.pipe()
    os.set_inheritable(writer, False)  # Nothing comes, and no end either.
    opened.append(reader)
  else:
    null = os.open(os.devnull, os.O_RDONLY)
    opened.append(null if streams.stdin == "null" else -1)
  for name, kind in (("stdout", streams.stdout), ("stderr", streams.stderr)):
    if kind == "file":
      opened.append(os.open(aside / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    elif kind == "full":
      opened.append(os.open("/dev/full", os.O_WRONLY))
    elif kind == "pipe":
      reader, writer = os.pipe()
      os.close(reader)
      opened.append(writer)
    else:
      opened.append(-1)
  return opened


def _spawn(
  case: Case, shelf: Path, folder: Path, aside: Path, quota: bool | None
) -> int:
  """Starts a process of its own."""
  streams = _opened(case, aside)
  words = arguments(case, shelf)
  words = ["-c", _catching(words[1])] if words[0] == PYTHON else ["-m", *words]

  def arrange() -> None:
    _limit(case, quota)
    _connect(streams)

  process = subprocess.Popen(
    [sys.executable, *words],
    cwd=folder,
    env=os.environ | environment(case, aside),
    preexec_fn=arrange,
    start_new_session=True,
    close_fds=False,
  )
  for stream in streams:
    if stream >= 0:
      os.close(stream)
  process.returncode = 0  # It is waited for elsewhere.
  return process.pid


def _fork(
  case: Case, shelf: Path, folder: Path, aside: Path, quota: bool | None
) -> int:
  """Forks, and runs the program there to its end."""
  streams = _opened(case, aside)
  pid = os.fork()
  if pid:
    for stream in streams:
      if stream >= 0:
        os.close(stream)
    return pid
  code = 1
  try:
    os.setsid()
    _limit(case, quota)
    _connect(streams)
    _give_up_rights()
    os.environ.update(environment(case, aside))
    tempfile.tempdir = None
    os.chdir(folder)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdout, sys.stderr = (_text_stream(n, streams[n], encoding) for n in (1, 2))
    if streams[0] < 0:
      sys.stdin = None
    code = _run(arguments(case, shelf))
  finally:
    os._exit(code)


def _limit(case: Case, quota: bool | None) -> None:
  # Whoever starts this in the background may have it ignore them.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
  resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  if quota:
    size = case.disk * 1024
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _connect(streams: Sequence[int]) -> None:
  for number, stream in enumerate(streams):
    if stream < 0:
      os.close(number)
    else:
      os.dup2(stream, number)


def _give_up_rights() -> None:
  """Gives up root's right to open what nobody may."""
  if os.geteuid():
    return
  libc = ctypes.CDLL(None, use_errno=True)
  header = (ctypes.c_uint32 * 2)(0x20080522, 0)
  sets = (ctypes.c_uint32 * 6)()
  if libc.capget(header, sets):
    raise OSError(ctypes.get_errno(), "capget")
  sets[0] &= ~_NO_RIGHTS
  sets[1] &= ~_NO_RIGHTS  # Of which `os.access` makes use.
  if libc.capset(header, sets):
    raise OSError(ctypes.get_errno(), "capset")


def _text_stream(number: int, stream: int, encoding: str) -> io.TextIOWrapper | None:
  if stream < 0:
    return None
  errors = "strict" if number == 1 else "backslashreplace"
  raw = os.fdopen(number, "wb", closefd=False)
  return io.TextIOWrapper(raw, encoding, errors, line_buffering=number == 2)


def _catching(code: str) -> str:
  """Python whose refusals end as those of a program."""
  lines = "\n".join(f"  {line}" for line in code.splitlines())
  return (
    "import pathlib, numpy as np, ltx_jax\nfrom PIL import Image\n"
    "from ltx_jax.cli.command_line import errors_in_words\n"
    f"with errors_in_words():\n{lines}\n"
  )


def _run(words: Sequence[str]) -> int:
  """What Python does from `-m` on, to its exit code."""
  code = 0
  try:
    if words[0] == PYTHON:
      exec(compile(_catching(words[1]), "<odd input>", "exec"), {"__name__": "odd"})
    else:
      sys.argv = list(words)
      package = importlib.util.find_spec(words[0]).submodule_search_locations
      sys.modules.pop(f"{words[0]}.__main__" if package else words[0], None)
      runpy.run_module(words[0], run_name="__main__", alter_sys=True)
  except SystemExit as end:
    if isinstance(end.code, int | None):
      code = end.code or 0
    else:
      print(end.code, file=sys.stderr)
      code = 1
  except BaseException as error:
    traceback.print_exc()
    code = 130 if isinstance(error, KeyboardInterrupt) else 1
  threading._shutdown()
  atexit._run_exitfuncs()
  for stream in (sys.stdout, sys.stderr):
    try:
      builtins.getattr(stream, "flush", lambda: None)()
    except OSError:  # As Python does where its last words are not taken.
      code = 120
      os.write(2, b"Exception ignored in: stdout\n")
  return code


# --- Waiting --------------------------------------------------------------------------


def _wait(
  pid: int, case: Case, folder: Path, aside: Path
) -> tuple[int | None, float, float]:
  """Waits for the end; sends the signal that the case has, and ends what takes long."""
  began, due = time.monotonic(), None
  told = case.signal is None
  while True:
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    if ended:
      code = os.waitstatus_to_exitcode(status)
      _kill_group(pid)
      return (128 - code if code < 0 else code), *_used(usage)
    now = time.monotonic()
    if now - began > PATIENCE * case.seconds:
      _kill_group(pid)
      return None, *_used(os.wait4(pid, 0)[2])
    if not told and due is None and _reached(case.signal.after, folder, aside):
      due = now + case.signal.wait
    if not told and due is not None and now >= due:
      os.kill(pid, case.signal.number)
      told = True
    time.sleep(_STEP)


def _used(usage: resource.struct_rusage) -> tuple[float, float]:
  """Megabytes and seconds of a process."""
  return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def _reached(after: str, folder: Path, aside: Path) -> bool:
  if not after or after in _read(aside / "stdout"):
    return True
  names = (name for _, folders, files in os.walk(folder) for name in (*folders, *files))
  return any(fnmatch.fnmatch(name, after) for name in names)


def _kill_group(pid: int) -> None:
  with contextlib.suppress(ProcessLookupError):
    os.killpg(pid, signal.SIGKILL)
