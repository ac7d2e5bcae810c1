"""Changes to JSON and tables: odd values, and keys and cells that lack or repeat."""

from __future__ import annotations

import json
import random
from typing import Any

_RAW = "@@{}@@"
TEXTS = (  # Written as they are: what no Python value would be dumped as.
  *("1e999", "-1e999", "NaN", "1" + 5000 * "0", "-0", "1e-400", "01"),
  *(500 * "[" + 500 * "]", "'a'"),
  *(10_000 * "[" + 10_000 * "]", 10_000 * '{"a":' + "1" + 10_000 * "}", 10_000 * "["),
  *(
    '{"a": 1, "a": 2}',
    "[1, 2",
    "\x00",
    '"\\ud800"',
    '"\\u0000"',
    '"a\\n\\nb"',
    "null",
  ),
)
_VALUES = (
  *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.0, 1e308, 1e-308, 2**31, 2**32),
  *(
    2**53 + 1,
    2**63,
    2**64,
    10**30,
    10**400,
    -(2**63),
    "",
    "a",
    "0",
    "1",
    "ü",
    "\u2028",
  ),
  *(
    "../../x",
    "/dev/zero",
    "/",
    ".",
    "a" * 300,
    "a" * 100_000,
    "%s",
    "{}",
    "(",
    "[red]",
  ),
  *([], {}, [[]], [{}], {"a": 1}, [None], [1, 2], ["a"], [0] * 10_000, ["a", {}]),
)


def odd_value(draw: random.Random, value: Any) -> Any:
  """Another value in place of one."""
  kind = draw.randrange(8)
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if kind == 0:
    return _RAW.format(draw.randrange(len(TEXTS)))
  if kind == 1:
    return [value]
  if kind == 2:
    return {"a": value}
  if kind == 3:
    return value if isinstance(value, str) and not value else str(value)
  if kind == 4 and number:
    return draw.choice(
      (-value, value + 1, value - 1, 2 * value, value / 2, 0, 10 * value)
    )
  if kind == 4 and isinstance(value, list):
    return draw.choice((value[:-1], value + value[-1:], value[::-1], value * 100))
  return draw.choice(_VALUES)


def nodes(value: Any) -> list[tuple[Any, Any]]:
  """Every place in a tree, as what holds it and its key or index there."""
  found: list[tuple[Any, Any]] = []
  stack = [value]
  while stack:
    node = stack.pop()
    keys = node if isinstance(node, dict) else range(len(node))
    for key in list(keys):
      found.append((node, key))
      if isinstance(node[key], dict | list):
        stack.append(node[key])
  return found


def change(draw: random.Random, tree: Any) -> Any:
  """Changes one place of a tree, in place where it can be."""
  places = nodes(tree) if isinstance(tree, dict | list) else []
  if not places or draw.random() < 0.03:
    return odd_value(draw, tree)
  holder, key = draw.choice(places)
  kind = draw.randrange(6)
  if kind == 0:
    del holder[key]
  elif kind == 1 and isinstance(holder, dict):
    name = draw.choice(("", "a", "ü", f"{key}2", key.upper(), "a" * 1000, "__dict__"))
    holder[name] = holder.pop(key) if draw.random() < 0.5 else odd_value(draw, 1)
  else:
    holder[key] = odd_value(draw, holder[key])
  return tree


def dumped(draw: random.Random, tree: Any) -> str:
  """A tree as text; now and then a key comes twice."""
  text = json.dumps(tree, ensure_ascii=draw.random() < 0.7)
  for number, raw in enumerate(TEXTS):
    text = text.replace(json.dumps(_RAW.format(number)), raw)
  if draw.random() < 0.05 and text.startswith("{") and len(text) > 2:
    text = "{" + text[1:-1] + ", " + text[1:]
  return text


def mutate(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """A file of one JSON value."""
  tree = json.loads(data)
  for _ in range(draw.choice((1, 1, 1, 2, 5))):
    tree = change(draw, tree)
  return _encoded(draw, dumped(draw, tree))


def mutate_lines(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """A file of a JSON value a line."""
  lines = data.decode().splitlines()
  for _ in range(draw.choice((1, 1, 2))):
    row = draw.randrange(len(lines))
    try:
      lines[row] = dumped(draw, change(draw, json.loads(lines[row])))
    except (json.JSONDecodeError, RecursionError, ValueError):
      lines[row] = draw.choice(TEXTS)
  kind = draw.randrange(8)
  if kind == 0:
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(TEXTS))
  elif kind == 1:
    lines = lines * draw.choice((2, 50))
  return _encoded(draw, "\n".join(lines) + "\n")


_CELLS = (
  *("", '"', '""', ",", ";", "\t", "\x00", "\u2028", "a" * 200_000, "nan", "inf", "-1"),
  *(
    "1e999",
    "9" * 5000,
    "[1,2,3,4]",
    "[]",
    "{}",
    '{"a": "b"}',
    "\r",
    "#",
    "|",
    " ",
    "~",
  ),
  *("~nobody/x", "..", "/", "a://b", "%s", "\ufeff", "\ud7ff", "é" * 600, "0x1", "1_0"),
)


def mutate_table(draw: random.Random, data: bytes, _: bytes) -> bytes:
  """A text of lines with cells."""
  lines = data.decode().splitlines()
  separator = "\t" if "\t" in lines[0] else ","
  for _ in range(draw.choice((1, 1, 2, 4))):
    row = draw.randrange(len(lines))
    cells = lines[row].split(separator)
    column = draw.randrange(len(cells))
    kind = draw.randrange(4)
    if kind == 0:
      del cells[column]
    elif kind == 1:
      cells.insert(column, draw.choice(_CELLS))
    else:
      cells[column] = draw.choice(_CELLS)
    lines[row] = separator.join(cells)
  if draw.random() < 0.1:
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
  return _encoded(draw, draw.choice(("\n", "\n", "\r\n", "\r")).join(lines) + "\n")


def _encoded(draw: random.Random, text: str) -> bytes:
  kinds = ("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")
  return text.encode(draw.choice(kinds), "replace")
