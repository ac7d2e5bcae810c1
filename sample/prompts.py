"""The prompts of `sample.generate`: from the command line and a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ltx_jax.files import read_lines, readable
from ltx_jax.moving_shapes import world

_BETWEEN_WINDOWS = "|"


def all_prompts(given: Sequence[str], file: Path | None) -> tuple[str, ...]:
  """Returns the prompts of the command line, and then those of a file.

  Args:
    given: Prompts of the command line.
    file: Text file with one prompt per line (`files.read_lines`); empty lines, and
      lines that begin with #, are ignored. None for no file.

  Raises:
    ValueError: If the file cannot be read, or there is no prompt at all.
  """
  prompts = list(given)
  if file is not None:
    stripped = (line.strip() for line in read_lines(file))
    found = [line for line in stripped if line and not line.startswith("#")]
    if not found:
      raise ValueError(f"{file} holds no prompt; write one per line.")
    prompts += found
  if not prompts:
    raise ValueError(
      f'Give at least one prompt, for example "{world.EXAMPLES[0]}", before --lora, '
      "--seed and other flags that take several values."
    )
  return tuple(map(readable, prompts))


def parts(prompt: str) -> list[str]:
  """Returns the parts of a prompt, one per window in order.

  Raises:
    ValueError: If one of them is empty.
  """
  found = [part.strip() for part in prompt.split(_BETWEEN_WINDOWS)]
  if not all(found):
    raise ValueError(
      f"The prompt {prompt!r} has an empty part; with --window, write a prompt on both "
      f"sides of {_BETWEEN_WINDOWS}, or leave it out."
    )
  return found


def joined(parts: Sequence[str]) -> str:
  """Undoes `parts`; no part may contain a bar."""
  return f" {_BETWEEN_WINDOWS} ".join(p.replace(_BETWEEN_WINDOWS, ",") for p in parts)


def by_window(prompts: Sequence[str]) -> list[list[str]]:
  """Returns the prompts of all videos, window by window.

  If a prompt has fewer parts than another, its last part also covers the later windows.

  Raises:
    ValueError: If a prompt has an empty part.
  """
  split = [parts(prompt) for prompt in prompts]
  windows = max(map(len, split))
  return [[p[min(i, len(p) - 1)] for p in split] for i in range(windows)]
