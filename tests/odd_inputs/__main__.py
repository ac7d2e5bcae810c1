"""`python -m tests.odd_inputs [KIND | KIND/NUMBER ...]`: runs cases, prints the faults.

Without arguments it runs all. `--show` prints what each case says, `--few` runs some
quick ones that need no shelf, `--shelf FOLDER` keeps the shelf there, or takes what is
there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.odd_inputs import running


def main() -> int:
  parser = argparse.ArgumentParser(prog="python -m tests.odd_inputs")
  parser.add_argument("cases", nargs="*")
  parser.add_argument("--show", action="store_true")
  parser.add_argument("--few", action="store_true")
  parser.add_argument("--shelf", type=Path)
  arguments = parser.parse_args()
  chosen = running.chosen(arguments.cases, arguments.few)
  results = running.run(
    chosen, arguments.shelf, fill=not arguments.few, show=arguments.show
  )
  good = sum(not result.faults for result in results)
  print(f"{good} of {len(results)} end as they should")
  return 0 if good == len(results) else 1


if __name__ == "__main__":
  sys.exit(main())
