"""Prints the memory per device that a LoRA needs, by rank, frames and size of clips.

    python -m train.plan lora lora_13b

Nothing is compiled or run, and no compiler is needed: the figures come from the memory
plan that the trainer uses. They are within 15 % of the compilers' figures and hardly
ever below them (`python -m train.compile` prints those). Each figure is the peak of one
device in GB with one clip per device, followed by what blocks keep for the backward
pass (`--remat`), as the trainer chooses it. Several devices share the model. If a step
does not fit, brackets show what it would need. A step fits if it takes at most 95 % of
the device's memory; on a GPU set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 for that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.cli import console
from ltx_jax.cli.command_line import cli


@dataclasses.dataclass(frozen=True)
class Options:
  """What is planned.

  Attributes:
    configs: Names of modules in configs/ that train a LoRA.
    devices: Accelerators to plan for.
    ranks: Ranks of the updates.
    buckets: Sizes of the clips, as WIDTHxHEIGHTxFRAMES.
    base_weights: Formats of the frozen model's weights: `bfloat16`, `int8` or `fp8`.
  """

  configs: Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(help_behavior_hint="")
  ]
  devices: tuple[Literal[tuple(TARGETS)], ...] = ("rtx4090", "a100-40", "h100", "v5e-8")
  ranks: tuple[int, ...] = (32, 128)
  buckets: tuple[str, ...] = (
    *("512x320x49", "768x512x49", "768x512x121", "1216x704x121"),
  )
  base_weights: tuple[Literal["bfloat16", "int8", "fp8"], ...] = ("bfloat16", "int8")


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line and prints the table."""
  options = cli(Options, argv, program="python -m train.plan", about=__doc__)
  devices.use_host_only()
  from train.harness import lora_plan  # --help need not wait for the networks.

  for line in lora_plan.lines(options):
    print(line, flush=True)


if __name__ == "__main__":
  console.run(main)
