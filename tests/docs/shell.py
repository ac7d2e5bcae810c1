"""Command lines in blocks of shell, taken apart without a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

_ENDS = {"&&", "||", "|", ";", "&"}
_PYTHON = re.compile(r"(.*/)?python[\d.]*")


def statements(code: str) -> Iterator[list[str]]:
  """Yields the words of every command, without comments.

  A quoted text may go over several lines; what it holds stays one word.

  Raises:
    ValueError: where a quotation stays open, or a line begins with an option.
  """
  waiting = ""
  for line in code.replace("\\\n", "").split("\n"):
    waiting += line
    try:
      words = shlex.split(waiting, comments=True)
    except ValueError:  # A quotation is still open.
      waiting += "\n"
      continue
    waiting = ""
    while words:
      end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
      if words[:1] and words[0].startswith("--"):
        raise ValueError(f"a line begins with {words[0]}; the one before lacks a \\")
      if words[:end]:
        yield words[:end]
      words = words[end + 1 :]
  if waiting:
    raise ValueError(f"a quotation is not closed: {waiting}")


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
  """Yields (program, arguments) of `python -m program` and of `ltx-jax program`.

  A word that holds such a line, as what another machine is told to run, counts too.
  """
  for words in statements(code):
    for word in words:
      if re.search(r"\bpython[\d.]*\s+-m\s", word):
        yield from commands(word)
    while words and re.match(r"\w+=", words[0]):
      words = words[1:]
    for i in range(1, len(words) - 1):
      if words[i] == "-m" and _PYTHON.fullmatch(words[i - 1]):
        yield words[i + 1], words[i + 2 :]
        break
    else:
      if len(words) > 1 and words[0] in ("ltx-jax", "make"):
        yield words[0], words[1:]
