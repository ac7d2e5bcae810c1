"""Compiles a recipe's training step for an accelerator, without the accelerator.

    python -m train.compile ltxv_2b --device v5p-16 --mesh.fsdp 8 --clips 2

It compiles the same step that `train.transformer` or `train.vae` runs, with its
optimiser and averages, for each clip size of the recipe. It runs nothing, and reads no
data and no weights. All options of the recipe work, such as --remat full, --dtype
and --optimizer.ema-decay. Devices have the names under which they are rented: v5p-16
has eight chips, because v5p counts cores. The compilers are installed separately: for
GPUs with `pip install "jax[cuda12]"` (5.5 GB), for TPUs with `pip install "jax[tpu]"`
(0.7 GB).

Every figure is for one device and one step. The peak is the sum of arguments,
temporaries, and results that do not reuse the memory of an argument. A step fits if its
peak is at most 0.95 of the device's memory. Floating-point operations are compared with
those of the mathematics, by formula: each product of the forward pass has two in the
backward pass. What is computed a second time is shown separately. The seconds are an
estimate, the largest of three times: for the operations at the device's full rate, for
the bytes of its memory at their full bandwidth, and for what it sends at the bandwidth
of two of its links.

With --fit it finds the largest number of clips per device that fits, for each way to
keep the forward pass. The memory plan says where to look, and the compiler decides.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import refuse_unknown, run_tyro
from ltx_jax.config import VAE_C, VAEConfig
from ltx_jax.config.runs import Bucket, TransformerRun, VAERun
from ltx_jax.data.outputs import check_place
from ltx_jax.errors import check_number
from train.harness import recipe

_PROGRAM = "python -m train.compile"


@dataclasses.dataclass(frozen=True)
class Options:
  """What is compiled, and for what; options of the recipe may follow.

  Attributes:
    config: Name of a module in configs/.
    device: Accelerator to compile for.
    network: Network to compile, if the recipe trains both; default: the transformer.
    bucket: Size of the clips; default: every size in the recipe.
    clips: Number of clips per device and step, such as 2 or 0.5; default: as the recipe
      says.
    fit: Search for the largest number of clips that fits.
    effort: Effort of a TPU's compiler. With the least it takes a tenth of the time; its
      program may need other memory and run slower than the one that training uses.
    json: JSON file for the figures.
  """

  config: Annotated[str, tyro.conf.Positional]
  device: Literal[tuple(TARGETS)]
  network: Literal["transformer", "vae"] | None = None
  bucket: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHTxFRAMES")] = None
  clips: float | None = None
  fit: bool = False
  effort: Literal["full", "least"] = "full"
  json: Path | None = None


def read_options(argv: Sequence[str]) -> tuple[Options, TransformerRun | VAERun]:
  """Reads the command line: this program's options, and those of the recipe.

  Raises:
    ValueError: If it cannot be read.
  """
  how = {"prog": _PROGRAM, "description": __doc__, "return_unknown_args": True}
  options, rest = run_tyro(lambda: tyro.cli(Options, args=list(argv), **how))
  network = options.network or (
    "transformer" if _has(options, "transformer") else "vae"
  )
  run, about = recipe.load_config(options.config, network)
  if options.clips is not None:
    check_number("--clips", options.clips, above=0)
  if options.json is not None:
    check_place(options.json)
  if options.bucket is not None:
    bucket_of(options.bucket)  # What is wrong with it, before a compiler is missing.
  names = [field.name for field in dataclasses.fields(Options)][1:]
  refuse_unknown(rest, [*names, *recipe.option_names(run)], _PROGRAM)
  return options, recipe.override(run, rest, program=_PROGRAM, about=about)


def _has(options: Options, network: str) -> bool:
  return options.config in recipe.config_names(network)


def _latents_of(options: Options) -> VAEConfig:
  """Returns the VAE that the recipe trains as well, or else that of the releases."""
  if not _has(options, "vae"):
    return VAE_C
  return recipe.load_config(options.config, "vae")[0].vae


def bucket_of(size: str) -> Bucket:
  """Reads a size such as "768x512x121".

  Raises:
    ValueError: If it has another form.
  """
  sides = size.split("x")
  if len(sides) != 3 or not all(side.isdecimal() for side in sides):
    raise ValueError(
      f"--bucket is {size}; give width, height and frames, such as 768x512x121."
    )
  width, height, frames = map(int, sides)
  return Bucket(frames, height, width)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, compiles, prints, and writes."""
  options, run = read_options(sys.argv[1:] if argv is None else argv)
  devices.use_host_only()
  from train.harness import compile_report  # --help need not wait for the networks.

  console, latents = Console(soft_wrap=True), _latents_of(options)
  compile_report.report(options, run, latents, console)


if __name__ == "__main__":
  shared.run(main)
