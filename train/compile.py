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
three times those of the forward pass, by formula; what is computed a second time is
shown separately. The seconds are an estimate, the largest of three times: for the
operations at the device's full rate, for the bytes of its memory at their full
bandwidth, and for what it sends at the bandwidth of two of its links.

With --fit it finds the largest number of clips per device that fits, for each way to
keep the forward pass. The memory plan says where to look, and the compiler decides.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.analysis.training import StepReport
from ltx_jax.checkpoints.safetensors_io import atomic_file
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import refuse_unknown, run_tyro
from ltx_jax.config import VAE_C, VAEConfig
from ltx_jax.config.runs import Bucket, TransformerRun, VAERun
from train.harness import compiling, recipe
from train.harness.compiling import Case, Job

_GB = 10**9
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
    json: JSON file for the figures.
  """

  config: Annotated[str, tyro.conf.Positional]
  device: Literal[tuple(TARGETS)]
  network: Literal["transformer", "vae"] | None = None
  bucket: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHTxFRAMES")] = None
  clips: float | None = None
  fit: bool = False
  json: Path | None = None


def read_options(argv: Sequence[str]) -> tuple[Options, TransformerRun | VAERun]:
  """Reads the command line: this program's options, and those of the recipe.

  Raises:
    ValueError: in one sentence, where it cannot be read.
  """
  how = {"prog": _PROGRAM, "description": __doc__, "return_unknown_args": True}
  options, rest = run_tyro(lambda: tyro.cli(Options, args=list(argv), **how))
  network = options.network or (
    "transformer" if _has(options, "transformer") else "vae"
  )
  run, about = recipe.load_config(options.config, network)
  names = [field.name for field in dataclasses.fields(Options)][1:]
  refuse_unknown(rest, [*names, *recipe.option_names(run)], _PROGRAM)
  return options, recipe.override(run, rest, program=_PROGRAM, about=about)


def _has(options: Options, network: str) -> bool:
  return options.config in recipe.config_names(network)


def _latents_of(options: Options) -> VAEConfig:
  """The VAE that the recipe trains as well, else that of the releases."""
  if not _has(options, "vae"):
    return VAE_C
  return recipe.load_config(options.config, "vae")[0].vae


def bucket_of(size: str) -> Bucket:
  """Reads "768x512x121".

  Raises:
    ValueError: where it is written otherwise.
  """
  sides = size.split("x")
  if len(sides) != 3 or not all(side.isdecimal() for side in sides):
    raise ValueError(
      f"--bucket is {size}; give width, height and frames, such as 768x512x121."
    )
  width, height, frames = map(int, sides)
  return Bucket(frames, height, width)


def cases(options: Options, job: Job) -> list[Case]:
  """Compiles what is asked for.

  Raises:
    ValueError: where devices would have parts of clips.
  """
  asked = options.bucket
  buckets = compiling.buckets_of(job) if asked is None else [bucket_of(asked)]
  found = []
  for bucket in buckets:
    if options.fit:
      fitting = (compiling.fit(job, bucket, remat) for remat in job.remats)
      found += [case for case in fitting if case is not None]
    else:
      rows = compiling.rows_of(job, bucket, options.clips)
      remat = compiling.remat_of(job, bucket, rows)
      found.append(compiling.compile_case(job, bucket, rows, remat))
  return found


def table(job: Job, found: Sequence[Case]) -> Table:
  """One column a case."""
  mesh = " ".join(f"{axis}={n}" for axis, n in job.mesh.shape.items() if n > 1)
  title = f"A step for {job.target.name} {mesh}".rstrip() + ", of each device"
  made = Table(title=title, title_justify="left")
  made.add_column()
  for case in found:
    made.add_column(
      f"{case.bucket.width}x{case.bucket.height}x{case.bucket.frames}\n"
      f"{case.rows / job.mesh.size:g} clip(s), {case.remat}",
      justify="right",
    )
  made.add_row("fits", *("yes" if case.fits(job.target) else "no" for case in found))
  made.add_row("planned, GB", *(f"{case.plan.peak / _GB:.1f}" for case in found))
  for name, value in _FIGURES.items():
    made.add_row(name, *(_figure(case, value) for case in found))
  return made


def _figure(case: Case, value: Callable[[StepReport], str]) -> str:
  return "–" if case.report is None else value(case.report)


def _collectives(report: StepReport) -> str:
  lines = [
    f"{kind} {sent['count']} x: {sent['bytes'] / _GB:.2f}"
    for kind, sent in report.collectives.items()
  ]
  return "\n".join(lines) or "nothing"


def _crossed(report: StepReport) -> str:
  if not report.crossings:
    return "nothing"
  return f"{report.crossings} x: {report.crossed_bytes / _GB:.2f}"


def _share(flops: Callable[[StepReport], int]) -> Callable[[StepReport], str]:
  return lambda report: f"{flops(report) / report.minimum_flops:.3f}"


_FIGURES: dict[str, Callable[[StepReport], str]] = {
  "state, GB": lambda report: f"{report.state_bytes / _GB:.2f}",
  "temporaries, GB": lambda report: f"{report.temporaries_bytes / _GB:.2f}",
  "peak, GB": lambda report: f"{report.peak_bytes / _GB:.2f}",
  "TFLOP": lambda report: f"{report.flops / 1e12:.1f}",
  "TFLOP over least": _share(lambda report: report.flops),
  "of that, computed again": _share(lambda report: report.recomputed_flops),
  "beside it, in attention's kernels": _share(lambda report: report.kernel_flops),
  "moved, GB": lambda report: f"{report.moved_bytes / _GB:.0f}",
  "sent, GB": lambda report: f"{report.sent_bytes / _GB:.2f}",
  "of that, GB": _collectives,
  "between slices, GB": _crossed,
  "N x N arrays": lambda report: str(len(report.squares)),
  "instructions": lambda report: str(report.instructions),
  "estimate, s": lambda report: f"{report.estimate_seconds:.3f}",
  "utilisation, estimate": lambda report: f"{report.utilisation:.2f}",
  "compiling, s": lambda report: f"{report.compile_seconds:.0f}",
}


def _say(console: Console, job: Job, found: Sequence[Case]) -> None:
  console.print(table(job, found), highlight=False)
  for case in found:
    size = f"{case.rows / job.mesh.size:g} clip(s) a device, {case.remat}"
    if case.report is None:
      wanted = f" ({case.wanted / _GB:.0f} GB)" if case.wanted else ""
      console.print(f"note: {size}: the compiler has no place for it{wanted}.")
    elif case.report.unknown_trips:
      console.print(
        f"note: {size}: {case.report.unknown_trips} loop(s) that run an unknown number "
        "of times are counted once."
      )
  console.print(
    "The estimate is the largest of operations at the device's full rate, bytes at its "
    "full bandwidth, and sending; nothing was run.",
    highlight=False,
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, compiles, prints, and writes."""
  options, run = read_options(sys.argv[1:] if argv is None else argv)
  devices.use_host_only()
  job = compiling.job_of(run, TARGETS[options.device], _latents_of(options))
  found = cases(options, job)
  _say(Console(soft_wrap=True), job, found)
  if options.json is not None:
    text = json.dumps([compiling.as_json(job, case) for case in found], indent=1)
    with atomic_file(options.json) as file:
      file.write(f"{text}\n".encode())


if __name__ == "__main__":
  shared.run(main)
