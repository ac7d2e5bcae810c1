"""What an odd input is: who would give it, what they run, and how it must end.

Commands and expected words may hold `{shelf}`, the folder of prepared inputs. A command
is a program as one types it after `python -m`; `PYTHON` is a line of Python instead,
that uses the library, and whose ValueErrors and OSErrors count as refusals.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

PYTHON = "python"
PROMPT = "a large red circle moving right on a navy background"

Make = str | bytes | Callable[[Path, Path], object]
"""What is in a file, or what makes it: (its path, the shelf)."""
Files = Mapping[str, Make]
NOTHING: Files = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Streams:
  """Where a program reads and writes, apart from files.

  Attributes:
    stdin: `null`, `closed`, or `open`: a pipe to which nothing is ever written.
    stdout: `file`, `closed`, `full` (`/dev/full`), or `pipe`: one whose reader goes
      away at once.
    stderr: `file`, `closed` or `full`.
    environment: Variables that are set when Python starts.
  """

  stdin: str = "null"
  stdout: str = "file"
  stderr: str = "file"
  environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Signal:
  """A signal that comes while the program works.

  Attributes:
    number: Which.
    after: What must be there first: a text that the program has printed, or the pattern
      of a file's name.
    wait: Seconds after that.
  """

  number: int
  after: str = ""
  wait: float = 0.0


@dataclasses.dataclass(frozen=True)
class Case:
  """An odd input, and how it must end.

  Attributes:
    who: Who would do that.
    command: A program and its arguments.
    files: What lies in the working folder, by name.
    code: Exit code.
    names: Words that the message on stderr must hold; where the input is accepted,
      words on stdout.
    makes: Patterns of the files that may be new, where it is accepted: each must be
      there.
    leaves: Patterns of further files that may be new.
    seconds: Processor time that it may take.
    megabytes: Most memory that it may take.
    streams: Where it reads and writes.
    signal: What comes in between.
    disk: Kilobytes that the folder `disk` has room for; None: no such limit.
    real: Whether it is a process of its own from the start, not a fork of one that has
      imported everything.
    silent: Whether there is nobody to read a message.
  """

  who: str
  command: tuple[str, ...]
  files: Files = dataclasses.field(default_factory=dict)
  code: int = 2
  names: tuple[str, ...] = ()
  makes: tuple[str, ...] = ()
  leaves: tuple[str, ...] = ()
  seconds: float = 30.0
  megabytes: int = 2000
  streams: Streams = dataclasses.field(default_factory=Streams)
  signal: Signal | None = None
  disk: int | None = None
  real: bool = False
  silent: bool = False

  @property
  def program(self) -> str:
    """The program, or the library."""
    return "ltx_jax" if self.command[0] == PYTHON else self.command[0]


def refused(
  who: str, command: tuple[str, ...], *names: str, files: Files = NOTHING, **more
) -> Case:
  """An input that is refused in a sentence with these words in it."""
  return Case(who, command, files, 2, names, **more)


def accepted(
  who: str,
  command: tuple[str, ...],
  *makes: str,
  files: Files = NOTHING,
  says: tuple[str, ...] = (),
  **more,
) -> Case:
  """An input that is fine, and makes these files."""
  more = {"seconds": 120.0, "megabytes": 3000} | more
  return Case(who, command, files, 0, says, makes, **more)


def generate(*arguments: str, prompt: str = PROMPT) -> tuple[str, ...]:
  """The command line of a small video by the smallest model."""
  return ("sample.generate", prompt, "--model", "{shelf}/model", *arguments)


def quick(*arguments: str, prompt: str = PROMPT) -> tuple[str, ...]:
  """The same, of a size and with steps that take a second."""
  size = "--width", "40", "--height", "32", "--frames", "5", "--steps", "2"
  return generate(*size, "--no-sheet", *arguments, prompt=prompt)


def library(code: str) -> tuple[str, ...]:
  """A line of Python, with what it needs imported."""
  return PYTHON, code


def reads(path: str) -> tuple[str, ...]:
  """What all programs do with an image or a clip first."""
  return library(
    "from ltx_jax.data import video\n"
    f"frames, _ = video.read({path!r})\n"
    "assert frames.ndim == 4 and frames.size, frames.shape"
  )


def writes(path: str) -> tuple[str, ...]:
  """What all programs do with a video at last."""
  return library(
    "from ltx_jax.data import video\n"
    f"video.write({path!r}, np.zeros((3, 32, 40, 3), 'u1'), 24)"
  )


def encodes(prompt: str) -> tuple[str, ...]:
  """What all programs do with a prompt first."""
  return library(
    "text, mask = ltx_jax.load_text_encoder('{shelf}/model').encode("
    f"[{prompt!r}])\nassert np.isfinite(np.asarray(text)).all()"
  )


def shelved(name: str) -> Callable[[Path, Path], object]:
  """A copy of a file or a folder of the shelf."""

  def make(path: Path, shelf: Path) -> None:
    source = shelf / name
    copy = shutil.copytree if source.is_dir() else shutil.copyfile
    copy(source, path)

  return make


def linked(name: str) -> Callable[[Path, Path], object]:
  """A link to what is on the shelf."""
  return lambda path, shelf: path.symlink_to(shelf / name)


def folder(path: Path, _: Path) -> None:
  """An empty folder."""
  path.mkdir(parents=True)


def cut(name: str, share: float) -> Callable[[Path, Path], object]:
  """The first part of a file of the shelf, as of a download that broke off."""

  def make(path: Path, shelf: Path) -> None:
    whole = (shelf / name).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

  return make


def locked(make: Make, mode: int = 0) -> Callable[[Path, Path], object]:
  """The same without the rights of reading, or others."""

  def lock(path: Path, shelf: Path) -> None:
    put(path, make, shelf)
    path.chmod(mode)

  return lock


def without(name: str, *missing: str) -> Callable[[Path, Path], object]:
  """A folder of the shelf without some of its files."""

  def make(path: Path, shelf: Path) -> None:
    shutil.copytree(shelf / name, path)
    for each in missing:
      gone = path / each
      shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

  return make


def with_file(name: str, inside: str, make: Make) -> Callable[[Path, Path], object]:
  """A folder of the shelf with another file in it, or in place of one."""

  def add(path: Path, shelf: Path) -> None:
    if not path.exists():
      shutil.copytree(shelf / name, path)
    gone = path / inside
    if gone.is_dir():
      shutil.rmtree(gone)
    gone.unlink(missing_ok=True)
    put(gone, make, shelf)

  return add


def put(path: Path, make: Make, shelf: Path) -> None:
  """Makes a file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(make, str):
    path.write_bytes(make.encode())
  elif isinstance(make, bytes):
    path.write_bytes(make)
  else:
    make(path, shelf)
