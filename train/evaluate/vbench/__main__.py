"""Puts clips into the layout of VBench, VBench-Long, VBench-I2V or VBench-2.0.

    python -m train.evaluate.vbench plan short --prompts all_dimension.txt \\
        --longer all_dimension_longer.txt --output vbench.jsonl
    python -m sample.generate --prompts vbench.jsonl --output clips/ours
    python -m train.evaluate.vbench export short --prompts all_dimension.txt \\
        --clips clips/ours --output vbench/ours
    python -m train.evaluate.vbench check short --prompts all_dimension.txt \\
        --folder vbench/ours

The suites have their own programs and weights, which are not part of this one; get
their prompts and the programs from github.com/Vchitect/VBench. `plan` writes the list
of prompts that sample.generate reads, `export` gives its clips the names that a suite
looks for, and `check` says what is wrong with a folder: clips that are missing, cannot
be read, have no prompt, differ in size, rate or length, are of the other suite's
length, or are copies, and files that are no clips.

Clips under 5 seconds are for the suite `short`, others for `long`: 121 frames are 5.04
seconds at 24 frames a second and 4.84 at 25. Names keep the short prompts also with
--longer. For i2v take a size of the ratio of the start images: 768x480 (8-5), 896x512
(7-4), 1024x576 (16-9) or 512x512 (1-1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from train.evaluate.vbench import suites
from train.evaluate.vbench.suites import Suite, Wanted

_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.
_Suite = tyro.conf.Positional[Suite]


@dataclasses.dataclass(frozen=True)
class Suited:
  """What all three have in common.

  Attributes:
    suite: Suite of the family.
    prompts: Prompts of the suite: all_dimension.txt, vbench2_i2v_full_info.json, or for
      2.0 the folder with a file for each dimension.
    longer: Lengthened prompts, line by line (for 2.0, file by file); default: the short
      ones.
    static: Prompts of temporal_flickering, of which 25 clips are made; default: 5, as
      of all.
  """

  suite: _Suite
  prompts: Path
  longer: Annotated[Path | None, _IN_WORDS] = None
  static: Annotated[Path | None, _IN_WORDS] = None

  def wanted(self) -> list[Wanted]:
    """Returns the clips that the suite asks for."""
    return suites.wanted(self.suite, self.prompts, self.longer, self.static)


@dataclasses.dataclass(frozen=True)
class Plan(Suited):
  """List of prompts and seeds for sample.generate.

  Attributes:
    images: Folder of start images of one ratio, for i2v.
    output: File of the list.
  """

  images: Annotated[Path | None, _IN_WORDS] = None
  output: Path = Path("vbench.jsonl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(Suited):
  """Clips under the names of a suite.

  Attributes:
    clips: Folder with the clips that sample.generate made.
    output: Folder of the suite; it must not exist. Seeds go to a file beside it.
  """

  clips: Path
  output: Path = Path("vbench")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check(Suited):
  """Faults of a folder of clips; there are none if the exit code is 0.

  Attributes:
    folder: Folder that the suite will read.
  """

  folder: Path


def run(options: Plan | Export | Check, console: Console) -> None:
  """Does what was asked for.

  Raises:
    ValueError: If files do not fit, or `check` finds a fault.
  """
  from train.evaluate.vbench import checking, exporting

  def say(words: str) -> None:
    console.print(words, markup=False, highlight=False, soft_wrap=True)

  clips = options.wanted()
  if isinstance(options, Plan):
    exporting.write_plan(options.output, exporting.plan(clips, options.images))
    say(f"{options.output} has {len(clips)} clips for the suite {options.suite}.")
  elif isinstance(options, Export):
    exporting.export(options.suite, clips, options.clips, options.output, say)
    record = exporting.record_of(options.output)
    say(f"{options.output} has {len(clips)} clips; {record} has their seeds.")
  else:
    faults = checking.check(options.suite, clips, options.folder)
    for fault in faults:
      say(fault)
    if faults:
      kinds = f"{len(faults)} kind{'s' * (len(faults) > 1)} of faults"
      raise ValueError(
        f"{options.folder} has {kinds}; mend them before the suite runs."
      )
    say(f"{options.folder} has all {len(clips)} clips of the suite {options.suite}.")


def main(argv: Sequence[str] | None = None) -> None:
  """Does what the command says."""
  options = cli(
    Plan | Export | Check,
    argv,
    program="python -m train.evaluate.vbench",
    about=__doc__,
  )
  with errors_in_words():
    run(options, Console())


if __name__ == "__main__":
  run_program(main)
