"""Times this package against the PyTorch original, side by side, on this machine's CPU.

    python -m sample.benchmark --against ltx-video

    python -m sample.benchmark --against diffusers

Seven tasks, all in float32; diffusers runs only the last one:

    velocity   one call of the 2B transformer: 256 video tokens, 128 text tokens
    decode     a clip of 25 x 256 x 256 by the decoder of the released VAE (0.9.5 on)
    encode     the same by its encoder
    training   a step of the small model's transformer with AdamW: 64 clips of 64 tokens
    vae-training      a step of its VAE with AdamW: 4 clips of 25 x 128 x 128
    vae-convolutions  the convolutions of that step alone, with their gradients
    generate   a whole video by the small model, text embeddings given

Each side runs a task in its own process on two CPUs, and the sides take turns: ours,
theirs, ours, theirs. The comparison uses the median of the runs after the first. Memory
is the peak of the process (VmHWM). Weights are random, except for the small model if it
is there, because values do not change the time. In `vae-training` both sides begin with
the same parameters, clips and noise, and are timed only if their first losses and the
norm of their gradients agree. diffusers cannot represent the small model's VAE, so it
gets a random model with about the same transformer and a narrow VAE. After the table
come rows in Markdown, to paste into a README. `velocity` needs about 20 GB of free
memory for both sides; `--tasks` without it leaves it out.

FLOPs are those of the mathematics (`ltx_jax.planning.flops`). A share is relative to
the rate at which that side multiplies large matrices here.

The original may be in another environment:

    python -m sample.benchmark --against-python /path/to/other/bin/python

To measure an accelerator, with or without the original, use another program:

    python -m sample.benchmark device --help
"""

from __future__ import annotations

import dataclasses
import difflib
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli

TASKS = (
  "velocity",
  "decode",
  "encode",
  "training",
  "vae-training",
  "vae-convolutions",
  "generate",
)
TASKS_OF = {"ltx-video": TASKS, "diffusers": ("generate",)}
NEEDED = {
  "ltx-video": ("torch", "ltx_video", "diffusers"),
  "diffusers": ("torch", "diffusers", "transformers"),
}


@dataclasses.dataclass(frozen=True)
class Options:
  """What is measured."""

  against: Literal["ltx-video", "diffusers"] = "ltx-video"
  """The PyTorch original by the name of its package, or the pipeline of diffusers."""

  against_python: Path = Path(sys.executable)
  """Python interpreter that has the original; it does not need this package."""

  tasks: Annotated[
    str | None, tyro.conf.arg(help_behavior_hint="(default: all that they do)")
  ] = None
  """Tasks to run, in order, separated by commas."""

  repeats: int = 5
  """Number of timed runs per side, after one warm-up run."""

  threads: int = 2
  """Number of CPUs per side."""

  model: Path | None = None
  """Checkpoint for `generate` and `vae-training`; default: the small model, or else
  random weights."""

  json: bool = False
  """Print all figures as JSON instead of a table."""


def check_installed(python: Path, against: str) -> None:
  """Refuses an interpreter without the original, or without diffusers.

  Raises:
    ValueError: If it lacks a package; the message names it.
  """
  code = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:]"
  code += " if u.find_spec(n) is None))"
  try:
    done = subprocess.run(
      [python, "-c", code, *NEEDED[against]], capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError) as error:
    raise ValueError(
      f"--against-python {python} is not a working Python: {error}"
    ) from None
  missing = done.stdout.split()
  if missing:
    raise ValueError(
      f"{python} lacks {', '.join(missing)}, so {against} cannot run there; "
      "install it as pyproject.toml says next to the extra 'oracle', or name an "
      "interpreter that has it with --against-python."
    )


def chosen(names: str | None, against: str) -> list[str]:
  """Returns the named tasks, which are separated by commas; None returns all.

  Raises:
    ValueError: If one is unknown; the message suggests the nearest.
  """
  known = TASKS_OF[against]
  if names is None:
    return list(known)
  asked = [name.strip() for name in names.split(",") if name.strip()]
  for name in asked:
    if name not in TASKS:
      near = difflib.get_close_matches(name, TASKS, n=1)
      guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(TASKS)}."
      raise ValueError(f"No task is called {name!r}; {guess}")
    if name not in known:
      raise ValueError(
        f"{against} is not timed for {name!r}; it is for {', '.join(known)}."
      )
  if not asked:
    raise ValueError(f"--tasks names none; there are {', '.join(TASKS)}.")
  return asked


def main() -> None:
  """Reads the command line, measures task by task, and prints."""
  if sys.argv[1:2] == ["device"]:
    from sample.benchmark import device

    device.main(sys.argv[2:])
    return
  options = cli(Options, program="python -m sample.benchmark", about=__doc__)
  console = Console(stderr=options.json)
  if not console.is_terminal:
    console.width = 160  # In a file no column needs to be cut.
  against = options.against
  names = chosen(options.tasks, against)
  for name, value in (("repeats", options.repeats), ("threads", options.threads)):
    if value < 1:
      raise ValueError(f"--{name} is {value}; it must be at least 1.")
  check_installed(options.against_python, against)
  from sample.benchmark import comparison  # --help need not wait for the networks.

  comparison.compare(options, names, console)


if __name__ == "__main__":
  shared.run(main)
