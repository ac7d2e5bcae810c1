"""Measures the loss of transformers in ten bins of the noise level, by clip size.

    python -m train.evaluate.loss --models MODEL --data clips/manifest.jsonl
    python -m train.evaluate.loss --models RAW AVERAGED --data records \\
        --buckets 25x128x128 49x64x64

--data is a manifest of videos with captions, a folder of records, or moving-shapes,
whose held-out captions are taken. Each clip is used once in each bin, at a level and
with noise that depend on --seed and its name only. So the same model has the same
figures each time, and two models, such as raw and averaged parameters of one run, see
the same noise: their difference is given with an interval of its own.

Files: clips.csv (the loss of each clip and bin), loss.json and loss.png. Clips of one
video count as one witness.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.config.runs import Bucket
from ltx_jax.errors import check_number, check_seed
from ltx_jax.sizes import check_size


@dataclasses.dataclass(frozen=True)
class Options:
  """Which models are measured, and on what.

  Attributes:
    models: Presets, or paths of checkpoints. Of the first one are the VAE and the text
      encoder that make the inputs of all.
    data: Manifest, folder of records, or moving-shapes.
    buckets: Sizes of clips, each as FRAMESxHEIGHTxWIDTH.
    count: Largest number of clips of each size.
    seed: Random seed of noise levels and noise.
    output: Folder for the results; it is created if it does not exist.
  """

  models: tuple[str, ...] = ("moving-shapes",)
  data: str = "moving-shapes"
  buckets: tuple[str, ...] = ("25x128x128",)
  count: int = 64
  seed: int = 0
  output: Path = Path("runs/loss")


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
    if not given or len(set(given)) < len(given):
      raise ValueError(f"--{name} needs one or several, each once.")
  for text in options.buckets:
    bucket_of(text)
  check_number("--count", options.count, at_least=1, at_most=10**6, whole=True)
  check_seed(options.seed)


def main(argv: Sequence[str] | None = None) -> None:
  """Measures what the command line says."""
  options = cli(Options, argv, program="python -m train.evaluate.loss", about=__doc__)
  console = Console(soft_wrap=True, highlight=False)
  with errors_in_words():
    check(options)
    from train.evaluate.loss import running  # The models: --help need not wait.

    running.run(options, lambda words: console.print(words, markup=False))


if __name__ == "__main__":
  run_program(main)
