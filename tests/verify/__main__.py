"""`python -m tests.verify [CHECK ...]`: the long checks, resumable.

Without names, it runs every check that has no result in docs/verification.json yet.
With names (modules of this folder) it runs those again, and with --fresh all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.verify import runner

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
PLACE = runner.Place(
  package="tests.verify",
  root=ROOT,
  state=ROOT / "docs" / "verification.json",
  document=ROOT / "docs" / "verification.md",
)


def select(
  checks: list[runner.Check], names: list[str], fresh: bool
) -> list[runner.Check]:
  """Returns the checks to run, and prints which results are kept."""
  if names:
    return [check for check in checks if check.module in names]
  if fresh:
    return checks
  results = runner.load(PLACE.state)
  for check in checks:
    if check.module in results:
      result = results[check.module]
      print(f"{check.name}: kept, of {result['date']} at commit {result['commit']}")
  return [check for check in checks if check.module not in results]


def main() -> int:
  parser = argparse.ArgumentParser(prog="python -m tests.verify", description=__doc__)
  parser.add_argument("checks", nargs="*", metavar="CHECK", help="run these again")
  parser.add_argument("--fresh", action="store_true", help="run all of them again")
  arguments = parser.parse_args()
  checks = runner.discover(FOLDER)
  known = [check.module for check in checks]
  for name in arguments.checks:
    if name not in known:
      parser.error(f"no check {name!r}; there are: {', '.join(known) or 'none yet'}")
  todo = select(checks, arguments.checks, arguments.fresh)
  return 0 if runner.verify(checks, todo, PLACE) else 1


if __name__ == "__main__":
  sys.exit(main())
