"""Odd inputs, as people give them: each is refused in a sentence, or is fine.

`tests.odd_inputs` lists them by kind, runs each in a process of its own, and judges how
it ends: exit code, one sentence with the value and a remedy, no traceback, nothing half
written, bounded time and memory. Times are those of the processor, since a machine may
have other work.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.odd_inputs import running

NAME = "Odd inputs: refused in a sentence, or fine"
COMMAND = "python -m tests.verify odd_inputs"

LEAST = 500


def run() -> list[dict[str, Any]]:
  """Rows: how many end as they should, of all, of each kind, and of each program."""
  results = running.run(running.chosen([]))
  rows = [_counted("all of them", results, LEAST)]
  for title, of in (("kind", lambda r: r.kind), ("program", lambda r: r.case.program)):
    names = Counter(of(result) for result in results)
    rows += [
      _counted(f"{title} {name}", [r for r in results if of(r) == name])
      for name in sorted(names)
    ]
  refused = [result for result in results if result.case.code == 2]
  rows += [
    _figure(
      "longest time of one that is refused", max(r.seconds for r in refused), "s"
    ),
    _figure("most memory of one", max(r.megabytes for r in results), "MB"),
  ]
  for result in results:
    for fault in result.faults:
      figure = f"{result.name}, {result.case.who}: {fault}"
      rows.append(_figure(figure, 1, "", "0", ok=False))
  return rows


def _counted(
  what: str, results: list[running.Result], least: int = 1
) -> dict[str, Any]:
  good = sum(not result.faults for result in results)
  target = f"of {len(results)}" + (f", at least {least}" if least > 1 else "")
  ok = good == len(results) >= least
  return _figure(f"{what}: end as they should", good, "", target, ok=ok)


def _figure(
  figure: str, value: float, unit: str, target: str = "", *, ok: bool = True
) -> dict[str, Any]:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}
