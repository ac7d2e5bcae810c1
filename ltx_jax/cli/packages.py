"""What must be settled before a program imports a package.

Outside the environment that `make demo` makes, a program ends in a sentence, not in a
traceback of its first import.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from ltx_jax.cli import ending

NEEDED = ("jax", "flax", "numpy", "safetensors", "jaxtyping", "rich")
"""What every program needs; `sample.benchmark device` runs with nothing more."""


def prepare() -> None:
  """Looks for the packages, and has XLA keep its log to itself.

  XLA asks for a bug report where it compiles for two minutes, as on a small CPU. What
  fails is raised as well. It reads the variable when it is imported.
  """
  check()
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def check(needed: Sequence[str] = NEEDED) -> None:
  """Ends the program if a package is missing.

  Raises:
    SystemExit: with exit code 2, after a sentence that says what to do.
  """
  missing = [name for name in needed if importlib.util.find_spec(name) is None]
  if missing:
    ending.say(
      f"{sys.executable} lacks {', '.join(missing)}. Activate the environment that "
      "`make demo` made (. .venv/bin/activate), or install into this one: python -m "
      "pip install -r requirements.txt -c constraints.txt"
    )
    raise SystemExit(2)
