"""Reads the programs' command lines, and reports bad input in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import tyro

BAD_INPUT = 2
"""Exit code for errors that the user can correct."""


class Ended(Exception):
  """A program ended before its work was done; the message explains why."""

  exit_code = 1


@contextlib.contextmanager
def errors_in_words() -> Iterator[None]:
  """Prints bad input as one sentence on stderr and exits with code 2, no traceback.

  Run Python with `-X dev` to see the traceback all the same.
  """
  try:
    yield
  except (ValueError, OSError, Ended) as error:
    if sys.flags.dev_mode:
      raise
    print(_sentence(error), file=sys.stderr)
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
  for argument in itertools.takewhile(lambda argument: argument != "--", argv):
    option = argument.split("=")[0].replace("_", "-")
    if re.match(r"--?[a-zA-Z]", argument) and option not in known:
      raise ValueError(
        f"Unknown option {option}; {nearest(option, options)} `{program} --help` "
        "lists all."
      )


def _flags(options: type) -> list[str]:
  """Returns the fields of a dataclass that are options, not positional arguments.

  A dataclass in a field adds its own fields, after the field's name unless that is
  omitted.
  """
  names = []
  for name, kind in typing.get_type_hints(options, include_extras=True).items():
    inner = get_args(kind)[0] if get_args(kind) else kind
    if dataclasses.is_dataclass(inner):
      bare = tyro.conf.OmitArgPrefixes in get_args(kind)
      names += [flag if bare else f"{name}.{flag}" for flag in _flags(inner)]
    elif tyro.conf.Positional not in get_args(kind):
      names.append(name)
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
    raise ValueError(_without_box(errors.getvalue())) from None


def nearest(name: str, names: Sequence[str]) -> str:
  """Returns a question with the most similar of `names`, or says that none is."""
  last = {candidate.split(".")[-1].lstrip("-"): candidate for candidate in names}
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
  tails = difflib.get_close_matches(name.split(".")[-1].lstrip("-"), last, n=1)
  guess = near[0] if near else last[tails[0]] if tails else None
  return f"did you mean {guess}?" if guess else "nothing is named like it."


def _without_box(text: str) -> str:
  """Returns tyro's error, the first paragraph between its rulers, on one line."""
  parts = re.split(r"^.*[-─]{10,}.*$", text, flags=re.MULTILINE)
  said = re.sub(r"[│╭╮╰╯]", " ", parts[1] if len(parts) > 1 else text)
  # tyro puts the name of the group before errors of a config's own checks.
  return re.sub(r"^Error parsing \w+: ", "", one_line(said))


def _sentence(error: Exception) -> str:
  """Returns an error's message on one line; for system errors, with the file's name."""
  if isinstance(error, OSError) and error.strerror:
    about = "" if error.filename is None else f" {error.filename}"
    return f"Cannot read or write{about}: {error.strerror}."
  return one_line(str(error)) or repr(error)


def one_line(text: str) -> str:
  """Joins several lines into one."""
  return " ".join(text.split())
