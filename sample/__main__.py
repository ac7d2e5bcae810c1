"""The command `ltx-jax`: the programs of this folder, each by its name.

    ltx-jax generate "a large red circle moving right on a navy background"
    ltx-jax app

`python -m sample.generate` and the like are the same programs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import nearest

PROGRAMS = {
  "generate": ("sample.generate", "make videos of prompts, images and clips"),
  "app": ("sample.app.__main__", "a page in the browser that makes videos"),
  "reconstruct": ("sample.reconstruct", "what a model's VAE does to a video"),
  "convert": ("sample.convert", "write a checkpoint in another layout"),
  "plan": ("sample.plan", "sizes that fit a device that is not here, by formula"),
  "compile": ("sample.compile", "memory and time of a device that is not here"),
  "doctor": ("sample.doctor", "what this machine has, and what it lacks"),
}


def usage() -> str:
  """Lists the programs."""
  lines = [f"  {name:13}{about}" for name, (_, about) in PROGRAMS.items()]
  return "\n".join(
    ["usage: ltx-jax PROGRAM [OPTIONS]", "", *lines, "", "ltx-jax PROGRAM --help: more"]
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the program that the first word names, with the words after it."""
  words = list(sys.argv[1:] if argv is None else argv)
  if words[:1] in ([], ["--help"], ["-h"]):
    shared.run(lambda: print(usage()))
    raise SystemExit(0 if words else 2)
  name, *rest = words
  shared.run(lambda: _program(name).main(rest))


def _program(name: str) -> ModuleType:
  if name not in PROGRAMS:
    raise ValueError(
      f"There is no program {name!r}; {nearest(name, list(PROGRAMS))} There are: "
      f"{', '.join(PROGRAMS)}."
    )
  return importlib.import_module(PROGRAMS[name][0])


if __name__ == "__main__":
  main()
