"""The output of `train.compile`: a recipe's steps, compiled for a device."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import jax
from rich.console import Console
from rich.table import Table

from ltx_jax.analysis.devices import TARGETS
from ltx_jax.analysis.training import StepReport
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.files import atomic_file
from train.compile import Options, bucket_of
from train.harness import compiling
from train.harness.compiling import Case, Job

_EFFORTS = {"full": "UNKNOWN", "least": "O1"}
_GB = 10**9


def cases(options: Options, job: Job) -> list[Case]:
  """Compiles the steps that the options ask for.

  Raises:
    ValueError: If a device would have part of a clip.
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
  """Returns a table with one column per case."""
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
      console.print(f"note: {size}: the compiler finds no room for it{wanted}.")
    elif case.report.unknown_trips:
      console.print(
        f"note: {size}: {case.report.unknown_trips} loop(s) of unknown length are "
        "counted once."
      )
  console.print(
    "The estimate is the largest of operations at the device's full rate, bytes at its "
    "full bandwidth, and sending; nothing was run.",
    highlight=False,
  )


def report(
  options: Options, run: TransformerRun | VAERun, latents: VAEConfig, console: Console
) -> None:
  """Compiles, prints the table, and writes the JSON file if there is one to write.

  Args:
    options: Options of `train.compile`.
    run: The recipe, with its options.
    latents: The VAE that is trained, or whose latents are trained on.
    console: Console for the table.

  Raises:
    ValueError: If a device would have part of a clip.
  """
  jax.config.update("jax_optimization_level", _EFFORTS[options.effort])
  job = compiling.job_of(run, TARGETS[options.device], latents)
  found = cases(options, job)
  _say(console, job, found)
  if options.json is not None:
    text = json.dumps([compiling.as_json(job, case) for case in found], indent=1)
    with atomic_file(options.json) as file:
      file.write(f"{text}\n".encode())
