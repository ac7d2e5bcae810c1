"""20,000 mutated files go through what reads them, in child processes with limits.

Valid files of every kind are changed at random, in their bytes and in their structure
(`tests.fuzz`). Each works then, or is refused in a sentence; none may raise anything
else, crash, take longer than 20 s or more than 2 GB of memory.

A case is made of its number alone. To see what one is, and to keep its file:

    python -m tests.verify.mutated_files 137 4021
"""

from __future__ import annotations

import collections
import functools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from tests.fuzz import cases, judge, seeds

NAME = "20,000 mutated files: no crash, no hang, no memory beyond 2 GB"
COMMAND = "python -m tests.verify mutated_files"

CASES = 20_000
_SHOWN = 40
"""Faults that are listed."""

_LINES = 500
"""Cases after which a log that is no terminal has a line."""


def outcomes(numbers: Iterable[int]) -> Iterator[judge.Outcome]:
  """Yields what becomes of cases."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name) / "seeds"
    seeds.write(folder, cases.ALL)
    attempt = functools.partial(cases.attempt, folder)
    yield from judge.judged(attempt, numbers, preloaded=cases.PRELOADED)


def watched(found: Iterable[judge.Outcome], count: int) -> Iterator[judge.Outcome]:
  """Passes outcomes on, prints faults as they come, and shows the time that is left."""
  console = Console(soft_wrap=True)
  columns = (
    progress.MofNCompleteColumn(),
    progress.BarColumn(bar_width=20),
    progress.TimeElapsedColumn(),
    progress.TimeRemainingColumn(),
  )
  start = time.monotonic()
  with progress.Progress(*columns, console=console) as bar:
    for done, outcome in enumerate(bar.track(found, total=count), 1):
      if not console.is_terminal and done % _LINES == 0:
        left = (time.monotonic() - start) * (count - done) / done
        console.print(f"{done} of {count}, about {left / 60:.0f} min left")
      if outcome.kind == judge.FAULT:
        console.print(f"{described(outcome)}: {outcome.words}", markup=False)
      yield outcome


def described(outcome: judge.Outcome) -> str:
  return f"case {outcome.case}, {cases.seed_of(outcome.case).name}"


def rows(found: Sequence[judge.Outcome]) -> list[dict[str, Any]]:
  """What the page says of all outcomes."""
  faults = [outcome for outcome in found if outcome.kind == judge.FAULT]
  good = len(found) - len(faults)
  figure = "files that work, or are refused in a sentence"
  table = [_row(figure, good, "", f"of {len(found):,}", not faults)]
  families = collections.defaultdict(collections.Counter)
  for outcome in found:
    families[cases.seed_of(outcome.case).family][outcome.kind] += 1
  for family, kinds in families.items():
    bad = kinds[judge.FAULT]
    figure = f"{family}: {kinds[judge.READ]} work, {kinds[judge.REFUSED]} are refused"
    target = f"of {kinds.total():,}"
    table.append(_row(figure, kinds.total() - bad, "", target, not bad))
  slowest, largest = max(o.seconds for o in found), max(o.memory for o in found)
  limits = judge.Limits()
  within = slowest <= limits.seconds
  table += [
    _row("the slowest", slowest, "s", f"at most {limits.seconds:g}", within),
    _row("the most memory", largest / 1e9, "GB", "at most 2", largest <= limits.memory),
  ]
  return table + [
    _row(f"{described(fault)}: {fault.words[:300]}", 1, "fault", "0", False)
    for fault in faults[:_SHOWN]
  ]


def _row(figure: str, value: float, unit: str, target: str, ok: bool) -> dict[str, Any]:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def run() -> list[dict[str, Any]]:
  """Rows: how many files are read or refused as they should be, by what they are."""
  return rows(list(watched(outcomes(range(CASES)), CASES)))


def main() -> None:
  """Runs single cases again and keeps their files."""
  kept = Path(tempfile.mkdtemp(prefix="mutated-"))
  with tempfile.TemporaryDirectory() as name:
    seeds.write(Path(name), cases.ALL)
    for number in map(int, sys.argv[1:]):
      case = cases.make(Path(name), number)
      place = kept / str(number)
      shutil.copytree(Path(name) / case.seed.name, place)
      (place / case.file).write_bytes(case.content)
      print(f"case {number}: {case.seed.name}, {place / case.file} by {case.how}")
  for outcome in outcomes(map(int, sys.argv[1:])):
    print(f"case {outcome.case}: {outcome.kind} {outcome.words}")


if __name__ == "__main__":
  main()
