"""Compiles sampling for an accelerator you do not have, and reports memory and work.

    python -m sample.compile --device h100 --preset ltxv-2b-0.9.6-dev \\
      --size 768x512 --frames 121

Every stage is compiled as it would run: the text encoder, the keys and values of the
text, a denoising step with its branches of guidance, the decoder whole and in tiles.
Nothing is run and no weights are read, so that the sizes of a video may be tried before
a machine is rented. It takes the compiler of the device, which is installed apart: that
of GPUs with `pip install "jax[cuda12]"` (5.5 GB), that of TPUs with
`pip install "jax[tpu]"` (0.7 GB).

Several chips share the work as --mesh says, which is that of sample.generate:

    python -m sample.compile --device v6e-8 --mesh data=2,context=4

Every figure is then that of one chip, and what it sends to the others is listed by
kind. They are called as they are rented: v5e-8 and v6e-8 are eight chips, v5p-8 four.

Memory is what the compiler plans, without the workspaces that cuDNN and cuBLAS ask for
when they run. What a stage does not read of its network's weights, such as the encoder
of a VAE that decodes, stands apart. Floating-point operations are counted in the
compiled program, loops as often as they run, and stand beside the least that the
mathematics takes. The seconds are an estimate: the largest of what the operations take
at the device's full rate, the bytes of its memory at their full bandwidth, and what it
sends at that of two of its links.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from ltx_jax.analysis import devices, stages
from ltx_jax.analysis.compiled import StageReport, compile_stage
from ltx_jax.analysis.devices import TARGETS
from ltx_jax.checkpoints import t5
from ltx_jax.checkpoints.lightricks import read_config
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.config import ModelConfig
from ltx_jax.errors import check_number
from ltx_jax.releases.presets import PRESETS, HubFile, recipe_for, suggestion
from sample.flags import IfAny, OfRecipe, mesh_of

_GB = 10**9


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

  stages: tuple[Literal["text", "keys", "denoise", "decode", "tiled"], ...] = (
    stages.STAGES
  )
  """Stages to compile; default all."""

  decode_memory: Annotated[float | None, IfAny] = None
  """Memory limit of tiled decoding in GB; default half of decoding in one piece."""

  json: bool = False
  """Print JSON instead of a table."""


def config_of(name: str) -> ModelConfig:
  """Returns the configs of a model by name, without its weights.

  Raises:
    ValueError: where there is no such preset.
  """
  if name not in PRESETS:
    raise ValueError(f"No preset is called {name!r}; {suggestion(name)}")
  preset = PRESETS[name]
  if isinstance(preset.files, HubFile):
    return dataclasses.replace(preset.config, name=name)
  config = read_config(preset.files / "model.safetensors")
  text = t5.load_config(preset.files / "text_encoder")
  return dataclasses.replace(config, text_encoder=text)


def pixels(size: str | None) -> tuple[int | None, int | None]:
  """Reads "768x512" as (width, height).

  Raises:
    ValueError: where it is written otherwise.
  """
  if size is None:
    return None, None
  sides = size.split("x")
  if len(sides) != 2 or not all(side.isdecimal() for side in sides):
    raise ValueError(f"--size is {size}; give width and height, such as 768x512.")
  return int(sides[0]), int(sides[1])


def run_of(options: Options) -> stages.SamplingRun:
  """Returns what the options ask for.

  Raises:
    ValueError: in one sentence, where they do not fit, or a compiler is missing.
  """
  target = TARGETS[options.device]
  check_number("--clips", options.clips, at_least=1, at_most=10_000)
  if options.decode_memory is not None:
    check_number("--decode-memory", options.decode_memory, above=0)
  config = config_of(options.preset)
  recipe = recipe_for(config)
  width, height = pixels(options.size)
  if target.chips > 1 and options.mesh is None:
    raise ValueError(
      f"{options.device} is {target.chips} chips and --mesh does not say what each of "
      f"them does; give it, such as --mesh context={target.chips}."
    )
  chips = devices.devices_of(target)
  mesh = mesh_of(options.mesh, chips)
  return stages.SamplingRun(
    config=config,
    policy=dataclasses.replace(target.policy, mesh=mesh),
    device=chips[0],
    canvas=recipe.canvas(config.vae, options.frames, height, width),
    branches=options.branches or recipe.sampling.branches,
    clips=options.clips,
  )


def reports(options: Options) -> list[StageReport]:
  """Compiles the stages that are asked for.

  Raises:
    ValueError: as `run_of`, or where the VAE cannot be tiled.
  """
  memory = options.decode_memory and int(options.decode_memory * _GB)
  made = stages.stages(run_of(options), options.stages, memory)
  return [compile_stage(stage, TARGETS[options.device]) for stage in made]


def table(options: Options, found: list[StageReport]) -> Table:
  """One column a stage."""
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
  """The same for programs."""
  asked = dataclasses.asdict(options)
  asked.pop("json")
  return {"asked": asked, "stages": [report.as_dict() for report in found]}


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, compiles, and prints."""
  options = cli(Options, argv, program="python -m sample.compile", about=__doc__)
  console = Console(soft_wrap=True)
  devices.use_host_only()
  found = reports(options)
  if options.json:
    print(json.dumps(as_json(options, found), indent=1))
    return
  console.print(table(options, found), highlight=False)
  for report in found:
    if report.unknown_trips:
      console.print(
        f"note: {report.stage} has {report.unknown_trips} loop(s) that run an unknown "
        "number of times; they are counted once.",
        highlight=False,
      )
  console.print(
    "The estimate is the largest of operations at the device's full rate, bytes at its "
    "full bandwidth, and sending; nothing was run.",
    highlight=False,
  )


if __name__ == "__main__":
  shared.run(main)
