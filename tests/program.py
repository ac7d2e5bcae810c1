"""Programs of this repository, run as users run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def program(name: str, *options: Any) -> None:
  """Runs `python -m NAME` with options, from the repository's root.

  Raises:
    RuntimeError: If it fails.
  """
  command = [sys.executable, "-m", name, *map(str, options)]
  if subprocess.run(command, cwd=ROOT, check=False).returncode:
    raise RuntimeError(f"{' '.join(command)} failed")
