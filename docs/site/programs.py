"""What each program says to `--help`, asked when the site is built.

    .. program-help:: sample.generate

in a page becomes the help of `python -m sample.generate`. All programs are started when
the build begins, as many at a time as there are cores, and each is waited for where it
stands in a page. One that fails fails the build.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from ltx_jax.files import read_text

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "programs.rst"
WIDTH = 88

_helps: dict[str, Future[str]] = {}


def names(page: str) -> list[str]:
  """Returns the programs that a page asks for."""
  return re.findall(r"^\.\. program-help:: (.*)$", page, re.MULTILINE)


def start(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
  """Asks all programs for their help where their page is to be read."""
  if env.path2doc(PAGE) not in pages:
    return
  pool = ThreadPoolExecutor(os.cpu_count())
  for name in names(read_text(PAGE)):
    _helps[name] = pool.submit(help_of, name)
  pool.shutdown(wait=False)


def help_of(name: str) -> str:
  """Returns what a program prints.

  Raises:
    RuntimeError: where it fails, with what it says.
  """
  plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
  command = [sys.executable, "-m", *name.split(), "--help"]
  done = subprocess.run(
    command,
    cwd=ROOT,
    env=os.environ | plain,
    capture_output=True,
    encoding="utf-8",
    check=False,
  )
  if done.returncode:
    raise RuntimeError(f"python -m {name} --help failed:\n{done.stderr}")
  return done.stdout.strip("\n")


def wrapped(text: str) -> str:
  """Breaks lines that are longer than a page is wide, each below its own beginning."""
  lines = []
  for line in text.split("\n"):
    indent = " " * (len(line) - len(line.lstrip()))
    how = {"subsequent_indent": indent, "break_on_hyphens": False}
    lines += textwrap.wrap(line, WIDTH, break_long_words=False, **how) or [""]
  return "\n".join(lines)


class ProgramHelp(SphinxDirective):
  """The help of a program, as it prints it."""

  required_arguments = 1
  final_argument_whitespace = True

  def run(self) -> list[nodes.Node]:
    text = wrapped(_helps[self.arguments[0]].result())
    return [nodes.literal_block(text, text, language="none")]
