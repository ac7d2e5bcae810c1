"""The pages that people read, and the code in them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from ltx_jax.files import read_text

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
  [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "ltx_jax" / "assets").rglob("README.md"),
  ]
)
SOURCES = sorted(
  path
  for folder in ("configs", "train", "sample")
  for path in (ROOT / folder).rglob("*.py")
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*\n|\n(?= {4}))+", re.MULTILINE)


def name_of(path: Path) -> str:
  return str(path.relative_to(ROOT))


def fences(text: str) -> Iterator[tuple[int, str, str]]:
  """Yields (line, language, code) of every fenced block."""
  for match in _FENCE.finditer(text):
    yield text.count("\n", 0, match.start()) + 2, match[1], match[2]


def indented(text: str) -> Iterator[tuple[int, str]]:
  """Yields (line, code) of every block that is code because it is indented."""
  for match in _INDENTED.finditer(_FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)):
    yield text.count("\n", 0, match.start()) + 1, inspect.cleandoc("\n" + match[0])


def spans(text: str) -> Iterator[tuple[int, str]]:
  """Yields (line, code) of every piece of code within a sentence."""
  prose = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
  for match in re.finditer(r"`([^`]+)`", prose):
    yield prose.count("\n", 0, match.start()) + 1, " ".join(match[1].split())


def docstring(path: Path) -> str:
  return ast.get_docstring(ast.parse(read_text(path))) or ""
