"""The command `ltx-jax`."""

import importlib
import tomllib
from pathlib import Path

import pytest

import sample.__main__ as command

ROOT = Path(__file__).resolve().parents[2]


def ended(capsys, *words):
  with pytest.raises(SystemExit) as ended:
    command.main(words)
  return ended.value.code, capsys.readouterr()


def test_every_program_is_there_and_explains_itself(capsys):
  code, printed = ended(capsys, "--help")
  assert code == 0
  for name in command.PROGRAMS:
    assert name in printed.out
    code, own = ended(capsys, name, "--help")
    assert code == 0 and "usage: python -m sample" in own.out


def test_no_program_and_an_unknown_one_are_refused_in_a_sentence(capsys):
  assert ended(capsys)[0] == 2
  code, printed = ended(capsys, "train")
  assert code == 2 and "no program 'train'; there are: generate" in printed.out


def test_bad_input_is_refused_as_by_the_program_itself(capsys):
  code, printed = ended(capsys, "generate", "a", "--frames", "0")
  assert code == 2 and "frames is 0; it must be at least 1" in printed.err


def test_the_wheel_has_the_command_and_what_it_imports():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())
  module, _, function = project["project"]["scripts"]["ltx-jax"].partition(":")
  assert callable(getattr(importlib.import_module(module), function))
  packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
  assert packages == ["ltx_jax", "sample"]
  for file in (ROOT / "sample").rglob("*.py"):
    if "benchmark" not in file.parts:  # Not reached by the command.
      lines = file.read_text().splitlines()
      assert not [x for x in lines if x.startswith(("from train", "from configs"))]
