"""Prints by formula how long a video of a size can be on a device you do not have.

    python -m sample.plan rtx4090
    python -m sample.plan t4 --presets ltxv-2b-0.9.6-distilled --sizes 704x480

For each model the table has the memory of its weights, and for each size the largest
number of frames that fits, one video at a time, at most `--frames-at-most`. A `*` says
that the video is decoded in tiles. A dash says that no length fits.

This is an estimate by formula, the same plan that `sample.generate` makes before it
runs. It lies within a third of the compilers' figures and needs no compiler, no device
and no weights. `python -m sample.compile` compiles one size exactly. Nothing here was
run on these devices.

A device stands for its memory: take t4 for any GPU of 16 GB, rtx4090 for 24 GB, a100-40
for 40 GB, and h100 for 80 GB. JAX takes three quarters of a GPU, and the plan uses that
share. To plan for more, give `--memory-fraction 0.95`, and set
XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 where you run it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli

_SINGLE = tuple(name for name, target in TARGETS.items() if target.chips == 1)


@dataclasses.dataclass(frozen=True)
class Options:
  """What is planned, and for what."""

  device: Annotated[Literal[_SINGLE], tyro.conf.Positional]
  """Device: one GPU, or one chip of a TPU."""

  presets: Annotated[
    tuple[str, ...], tyro.conf.arg(help_behavior_hint="(default: all released ones)")
  ] = ()
  """Names of the models."""

  sizes: tuple[str, ...] = ("512x320", "768x512", "1216x704")
  """Sizes of the video in pixels, as WIDTHxHEIGHT."""

  weights: tuple[Literal["16bit", "int8"], ...] = ("16bit", "int8")
  """Formats of the transformer's weights, as in `sample.generate --weights`."""

  frames_at_most: int = 257
  """Largest number of frames to try."""

  memory_fraction: Annotated[
    float | None,
    tyro.conf.arg(help_behavior_hint="(default: 0.75 on GPUs, 1 elsewhere)"),
  ] = None
  """Share of the device's memory that JAX takes."""


def _device(word: str) -> str:
  """Returns the name of a device for its maker's writing of it, such as RTX 4090."""
  plain = "".join(word.lower().split())
  return plain if plain in _SINGLE else word


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line and prints the table."""
  argv = list(map(_device, sys.argv[1:] if argv is None else argv))
  options = cli(Options, argv, program="python -m sample.plan", about=__doc__)
  devices.use_host_only()
  from sample import planning  # --help need not wait for Flax and the models.

  console = Console(soft_wrap=True)
  console.print(planning.table(options), highlight=False)
  console.print(planning.footer(options), highlight=False, markup=False)


if __name__ == "__main__":
  shared.run(main)
