"""Checks that every flag of `sample.generate` has a test that fails without it.

The tests of the program run once, to see which of them give which flag. Then, for each
flag, the tests that give it run again while the program sees its default instead
(`tests.flag_reset`), until one fails. A flag for which no test fails could do nothing
without anyone noticing. Tests of bad input, whose names say so or contain "refused", do
not count: a flag may be refused when it is wrong, and do nothing when it is right.
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import flag_reset

NAME = "Flags of sample.generate, each taken away from its tests"
COMMAND = "python -m tests.verify flags"

TESTS = "tests/sample"
REFUSED = "bad_input", "refused"
SOME_FAILED = 1  # The exit code of pytest.


def pytest(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
  """Runs tests with the plugin; returns pytest's exit code and what it printed."""
  command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.flag_reset"]
  cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
  done = subprocess.run(
    [*command, "-p", "no:cacheprovider", *arguments],
    env=os.environ | cache | environment,
    capture_output=True,
    text=True,
    check=False,
  )
  return done.returncode, done.stdout + done.stderr


def tests_by_flag(folder: Path) -> dict[str, list[str]]:
  """Runs all tests unchanged; returns the tests that give each flag.

  Raises:
    RuntimeError: If one fails.
  """
  seen = folder / "seen.txt"
  code, said = pytest(folder, TESTS, **{flag_reset.SEEN: str(seen)})
  if code:
    raise RuntimeError(f"the tests fail with all flags as they are:\n{said}")
  tests = collections.defaultdict(dict)
  for line in seen.read_text().splitlines():
    path, test = line.split("\t")
    if not any(word in test for word in REFUSED):
      tests[path][test] = None  # A dictionary keeps the order.
  return {path: list(found) for path, found in tests.items()}


def failing(folder: Path, path: str, tests: list[str]) -> str | None:
  """Returns the test that fails without the flag, or None.

  Raises:
    RuntimeError: If pytest itself fails.
  """
  if not tests:
    return None
  code, said = pytest(folder, "-x", *tests, **{flag_reset.RESET: path})
  if code not in (0, SOME_FAILED):
    raise RuntimeError(f"pytest ended with code {code} for {path}:\n{said}")
  failed = [line for line in said.splitlines() if line.startswith("FAILED ")]
  return failed[0].removeprefix("FAILED ").partition(" - ")[0] if failed else None


def run() -> list[dict]:
  default = flag_reset.default_options()
  paths = [path for path, _ in flag_reset.flags(default, default)]
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    tests = tests_by_flag(folder)

    def proof(path: str) -> str | None:
      found = failing(folder, path, tests.get(path, []))
      print(f"{path}: {found or 'no test fails without it'}", flush=True)
      return found

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      proofs = dict(zip(paths, pool.map(proof, paths), strict=True))
  missing = [path for path, test in proofs.items() if test is None]
  figure = "flags whose tests fail when the program does not see them"
  rows = [
    {
      "figure": figure,
      "value": len(paths) - len(missing),
      "unit": "",
      "target": f"of {len(paths)}",
      "ok": not missing,
    }
  ]
  for path in missing:
    told = {"figure": f"not proved: {path}", "value": len(tests.get(path, []))}
    rows.append(told | {"unit": "tests give it", "target": "", "ok": False})
  return rows
