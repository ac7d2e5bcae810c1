"""Measures the loss of transformers in ten bins of the noise level, by clip size.

    python -m train.evaluate.loss --models MODEL --data clips/manifest.jsonl
    python -m train.evaluate.loss --run runs/own --data records \\
        --buckets 25x128x128 49x64x64

--data is a manifest of videos with captions, a folder of records, or moving-shapes,
whose held-out captions are taken. Each clip is used once in each bin, at a level and
with noise that depend on --seed and its name only. So the same model has the same
figures each time, and two models see the same noise: their difference is given with an
interval of its own. --run measures two of one training: the raw parameters of its last
checkpoint, and their average (EMA), which is what its model holds.

Several devices share a model with --mesh. In float32 the figures are then equal to
those of one device within 1e-5 of their value.

Files: clips.csv (the loss of each clip and bin), loss.json and loss.png. Clips of one
video count as one witness.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import as_typed, cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.config.runs import Bucket
from ltx_jax.errors import check_number, check_seed
from ltx_jax.sizes import check_size

_PROGRAM = "python -m train.evaluate.loss"
_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.
_Mesh = tyro.conf.arg(metavar="AXIS=DEVICES,...", help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Options:
  """Which models are measured, and on what.

  Attributes:
    models: Presets, or paths of checkpoints; default: moving-shapes, or with --run
      none. The VAE of the first one makes the inputs of all.
    run: Folder of a finished training of a transformer, whose raw and averaged
      parameters are measured as two models.
    data: Manifest, folder of records, or small world, such as moving-shapes.
    buckets: Sizes of clips, each as FRAMESxHEIGHTxWIDTH.
    count: Largest number of clips of each size.
    seed: Random seed of noise levels and noise.
    mesh: Devices that work together, by what they shard: context and data (tokens),
      fsdp (tokens and weights), tensor (heads): context=2,tensor=2.
    output: Folder for the results; it is created if it does not exist.
  """

  models: Annotated[tuple[str, ...], _IN_WORDS] = ()
  run: Annotated[Path | None, _IN_WORDS] = None
  data: str = "moving-shapes"
  buckets: tuple[str, ...] = ("25x128x128",)
  count: int = 64
  seed: int = 0
  mesh: Annotated[str | None, _Mesh] = None
  output: Path = Path("runs/loss")

  @property
  def named(self) -> tuple[str, ...]:
    """The models to load by their names."""
    return self.models or (() if self.run else ("moving-shapes",))


def bucket_of(text: str) -> Bucket:
  """Reads a size such as 25x128x128.

  Raises:
    ValueError: If it is none.
  """
  found = re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", text)
  if not found:
    raise ValueError(
      f"--buckets has {text!r}; give sizes as FRAMESxHEIGHTxWIDTH, such as 25x128x128."
    )
  size = [int(number) for number in found.groups()]
  check_size(*size)
  return Bucket(*size)


def check(options: Options) -> None:
  """Refuses invalid options with a ValueError that names the flag."""
  for name in ("models", "buckets"):
    given = getattr(options, name)
    if len(set(given)) < len(given):
      raise ValueError(f"--{name} needs one or several, each once.")
  if not options.buckets:
    raise ValueError("--buckets needs a size, or several.")
  for text in options.buckets:
    bucket_of(text)
  check_number("--count", options.count, at_least=1, at_most=10**6, whole=True)
  check_seed(options.seed)


def main(argv: Sequence[str] | None = None) -> None:
  """Measures what the command line says."""
  options = cli(Options, argv, program=_PROGRAM, about=__doc__)
  console = Console(soft_wrap=True, highlight=False)
  with errors_in_words():
    check(options)
    from train.evaluate.loss import running  # The models: --help need not wait.

    command = as_typed(_PROGRAM, argv)
    running.run(options, command, lambda words: console.print(words, markup=False))


if __name__ == "__main__":
  run_program(main)
