"""Runs the long checks, each in a process of its own, and records their results.

A check is a module of `tests/verify` with three names:

  NAME = "Killed runs resume bit-exactly"      # the section's title
  COMMAND = "python -m tests.verify resume"    # how to run it alone
  def run() -> list[dict]: ...                 # rows: figure, value, unit, target, ok

Results are kept in a JSON file as they come, so an interrupted run resumes, and the
page is written again from that file after each check. A check that raises keeps no
result and is run again the next time. Titles and commands are read without importing
the module, so the page also lists checks that have not been run.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLUMNS = ("figure", "value", "unit", "target", "ok")
NOT_CHECKS = ("__init__", "__main__", "runner")

INTRODUCTION = """\
# Verification

Written by `make verify`: figures that take minutes to hours to obtain, each with its
command, the day and the commit it was measured at. Do not edit by hand.
"""

# Runs in the check's own process, so a check may set flags that JAX reads only once,
# use all memory, or crash, without harm to the others.
CHILD = """\
import importlib, json, sys
rows = importlib.import_module(sys.argv[1]).run()
open(sys.argv[2], "w").write(json.dumps(rows))
"""


@dataclasses.dataclass(frozen=True)
class Check:
  """A check as its source declares it."""

  module: str
  name: str
  command: str


@dataclasses.dataclass(frozen=True)
class Place:
  """The place of the checks and of their results.

  Attributes:
    package: Dotted name of the folder of checks.
    root: Folder in which the checks run.
    state: JSON file of results, next to the page, to which later runs add.
    document: The page.
  """

  package: str
  root: Path
  state: Path
  document: Path


def discover(folder: Path) -> list[Check]:
  """Returns the checks of `folder` in the order of their file names.

  Raises:
    ValueError: If a module lacks NAME, COMMAND or run.
  """
  checks = []
  for path in sorted(folder.glob("*.py")):
    if path.stem not in NOT_CHECKS:
      checks.append(_read(path))
  return checks


def _read(path: Path) -> Check:
  body = ast.parse(path.read_text()).body
  texts = {
    node.targets[0].id: node.value.value
    for node in body
    if isinstance(node, ast.Assign)
    and isinstance(node.targets[0], ast.Name)
    and isinstance(node.value, ast.Constant)
  }
  missing = [name for name in ("NAME", "COMMAND") if name not in texts]
  if not any(isinstance(n, ast.FunctionDef) and n.name == "run" for n in body):
    missing.append("run()")
  if missing:
    raise ValueError(
      f"{path} is no check: it lacks {', '.join(missing)}; NAME and COMMAND are plain "
      "strings, run() returns the rows."
    )
  return Check(path.stem, texts["NAME"], texts["COMMAND"])


def validate(rows: object) -> list[dict]:
  """Returns `rows`; raises ValueError if a check returned something else."""
  if not isinstance(rows, list) or not rows:
    raise ValueError(f"A check returns a list of at least one row, not {rows!r}.")
  for row in rows:
    if not isinstance(row, dict) or set(row) != set(COLUMNS):
      raise ValueError(f"A row has the keys {', '.join(COLUMNS)}; got {row!r}.")
    if not isinstance(row["ok"], bool):
      raise ValueError(f"A row's `ok` is True or False; got {row['ok']!r}.")
  return rows


def load(state: Path) -> dict[str, dict]:
  """Returns the results kept so far, by module."""
  return json.loads(state.read_text()) if state.exists() else {}


def write(path: Path, text: str) -> None:
  """Writes under a temporary name, then renames, so no file is ever half written."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".partial")
  temporary.write_text(text)
  temporary.replace(path)


def execute(module: str, place: Place) -> list[dict]:
  """Runs one check in its own process; its output goes to the terminal.

  Raises:
    RuntimeError: If the process fails.
    ValueError: If the check returns no proper rows.
  """
  with tempfile.TemporaryDirectory() as folder:
    rows = Path(folder, "rows.json")
    command = [sys.executable, "-c", CHILD, f"{place.package}.{module}", str(rows)]
    code = subprocess.run(command, cwd=place.root, check=False).returncode
    if code:
      raise RuntimeError(f"its process ended with code {code}")
    return validate(json.loads(rows.read_text()))


def commit(root: Path) -> str:
  """Returns the checkout's commit, with a plus where the code differs from it."""

  def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    return subprocess.run(
      command, cwd=root, capture_output=True, text=True, check=False
    )

  head = git("rev-parse", "--short", "HEAD")
  if head.returncode:
    return "unknown"
  # The page and its results lie in docs/ and change while the checks run.
  changed = git("diff", "--quiet", "HEAD", "--", ".", ":!docs").returncode
  return head.stdout.strip() + ("+" if changed else "")


def page(checks: list[Check], results: dict[str, dict]) -> str:
  """Returns the page in Markdown."""
  sections = [INTRODUCTION]
  for check in checks:
    lines = [f"## {check.name}", "", f"`{check.command}`", ""]
    result = results.get(check.module)
    if result is None:
      lines.append("Not run yet.")
    else:
      lines += [
        f"{result['date']}, commit {result['commit']}, {result['seconds']:.0f} s.",
        "",
        "| figure | value | target | met |",
        "|---|---|---|---|",
        *(_line(row) for row in result["rows"]),
      ]
    sections.append("\n".join(lines) + "\n")
  return "\n".join(sections)


def _line(row: dict) -> str:
  value = row["value"]
  text = f"{value:.4g}" if isinstance(value, float) else str(value)
  met = "yes" if row["ok"] else "**no**"
  cells = [row["figure"], f"{text} {row['unit']}".strip(), row["target"], met]
  return "| " + " | ".join(_plain(str(cell)) for cell in cells) + " |"


def _plain(text: str) -> str:
  """Text of a cell as it is: no end of the cell, and no HTML that a page would run."""
  return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text.replace("|", "\\|"))


def verify(checks: list[Check], todo: list[Check], place: Place) -> bool:
  """Runs `todo` and writes the page of all `checks`; True if every figure is met."""
  results = load(place.state)
  failed = []
  for check in todo:
    print(f"{check.name}: {check.command}", flush=True)
    start = time.monotonic()
    try:
      rows = execute(check.module, place)
    except (RuntimeError, ValueError) as error:
      print(f"{check.name}: no result, {error}", file=sys.stderr, flush=True)
      failed.append(check.module)
      continue
    results = load(place.state)  # Another run may have added to it meanwhile.
    results[check.module] = {
      "date": datetime.date.today().isoformat(),
      "commit": commit(place.root),
      "seconds": time.monotonic() - start,
      "rows": rows,
    }
    write(place.state, json.dumps(results, indent=1) + "\n")
    write(place.document, page(checks, results))
  write(place.document, page(checks, results))
  measured = [results[check.module] for check in checks if check.module in results]
  rows = [row for result in measured for row in result["rows"]]
  missed = [row["figure"] for row in rows if not row["ok"]]
  print(f"{len(rows) - len(missed)} of {len(rows)} figures meet their target")
  for figure in missed:
    print(f"missed: {figure}")
  return not failed and not missed
