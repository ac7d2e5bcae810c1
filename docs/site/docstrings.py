"""The docstrings of this repository as reStructuredText.

They are written to be read in the source: code stands in single backticks, equations
and commands are indented, tables have pipes, and stars and bars are just what they are.
All of that means something else to Sphinx, so it is rewritten on the way. Sections such
as `Args:` are left as they are, for Napoleon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Note|Example):$")
_ITEM = re.compile(r"(-|\d+\.) ")
_COLUMNS = re.compile(r"\S {3,}\S")


def to_rest(lines: Sequence[str]) -> list[str]:
  """Returns the lines of a docstring as reStructuredText."""
  result: list[str] = []
  before = ""
  for block in _paragraphs(lines):
    kind = _kind(block, before)
    # Paragraphs of one literal block have empty lines between them and no new mark.
    if kind == "literal":
      result += [] if before == "literal" else ["::", ""]
      result += ["   " + line for each in block for line in _command(each)]
    elif kind == "table":
      result += _list_table(block)
    else:
      result += inline("\n".join(block)).split("\n")
    result.append("")
    before = kind
  return result


def inline(text: str) -> str:
  """Doubles backticks, and takes the meaning from what is markup to Sphinx only.

  Options stand in backticks too: two hyphens would become a dash.
  """
  pieces = re.split(r"(`+[^`]+`+|(?<![\w-])--[a-z][\w.-]*\w)", text)
  for i, piece in enumerate(pieces):
    if i % 2:
      code = " ".join(piece.strip("`").split())
      # Markup ends only where a word does; an escaped space ends it anywhere.
      left = "\\ " if re.search(r"[\w\])}/-]$", pieces[i - 1]) else ""
      right = "\\ " if re.match(r"[\w(]", pieces[i + 1]) else ""
      pieces[i] = f"{left}``{code}``{right}"
    else:
      piece = re.sub(r"([\\*|])", r"\\\1", piece)
      pieces[i] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", piece)
  return "".join(pieces)


def _paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
  """Yields runs of lines between empty ones."""
  block: list[str] = []
  for line in [*lines, ""]:
    if line.strip():
      block.append(line.rstrip())
    elif block:
      yield block
      block = []


def _kind(block: Sequence[str], before: str) -> str:
  """What a paragraph is: prose, list, section, table or literal."""
  if block[0].startswith(" "):
    # What is indented goes on with the list or the section it stands in.
    return before if before in ("list", "section") else "literal"
  if _SECTION.match(block[0]):
    return "section"
  if all(line.startswith("|") for line in block):
    return "table"
  if _ITEM.match(block[0]):
    return "list"
  if len(block) > 1 and all(_COLUMNS.search(line) for line in block):
    return "literal"
  return "prose"


def _command(line: str) -> list[str]:
  """A command whose lines were joined where the source ends them with a backslash."""
  if not re.match(r" *python -m ", line):
    return [line]
  first, *rest = re.split(r" {3,}(?=\S)", line.strip())
  indent = line[: len(line) - len(line.lstrip())]
  parts = [indent + first, *(f"{indent}  {part}" for part in rest)]
  return [*(f"{part} \\" for part in parts[:-1]), parts[-1]]


def _list_table(block: Sequence[str]) -> list[str]:
  """A table with pipes as the directive that takes any length of text in a cell."""
  rows = [
    line.strip("|").split("|") for line in block if not re.match(r"\|[-|: ]+$", line)
  ]
  result = [".. list-table::", "   :header-rows: 1", ""]
  for row in rows:
    marks = ["   * - ", *["     - "] * (len(row) - 1)]
    result += [
      f"{mark}{inline(cell.strip())}" for mark, cell in zip(marks, row, strict=True)
    ]
  return result
