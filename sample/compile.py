"""Compiles sampling for an accelerator you do not have, and reports memory and work.

    python -m sample.compile --device h100 --preset ltxv-2b-0.9.6-dev \\
      --size 768x512 --frames 121

Every stage is compiled as it would run: the text encoder, the keys and values of the
text, a denoising step with its branches of guidance, the decoder whole and in tiles.
Nothing is run and no weights are read, so you can try sizes before you rent a machine.
It needs the compiler of the device, which is installed separately: for GPUs with
`pip install "jax[cuda12]"` (5.5 GB), for TPUs with `pip install "jax[tpu]"` (0.7 GB).

Several chips share the work as --mesh says, like --mesh of sample.generate:

    python -m sample.compile --device v6e-8 --mesh data=2,context=4

Every figure is then that of one chip, and what it sends to the others is listed by
kind. Devices have the names under which they are rented: v5e-8 and v6e-8 are eight
chips, v5p-8 is four.

Memory is what the compiler plans, without the workspaces that cuDNN and cuBLAS request
when they run. Weights of a network that a stage does not read, such as the encoder of a
VAE that decodes, are listed separately. Floating-point operations are counted in the
compiled program, loops as often as they run, and compared with the minimum that the
mathematics needs. The seconds are an estimate, the largest of three times: for the
operations at the device's full rate, for the bytes of its memory at their full
bandwidth, and for what it sends at the bandwidth of two of its links.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro
from rich.console import Console
from rich.table import Table

from ltx_jax.analysis import devices
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from sample.flags import IfAny, OfRecipe

if TYPE_CHECKING:
  from ltx_jax.analysis.compiled import StageReport

_GB = 10**9

Stage = Literal["text", "keys", "denoise", "decode", "tiled"]
"""Stage of making a video (`analysis.stages`)."""


@dataclasses.dataclass(frozen=True)
class Options:
  """What is compiled, and for what."""

  device: Literal[tuple(TARGETS)]
  """Target device; a TPU without a number is one chip."""

  preset: str = "ltxv-2b-0.9.6-dev"
  """Name of the model."""

  size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT"), OfRecipe] = None
  """Size of the video in pixels."""

  frames: Annotated[int | None, OfRecipe] = None
  """Number of frames."""

  branches: Annotated[Literal[1, 2, 3] | None, OfRecipe] = None
  """Number of guidance branches: 1 without guidance, 2 classifier-free, 3 with
  spatiotemporal guidance too."""

  clips: int = 1
  """Number of videos in a batch."""

  mesh: Annotated[str | None, IfAny, tyro.conf.arg(metavar="AXIS=DEVICES,...")] = None
  """Mesh of several chips, such as data=2,context=4 (docs/devices.md)."""

  stages: tuple[Stage, ...] = get_args(Stage)
  """Stages to compile; default all."""

  decode_memory: Annotated[float | None, IfAny] = None
  """Memory limit of tiled decoding in GB; default half of decoding in one piece."""

  json: bool = False
  """Print JSON instead of a table."""


def table(options: Options, found: list[StageReport]) -> Table:
  """Returns a table with one column per stage."""
  title = f"{options.preset} for {options.device}"
  if options.mesh is not None:
    title += f" ({options.mesh}), a chip's share"
  made = Table(title=title, title_justify="left")
  made.add_column()
  for report in found:
    made.add_column(report.stage, justify="right")
  for name, value in _FIGURES.items():
    made.add_row(name, *(value(report) for report in found))
  return made


def _attention(report: StageReport) -> str:
  calls = [f"{times} x {keys} keys" for _, keys, times in report.attention]
  return "\n".join(calls) or "none"


def _sent(report: StageReport) -> str:
  lines = [
    f"{each.kind} {each.count} x {each.times}: {each.wire_bytes / _GB:.2f}"
    for each in report.sent
  ]
  return "\n".join(lines) or "nothing"


_FIGURES: dict[str, Callable[[StageReport], str]] = {
  "arguments, GB": lambda report: f"{report.arguments / _GB:.2f}",
  "temporaries, GB": lambda report: f"{report.temporaries / _GB:.2f}",
  "peak, GB": lambda report: f"{report.peak / _GB:.2f}",
  "in use at once, GB": lambda report: f"{report.in_use / _GB:.2f}",
  "weights not read, GB": lambda report: f"{report.unread / _GB:.2f}",
  "TFLOP": lambda report: f"{report.flops / 1e12:.3f}",
  "TFLOP over least": lambda report: f"{report.ratio:.3f}",
  "moved, GB": lambda report: f"{report.moved / _GB:.1f}",
  "fused attention": _attention,
  "N x N arrays": lambda report: str(len(report.squares)),
  "sent, GB": lambda report: f"{report.wire / _GB:.2f}",
  "of that, GB": _sent,
  "sending, ms": lambda report: f"{1e3 * report.wire_seconds:.1f}",
  "estimate, ms": lambda report: f"{1e3 * report.estimate:.1f}",
  "compiling, s": lambda report: f"{report.seconds:.1f}",
}


def as_json(options: Options, found: list[StageReport]) -> dict[str, Any]:
  """Returns the figures as JSON values."""
  asked = dataclasses.asdict(options)
  asked.pop("json")
  return {"asked": asked, "stages": [report.as_dict() for report in found]}


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, compiles, and prints."""
  options = cli(Options, argv, program="python -m sample.compile", about=__doc__)
  console = Console(soft_wrap=True)
  devices.use_host_only()
  from sample import compiling  # --help need not wait for Flax and the models.

  found = compiling.reports(options)
  if options.json:
    print(json.dumps(as_json(options, found), indent=1))
    return
  console.print(table(options, found), highlight=False)
  for report in found:
    if report.unknown_trips:
      console.print(
        f"note: {report.stage} has {report.unknown_trips} loop(s) of unknown length; "
        "they are counted once.",
        highlight=False,
      )
  console.print(
    "The estimate is the largest of operations at the device's full rate, bytes at its "
    "full bandwidth, and sending; nothing was run.",
    highlight=False,
  )


if __name__ == "__main__":
  shared.run(main)
