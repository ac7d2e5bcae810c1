"""Blocks of Python on the pages compile and use what there is; links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ltx_jax
from ltx_jax.files import read_text
from tests.docs.pages import PAGES, ROOT, fences, name_of

# What the pages call the things they have made before.
MADE = {
  "model": "LTXVideo",
  "encoder": "TextEncoder",
  "long": "LongVideo",
}
LANGUAGES = {"sh", "python", "bibtex", ""}


def resolve(node: ast.expr) -> Any:
  """What a dotted name of `ltx_jax` or of a thing on the pages is; None of others.

  Raises:
    AttributeError: where it has no such attribute.
  """
  if isinstance(node, ast.Name):
    if node.id in MADE:
      return getattr(ltx_jax, MADE[node.id])
    return ltx_jax if node.id == "ltx_jax" else None
  if isinstance(node, ast.Call):
    made = resolve(node.func)
    return made if inspect.isclass(made) else None
  if isinstance(node, ast.Attribute):
    owner = resolve(node.value)
    if owner is None:
      return None
    fields = getattr(owner, "__dataclass_fields__", {})
    return None if node.attr in fields else getattr(owner, node.attr)
  return None


def faults(code: str) -> Iterator[str]:
  """Yields what a block of Python gets wrong about this library."""
  try:
    tree = ast.parse(code)
  except SyntaxError as error:
    yield f"line {error.lineno}: {error.msg}"
    return
  for node in ast.walk(tree):
    try:
      yield from _faults(node)
    except (AttributeError, ImportError) as error:
      yield str(error)


def _faults(node: ast.AST) -> Iterator[str]:
  if isinstance(node, ast.Import):
    for alias in node.names:
      if alias.name.startswith("ltx_jax"):
        importlib.import_module(alias.name)
  elif isinstance(node, ast.ImportFrom) and node.module.startswith("ltx_jax"):
    module = importlib.import_module(node.module)
    for alias in node.names:
      if not hasattr(module, alias.name):
        importlib.import_module(f"{node.module}.{alias.name}")
  elif isinstance(node, ast.Attribute):
    resolve(node)
  elif isinstance(node, ast.Call):
    called = resolve(node.func)
    if called is not None:
      known = inspect.signature(called).parameters
      for keyword in node.keywords:
        if keyword.arg not in known:
          yield f"{ast.unparse(node.func)} takes no {keyword.arg}"


def anchors(text: str) -> set[str]:
  """The anchors of a page's headings, as GitHub and MyST make them."""
  prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
  found: set[str] = set()
  for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE):
    slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    count = 1
    unique = slug
    while unique in found:
      unique, count = f"{slug}-{count}", count + 1
    found.add(unique)
  return found


def dead(path: Path, text: str) -> Iterator[str]:
  """Yields the links of a page that lead nowhere, or out of the repository."""
  prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
  for link in re.findall(r"\]\(([^)\s]+)\)", prose):
    if re.match(r"https?://[\w.-]+\.\w+(/\S*)?$", link):
      continue
    file, _, anchor = link.partition("#")
    target = (path.parent / file).resolve() if file else path
    if not target.is_relative_to(ROOT) or not target.exists():
      yield f"{name_of(path)}: {link} leads nowhere"
    elif anchor and anchor not in anchors(read_text(target)):
      yield f"{name_of(path)}: {link} names no heading"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_code_on_pages_is_right(path):
  wrong = []
  for line, language, code in fences(read_text(path)):
    if language not in LANGUAGES:
      wrong.append(f"{name_of(path)}:{line}: no language {language!r} is checked")
    if language == "python":
      wrong += [f"{name_of(path)}:{line}: {why}" for why in faults(code)]
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_of_pages_lead_somewhere(path):
  wrong = list(dead(path, read_text(path)))
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
  ("code", "why"),
  [
    ("model.generate(prompt, frame=25)", "model.generate takes no frame"),
    ("ltx_jax.Sampling(step=3)", "ltx_jax.Sampling takes no step"),
    ("ltx_jax.lod('x')", "has no attribute 'lod'"),
    ("from ltx_jax.data import vido", "No module named"),
    ("from ltx_jax.parallel.mesh import mk", "No module named"),
    ("import ltx_jax.nothing", "No module named"),
    ("model.generator(prompt)", "no attribute 'generator'"),
    ("ltx_jax.LongVideo(model, window=9).make()", "no attribute 'make'"),
    ("f(", "line 1"),
  ],
)
def test_wrong_code_is_told(code, why):
  assert why in "\n".join(faults(code))


def test_dead_links_are_told(tmp_path):
  page = ROOT / "docs" / "tasks.md"
  text = "[a](no.md) [b](pods.md#no-such) [c](pods.md#several-slices) [d](http:/x)"
  assert list(dead(page, text)) == [
    "docs/tasks.md: no.md leads nowhere",
    "docs/tasks.md: pods.md#no-such names no heading",
    "docs/tasks.md: http:/x leads nowhere",
  ]
