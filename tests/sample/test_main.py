"""The command `ltx-jax`."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import sample.__main__ as command
from tests.test_style import imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGED, LEFT_OUT = ("ltx_jax", "sample"), ("train", "configs", "tests")


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
  code, printed = ended(capsys, "genrate")
  assert code == 2 and "no program 'genrate'; did you mean generate?" in printed.err


def test_bad_input_is_refused_as_by_the_program_itself(capsys):
  code, printed = ended(capsys, "generate", "a", "--frames", "0")
  assert code == 2 and "frames is 0; it must be at least 1" in printed.err


def test_the_wheel_has_the_command():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())
  module, _, function = project["project"]["scripts"]["ltx-jax"].partition(":")
  assert callable(getattr(importlib.import_module(module), function))
  packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
  assert tuple(packages) == PACKAGED


def modules(root):
  """Returns the file of each module of this project, by its dotted name."""
  found = {}
  for folder in (*PACKAGED, *LEFT_OUT):
    for path in (root / folder).rglob("*.py"):
      parts = path.relative_to(root).with_suffix("").parts
      found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
  return found


def names_in(path, root):
  """Yields every name that a file imports, and every text in it that may be one.

  Programs start others as `python -m NAME`, and import some by their names.
  """
  tree = ast.parse(path.read_text())
  yield from (name for _, name in imports(path.relative_to(root), tree))
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield node.value


def reached(start, root):
  """Returns the modules that are imported from some, each with one that imports it."""
  known, todo, found = modules(root), dict.fromkeys(start, "the command"), {}
  while todo:
    module, by = todo.popitem()
    found[module] = by
    for name in names_in(known[module], root):
      pieces = name.split(".")
      for end in range(1, len(pieces) + 1):  # Packages are imported on the way.
        each = ".".join(pieces[:end])
        if each in known and each not in found and "." in name:
          todo.setdefault(each, module)
  return found


def test_what_the_command_reaches_is_in_the_wheel():
  start = ["sample.__main__", *(module for module, _ in command.PROGRAMS.values())]
  found = reached(start, ROOT)
  assert {"sample.making", "sample.app.decode", "ltx_jax.models.vae"} <= found.keys()
  outside = [
    f"{by} imports {m}" for m, by in found.items() if m.split(".")[0] in LEFT_OUT
  ]
  assert not outside, outside


@pytest.mark.parametrize(
  "line", ["from train import harness", "import configs.tiny", 'RUN = "train.harness"']
)
def test_an_import_from_outside_the_wheel_is_found_wherever_it_hides(tmp_path, line):
  for module in ("sample.first", "sample.second", "train.harness", "configs.tiny"):
    path = tmp_path / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.touch()
  (tmp_path / "sample/first.py").write_text("def f():\n  from sample import second\n")
  (tmp_path / "sample/second.py").write_text(f"{line}\n")
  found = reached(["sample.first"], tmp_path)
  assert {"train.harness", "configs.tiny"} & found.keys()
