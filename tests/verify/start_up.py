"""How long people wait for `--help` and `import ltx_jax`, compared with `import jax`.

The commands take turns, so that all meet the same load; the fastest run of each counts.
The names of `ltx_jax` are imported when they are first used, so one row uses all of
them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAME = "Start-up: help of every program, and import, next to a bare import of jax"
COMMAND = "python -m tests.verify start_up"

ROOT = Path(__file__).resolve().parent.parent.parent
TURNS = 7
HELP, IMPORT = 0.4, 0.3
"""Seconds that help and our import may take in addition to `import jax`."""

_BARE = "import jax"
_OURS = "import jax, ltx_jax"
_USED = "import jax; from ltx_jax import *"
_PACKAGES = "sample", "train"


def programs(root: Path = ROOT) -> list[str]:
  """Lists the modules of `sample` and `train` that run as programs."""
  found = []
  for package in _PACKAGES:
    paths = [*(root / package).glob("*.py"), *(root / package).glob("**/__main__.py")]
    for path in sorted(paths):
      if 'if __name__ == "__main__"' in path.read_text():
        parts = path.relative_to(root).with_suffix("").parts
        found.append(".".join(part for part in parts if part != "__main__"))
  return found


def seconds(command: list[str]) -> float:
  """Times a command that must succeed.

  Raises:
    RuntimeError: If it fails.
  """
  start = time.perf_counter()
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  took = time.perf_counter() - start
  if done.returncode:
    raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
  return took


def run() -> list[dict[str, Any]]:
  """Rows: seconds in addition to `import jax`, of `import ltx_jax` and of each help."""
  python = sys.executable
  commands = {code: [python, "-c", code] for code in (_BARE, _OURS, _USED)}
  for name in programs():
    commands[f"{name} --help"] = [python, "-m", name, "--help"]
  fastest = dict.fromkeys(commands, float("inf"))
  for _ in range(TURNS):
    for name, command in commands.items():
      fastest[name] = min(fastest[name], seconds(command))
  bare = fastest.pop(_BARE)
  where = f"{_BARE}, on {os.cpu_count()} CPUs"
  rows = [
    {"figure": where, "value": round(bare, 2), "unit": "s", "target": "", "ok": True}
  ]
  limits = {_OURS: IMPORT, _USED: None}
  for name, took in fastest.items():
    most, more = limits.get(name, HELP), took - bare
    rows.append(
      {
        "figure": f"{name}, in addition",
        "value": round(more, 2),
        "unit": "s",
        "target": "" if most is None else f"at most {most}",
        "ok": most is None or more <= most,
      }
    )
  return rows
