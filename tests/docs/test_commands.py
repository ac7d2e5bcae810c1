"""Every command line that a page or a docstring shows is one that its program reads.

Each is given to the program itself, in this process, and stopped once it has been read.
A word in capitals stands for what the reader has: `RECIPE` for a recipe, `NAME` for a
device, `N`, `I` and what a shell fills in (`$VARIABLE`) for a number; other texts and
names of files may be anything. Of several values, `h100|t4`, the first one is given.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import re
import sys

import pytest

from ltx_jax.cli import command_line
from ltx_jax.files import read_text
from sample.__main__ import PROGRAMS
from tests.docs.pages import (
  PAGES,
  ROOT,
  SOURCES,
  docstring,
  fences,
  indented,
  name_of,
  spans,
)
from tests.docs.shell import commands

OURS = ("sample", "train", "tests.verify", "tests.experiments")
STANDS_FOR = {"RECIPE": "tiny", "CONFIG": "tiny", "NAME": "h100", "N": "2", "I": "1"}


class Read(BaseException):
  """The command line was read, and nothing else happened."""


@functools.cache
def found() -> dict[tuple[str, tuple[str, ...]], str]:
  """Returns every command, and the first place that shows it."""
  blocks = []
  for path in PAGES:
    text = read_text(path)
    blocks += [(path, *each[::2]) for each in fences(text) if each[1] == "sh"]
    blocks += [(path, *each) for each in indented(text)]
    blocks += [(path, *each) for each in spans(text)]
  for path in SOURCES:
    blocks += [(path, *each) for each in indented(docstring(path) + "\n")]
  places = {}
  for path, line, code in blocks:
    if re.search(r"python[\d.]* +-m|ltx-jax|make ", code):
      for program, arguments in commands(code):
        key = (program, tuple(arguments))
        places.setdefault(key, f"{name_of(path)}:{line}")
  return places


def stand_in(word: str) -> str:
  first = re.sub(r"^([\w-]+)(\|[\w-]+)+$", r"\1", word)
  return STANDS_FOR.get(first, "1" if re.fullmatch(r"\$\w+", first) else first)


def read(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
  """Has a program read its command line.

  Raises:
    SystemExit, ValueError, OSError: where it refuses it.
  """
  real, parse = command_line.run_tyro, argparse.ArgumentParser.parse_args

  def tyro_and_stop(reading):
    real(reading)
    raise Read

  def argparse_and_stop(self, *given):
    arguments = parse(self, *given)
    for name in getattr(arguments, "checks", []):
      path = ROOT / "tests" / "verify" / f"{name}.py"
      if not path.exists():
        self.error(f"no check {name}")
    raise Read

  module = importlib.import_module(program)
  if hasattr(module, "__path__"):
    module = importlib.import_module(f"{program}.__main__")
  with monkeypatch.context() as patch:
    # `train.compile` reads a part of its own first, and the recipe's after it.
    patch.setattr(command_line, "run_tyro", tyro_and_stop)
    patch.setattr("train.harness.recipe.run_tyro", tyro_and_stop)
    patch.setattr(argparse.ArgumentParser, "parse_args", argparse_and_stop)
    patch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(Read):
      module.main()


def fault(program: str, arguments: list[str], monkeypatch, capsys) -> str | None:
  """What is wrong with a command line, or None."""
  if program == "make":
    targets = re.findall(r"^(\w+):", read_text(ROOT / "Makefile"), re.MULTILINE)
    return None if arguments[0] in targets else "has no such target"
  if program == "ltx-jax":
    if arguments[0] not in PROGRAMS:
      return f"there is no program {arguments[0]}"
    (program, _), arguments = PROGRAMS[arguments[0]], arguments[1:]
  if not program.startswith(OURS):
    return None
  try:
    read(program, [stand_in(word) for word in arguments], monkeypatch)
  except (ModuleNotFoundError, ValueError, OSError) as error:
    # A name alone stands for the program.
    return str(error) if arguments else None
  except SystemExit as end:
    said = capsys.readouterr()
    return said.err or said.out if end.code and arguments else None
  return None


def test_every_command_line_is_one_that_its_program_reads(monkeypatch, capsys):
  wrong = []
  for (program, arguments), place in found().items():
    why = fault(program, list(arguments), monkeypatch, capsys)
    if why:
      wrong.append(f"{place}: {program} {' '.join(arguments)}\n    {why.strip()}")
  assert not wrong, "\n".join(["Command lines that no program reads:", *wrong])


def test_commands_are_found_where_they_are():
  places = found()
  programs = {program for program, _ in places}
  assert {"sample.generate", "train.vae", "train.compile", "ltx-jax"} <= programs
  assert any(place.startswith("docs/pods.md") for place in places.values())
  assert any(place.startswith("configs/lora.py") for place in places.values())
  assert len(places) > 100


@pytest.mark.parametrize(
  ("program", "arguments", "why"),
  [
    ("sample.generate", ["x", "--widht", "64"], "did you mean --width?"),
    ("ltx-jax", ["generate", "x", "--widht", "64"], "did you mean --width?"),
    ("ltx-jax", ["generat"], "there is no program generat"),
    ("train.vae", ["tinny"], "No recipe tinny"),
    (
      "train.compile",
      ["tiny", "--device", "h100", "--mesh.tenser", "2"],
      "--mesh.tens",
    ),
    ("train.evaluate", ["generations"], "has no command generations"),
    ("sample.nothing", ["x"], "No module named"),
    ("tests.verify", ["--fresch"], "unrecognized arguments"),
    ("tests.verify", ["benchmarks"], "no check benchmarks"),
    ("tests.experiments", ["uniforms"], "no recipe uniforms"),
    ("tests.experiments", ["vae", "no-gans"], "no recipe no-gans"),
    ("make", ["tests"], "no such target"),
  ],
)
def test_a_wrong_command_line_is_told(program, arguments, why, monkeypatch, capsys):
  assert why in fault(program, arguments, monkeypatch, capsys)


def test_an_option_on_a_line_of_its_own_is_told():
  code = "ssh host --command 'python -m train.vae tiny\n  --steps 1'"
  with pytest.raises(ValueError, match="begins with --steps"):
    list(commands(code))


def test_blocks_are_taken_apart_as_a_shell_does():
  code = """
export A=1   # python -m train.not_this
B=2 python -m sample.generate "a | b" \\
  --seed 1 && make demo
ssh host --command 'cd x && .venv/bin/python -m train.vae tiny \\
  --steps 1'
ltx-jax doctor | tee log
"""
  assert list(commands(code)) == [
    ("sample.generate", ["a | b", "--seed", "1"]),
    ("make", ["demo"]),
    ("train.vae", ["tiny", "--steps", "1"]),
    ("ltx-jax", ["doctor"]),
  ]
