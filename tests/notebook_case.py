"""The notebook `sample/colab.ipynb` as data, for several tests."""

import ast
import copy
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "sample" / "colab.ipynb"
# A setting with the form field that Colab shows for it.
SETTING = re.compile(
  r"^(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>.*?)  # @param (?P<field>.+)$"
)
COMMAND = re.compile(r"^\s*[!%]")


def read():
  return json.loads(NOTEBOOK.read_text())


def source(cell):
  return "".join(cell["source"])


def code_cells(notebook):
  """Yields (id, source) of each code cell."""
  for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
      yield cell["id"], source(cell)


def settings(text):
  """Values of a cell's settings, by name."""
  found = (SETTING.match(line) for line in text.splitlines())
  return {each["name"]: ast.literal_eval(each["value"]) for each in found if each}


def with_settings(notebook, values):
  """Returns the notebook with other values of settings, as a user would fill them in.

  Args:
    values: {cell id: {name: value}}.

  Raises:
    ValueError: where a cell, or a setting in it, is not there.
  """
  changed = copy.deepcopy(notebook)
  cells = {cell["id"]: cell for cell in changed["cells"]}
  for identity, given in values.items():
    known = settings(source(cells[identity])) if identity in cells else {}
    unknown = given.keys() - known.keys()
    if unknown:
      raise ValueError(f"Cell {identity!r} has no settings {sorted(unknown)}.")

    def filled(line, given=given):
      match = SETTING.match(line)
      if not match or match["name"] not in given:
        return line
      return f"{match['name']} = {given[match['name']]!r}  # @param {match['field']}\n"

    lines = source(cells[identity]).splitlines(keepends=True)
    cells[identity]["source"] = "".join(filled(line) for line in lines)
  return changed


def commands(text):
  """Command lines behind a !, their lines joined, with settings for what is in {}."""
  joined = text.replace("\\\n", " ")
  values = {name: str(value) for name, value in settings(text).items()}
  lines = [line.strip() for line in joined.splitlines() if COMMAND.match(line)]
  return [
    re.sub(r"\{([A-Z_]+)\}", lambda m: values.get(m[1], m[0]), line[1:])
    for line in lines
    if line[0] == "!"
  ]


def as_python(text):
  """A cell's source with `pass` in place of commands and magics."""
  lines = text.replace("\\\n", " ").splitlines()
  return "\n".join(
    re.sub(r"\S.*", "pass", line) if COMMAND.match(line) else line for line in lines
  )
