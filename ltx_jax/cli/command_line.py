"""Reads the programs' command lines, and reports bad input in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import io
import itertools
import os
import re
import shlex
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import tyro

from ltx_jax.cli import ending, tyro_errors
from ltx_jax.cli.tyro_errors import one_line

BAD_INPUT = 2
"""Exit code for errors that the user can correct."""


_ELSEWHERE = "choose a place where you may"
_REMEDIES = {
  errno.ENOSPC: "free some space, or choose another disk",
  errno.EDQUOT: "free some space, or choose another disk",
  errno.EFBIG: "raise the limit of file sizes, or choose another disk",
  errno.EACCES: _ELSEWHERE,
  errno.EPERM: _ELSEWHERE,
  errno.EROFS: _ELSEWHERE,
  errno.ENAMETOOLONG: "choose a shorter name",
  errno.ENOENT: "check the path",
  errno.EISDIR: "give a file",
  errno.ENOTDIR: "choose a folder that is one",
  errno.EEXIST: "choose another name",
  errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class Ended(Exception):
  """A program ended before its work was done; the message explains why."""

  exit_code = 1


@contextlib.contextmanager
def errors_in_words() -> Iterator[None]:
  """Prints bad input as one sentence on stderr and exits with code 2, no traceback.

  Where the reader of stdout went away, nothing is said. Run Python with `-X dev` to see
  the traceback all the same.
  """
  try:
    yield
  except BrokenPipeError:
    if sys.flags.dev_mode:
      raise
    with contextlib.suppress(OSError):
      ending.flush()  # So that Python has nothing left to complain of.
    raise SystemExit(Ended.exit_code) from None
  except (ValueError, OSError, Ended) as error:
    if sys.flags.dev_mode:
      raise
    ending.say(_sentence(error))
    with contextlib.suppress(OSError):
      ending.flush()  # If it was stdout that failed, it is said once.
    raise SystemExit(getattr(error, "exit_code", BAD_INPUT)) from None


def cli(
  options: Any, argv: Sequence[str] | None = None, *, program: str, about: str
) -> Any:
  """Returns a dataclass filled from the command line; exits with a message on errors.

  Args:
    options: The dataclass, or a union of dataclasses, one per command.
    argv: Arguments that replace the process's own.
    program: The command that runs it, e.g. `python -m sample.generate`.
    about: Description that `--help` shows.
  """
  argv = with_home(sys.argv[1:] if argv is None else argv)
  commands = {command.__name__.lower(): command for command in get_args(options)}
  with errors_in_words():
    if not commands:
      refuse_unknown(argv, _flags(options), program)
      refuse_empty(argv, _flags(options, paths_alone=True))
    elif argv and argv[0] in commands:
      refuse_unknown(argv[1:], _flags(commands[argv[0]]), f"{program} {argv[0]}")
    elif argv[:1] not in (["-h"], ["--help"]):
      found = f"has no command {argv[0]}" if argv else "needs a command"
      raise ValueError(
        f"{program} {found}; there are: {', '.join(commands)}. `{program} --help` "
        "explains them."
      )
    return run_tyro(
      lambda: tyro.cli(options, args=argv, prog=program, description=about)
    )


def as_typed(program: str, argv: Sequence[str] | None = None) -> str:
  """Returns the command that runs a program, for a shell.

  Args:
    program: The command without arguments, e.g. `python -m sample.generate`.
    argv: Arguments that replace the process's own.
  """
  return f"{program} {shlex.join(sys.argv[1:] if argv is None else argv)}".rstrip()


def with_home(argv: Sequence[str]) -> list[str]:
  """Replaces a `~/` at the start of a value by the user's home.

  Shells do so only at the start of a word and outside quotes, so `--output=~/a.mp4`
  would make a folder of that name.
  """
  home = os.path.expanduser("~")
  return [re.sub(r"^(--[\w.-]+=)?~(?=/|$)", rf"\g<1>{home}", word) for word in argv]


def refuse_unknown(argv: Sequence[str], names: Sequence[str], program: str) -> None:
  """Refuses an option that no field has, and suggests the nearest one."""
  options = sorted("--" + name.replace("_", "-") for name in names)
  # tyro writes `--no-flag` for a flag that is on, and `--group.no-flag` in a group.
  negated = [re.sub(r"([^-.][^.]*)$", r"no-\1", option) for option in options]
  known = {"-h", "--help", *options, *negated}
  words = [*itertools.takewhile(lambda argument: argument != "--", argv)]
  for argument, after in itertools.zip_longest(words, words[1:], fillvalue=""):
    # Word processors make a dash of two hyphens.
    written = re.sub(r"^[–—−](?=[a-zA-Z])", "--", argument)
    option = written.split("=")[0].replace("_", "-")
    if re.match(r"--?[a-zA-Z]", written) and (
      written != argument or option not in known
    ):
      value = written.partition("=")[2] or after
      meant = _sides(option, value, options) or nearest(option.lower(), options)
      given = argument.split("=")[0]
      raise ValueError(f"Unknown option {given}; {meant} `{program} --help` lists all.")


def _sides(option: str, value: str, options: Sequence[str]) -> str | None:
  """Returns a question with --width and --height for a --size of both, or None."""
  if option != "--size" or not {"--width", "--height"} <= {*options}:
    return None
  sides = re.fullmatch(r"(\d+)\D(\d+)", value)
  width, height = sides.groups() if sides else ("W", "H")
  return f"did you mean --width {width} --height {height}?"


def refuse_empty(argv: Sequence[str], names: Sequence[str]) -> None:
  """Refuses a path that is empty, as of a variable that is not set: it would be `.`."""
  options = {"--" + name.replace("_", "-") for name in names}
  words = [*itertools.takewhile(lambda argument: argument != "--", argv)]
  for word, after in itertools.zip_longest(words, words[1:]):
    option, equals, value = word.replace("_", "-").partition("=")
    if option in options and (value if equals else after) == "":
      raise ValueError(f"{option} is empty; give a path, or leave it out.")


def _flags(options: type, paths_alone: bool = False) -> list[str]:
  """Returns the fields of a dataclass that are options, not positional arguments.

  A dataclass in a field adds its own fields, after the field's name unless that is
  omitted.

  Args:
    options: The dataclass.
    paths_alone: Only those that take paths.
  """
  names = []
  for name, kind in typing.get_type_hints(options, include_extras=True).items():
    inner = get_args(kind)[0] if get_args(kind) else kind
    if dataclasses.is_dataclass(inner):
      bare = tyro.conf.OmitArgPrefixes in get_args(kind)
      flags = _flags(inner, paths_alone)
      names += [flag if bare else f"{name}.{flag}" for flag in flags]
    elif tyro.conf.Positional not in get_args(kind):
      given = [a.name for a in get_args(kind)[1:] if getattr(a, "name", None)]
      names += [*given, name][:1] if not paths_alone or "Path" in str(kind) else []
  return names


def run_tyro(read: Callable[[], Any]) -> Any:
  """Returns what tyro reads; turns its error boxes into a ValueError."""
  errors = io.StringIO()
  try:
    with contextlib.redirect_stderr(errors):
      return read()
  except SystemExit as end:
    if not end.code:  # --help was printed.
      raise
    raise ValueError(tyro_errors.in_words(errors.getvalue())) from None


def nearest(name: str, names: Sequence[str]) -> str:
  """Returns a question with the most similar of `names`, or says that none is."""
  last = {candidate.split(".")[-1].lstrip("-"): candidate for candidate in names}
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
  tails = difflib.get_close_matches(name.split(".")[-1].lstrip("-"), last, n=1)
  guess = near[0] if near else last[tails[0]] if tails else None
  return f"did you mean {guess}?" if guess else "nothing is named like it."


def _sentence(error: Exception) -> str:
  """Returns an error's message on one line; for system errors, with the file's name."""
  if isinstance(error, OSError) and error.strerror:
    about = "" if error.filename is None else f" {error.filename}"
    remedy = _REMEDIES.get(error.errno, "check the path and the disk")
    said = f"Cannot read or write{about}: {error.strerror}; {remedy}."
    return _bounded(said)
  return _bounded(one_line(str(error))) or repr(error)


def _bounded(text: str) -> str:
  """Leaves out the middle of words that nobody reads, such as a path without end."""
  return re.sub(r"\S{300,}", lambda word: f"{word[0][:100]}...{word[0][-50:]}", text)
