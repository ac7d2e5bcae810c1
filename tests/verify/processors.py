"""The whole test suite, run as on processors with fewer instructions than this one.

XLA compiles for the allowed instructions: with AVX2 it sums in lanes of 8 and fuses
products, with SSE 4.2 it sums in lanes of 4 and does not. Tolerances that hold for all
of them follow from the sums, not from one machine (`tests.tolerance`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

NAME = "The test suite on processors with fewer instructions"
COMMAND = "python -m tests.verify processors"

INSTRUCTIONS = ("AVX2", "SSE4_2")


def counts(printed: str) -> tuple[int, int]:
  """Returns (passed, failed) of pytest's last line; errors count as failed.

  Raises:
    RuntimeError: If there is no such line, or no test was run.
  """
  lines = printed.strip().splitlines()
  found = re.findall(r"(\d+) (passed|failed|error)", lines[-1] if lines else "")
  if not found:
    raise RuntimeError(f"pytest ended without a count:\n{printed[-2000:]}")
  total = {"passed": 0, "failed": 0, "error": 0}
  for number, word in found:
    total[word] += int(number)
  return total["passed"], total["failed"] + total["error"]


def run() -> list[dict]:
  rows = []
  for instructions in INSTRUCTIONS:
    with tempfile.TemporaryDirectory() as folder:
      asked = f"--xla_cpu_max_isa={instructions}"
      flags = f"{os.environ.get('XLA_FLAGS', '')} {asked}".strip()
      done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": folder},
        capture_output=True,
        text=True,
        check=False,
      )
    print(done.stdout[-2000:], flush=True)
    passed, failed = counts(done.stdout)
    rows.append(
      {
        "figure": f"tests that pass with at most {instructions}",
        "value": passed,
        "unit": "",
        "target": f"of {passed + failed}",
        "ok": not failed and not done.returncode,
      }
    )
  return rows
