"""Signatures as they are written in the source, with the shapes of their arrays.

An annotation such as `Float[AnyArray, "b n c"]` is shown as it stands there: evaluated,
it would be a union of two classes with long names. Names of `ltx_jax.typing` such as
`Tokens` stay names, and what they are is listed once below the signature.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ltx_jax.files import read_text

LONGEST_DEFAULT = 60


class _Source(str):
  """Text that stands in a signature without quotes."""

  __repr__ = str.__str__


def signature_of(thing: Any) -> tuple[str, str | None] | None:
  """Returns the parameters and the result of a function or class, or None of others."""
  try:
    signature = inspect.signature(thing)
  except (TypeError, ValueError):
    return None
  parameters = [
    parameter.replace(
      annotation=_annotation(parameter.annotation), default=_default(parameter.default)
    )
    for parameter in _shown(list(signature.parameters.values()))
  ]
  result = _annotation(signature.return_annotation)
  shown = str(inspect.Signature(parameters))
  return shown, None if result is inspect.Signature.empty else str(result)


def _shown(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
  """Leaves out what callers do not write: `self`, and what Flax adds to its modules."""
  names = {parameter.name for parameter in parameters}
  hidden = {"parent", "name"} if "parent" in names else set()
  if parameters and parameters[0].name in ("self", "cls"):
    hidden.add(parameters[0].name)
  return [parameter for parameter in parameters if parameter.name not in hidden]


def _annotation(annotation: Any) -> Any:
  if isinstance(annotation, typing.ForwardRef):
    annotation = annotation.__forward_arg__
  return _Source(annotation) if isinstance(annotation, str) else annotation


def _default(default: Any) -> Any:
  """A default as code; `...` for what has none, or a long one."""
  if default is inspect.Parameter.empty:
    return default
  text = repr(default)
  if len(text) > LONGEST_DEFAULT:
    text = f"{type(default).__name__}(...)"
  try:
    ast.parse(text, mode="eval")
  except SyntaxError:
    text = "..."
  return _Source(text)


def aliases(module: Path) -> dict[str, tuple[str, str]]:
  """Returns what a module calls by a name of its own: (its source, its docstring)."""
  text = read_text(module)
  body = ast.parse(text).body
  found = {}
  for node, after in zip(body, [*body[1:], None], strict=True):
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
      name, about = node.targets[0].id, ""
      if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        about = inspect.cleandoc(after.value.value)
      if not name.isupper():
        found[name] = (ast.unparse(node.value), about)
  return found


def shapes(signature: str, known: Mapping[str, str]) -> Iterator[str]:
  """Yields the names in a signature that stand for arrays of a shape, with the shapes.

  Args:
    signature: The parameters and the result as text.
    known: What each name is, in the source.
  """
  seen: list[str] = []
  texts = [signature]
  while texts:
    text = texts.pop(0)
    for name in re.findall(r"\w+", text):
      if name in known and name not in seen:
        seen.append(name)
        texts.append(known[name])
  for name in seen:
    if re.search(r"'[^']+'", known[name]):
      yield f"{name} = {known[name]}"
