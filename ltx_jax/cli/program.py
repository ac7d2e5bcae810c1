"""How every program is run: bad input and signals in words, streams of any state."""

from __future__ import annotations

import os
from collections.abc import Callable

from ltx_jax.cli import ending
from ltx_jax.cli.command_line import errors_in_words


def run(program: Callable[[], None]) -> None:
  """Runs a program; bad input becomes one sentence and exit code 2."""
  # `transformers` recommends PyTorch, which nothing here needs.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  ending.prepare_streams()
  with ending.signals_in_words(), errors_in_words():
    try:
      program()
    finally:
      ending.flush()
