"""Shows what a model's VAE does to a video: encodes it, decodes it, and compares.

    python -m sample.reconstruct clip.mp4
    python -m sample.reconstruct clip.mp4 --model ltxv-2b-0.9.6-dev --output seen.mp4

A model denoises latents, and the VAE turns them into pixels. So no sample can be better
than what the VAE makes of a real video. This tells the two apart: if faces melt, text
blurs or fine patterns shimmer here, that is the limit of the VAE, and no prompt, step
count or guidance scale will cure it in a sample. If a video like yours comes back well
here and looks bad as a sample, the fault lies in sampling.

--output is a video of three parts, side by side: the original, the reconstruction, and
the error |reconstruction - original| times --gain. Next to it are NAME-figures.png, the
figures of every frame as curves, and NAME-figures.json, all figures:

    PSNR               error of the pixels in decibels: 20 is poor, 30 fair, 40 good
    SSIM               local structure that is kept: 1 is all of it
    difference error   flicker: error of the change from frame to frame, of 255
    motion ratio       change from frame to frame, relative to the original; above 1 it
                       flickers, below 1 it is too smooth
    bands              share of the original's energy that is missed, for slow and fast,
                       coarse and fine detail; 1 means that it is gone
    latents            deviation of normalised latents: about 1 for videos like those
                       that the VAE was trained on

Any length and proportions work: the video is padded to what the VAE can encode, and the
padding is cut off again. Long videos go through the VAE in windows, which changes them
hardly; docs/tasks.md has the figures. Reading and comparing hold the whole clip in
memory, so --frames limits its length.

The small model knows only its moving shapes, and makes mosaics of anything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import outputs
from ltx_jax.errors import check_number, check_seed
from ltx_jax.files import refuse_overwriting
from ltx_jax.sizes import MOST_FRAMES

_UNSET = tyro.conf.arg(help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Options:
  """What is encoded and decoded, and how."""

  video: Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="VIDEO", help_behavior_hint=""),
  ]
  """Video or image of any size and length."""

  model: str = "moving-shapes"
  """Preset, checkpoint (*.safetensors, also of a VAE alone), diffusers folder, or
  ORG/REPO/FILE."""

  output: Path = Path("reconstruction.mp4")
  """Output: .mp4, .webm, .mov, .gif, .webp, .png, .jpg, or a folder of numbered PNGs
  (no suffix)."""

  frames: int = 241
  """Maximum number of frames, counted from the first."""

  sigma: float = 0.0
  """Noise level of the decoder's own denoising step, in [0, 1]: as much noise is mixed
  into the latents, and the decoder is told so. Sampling usually takes 0.05."""

  seed: int = 0
  """Random seed of that noise."""

  window: Annotated[int | None, _UNSET] = None
  """Frames (8k + 1, at least 33) that go through the VAE together; default: up to 97,
  fewer if they do not fit into memory."""

  gain: float = 4.0
  """Factor that makes the error visible."""

  dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, _UNSET] = None
  """Precision of the networks. Default: bfloat16 on GPU and TPU (float16 on a T4),
  float32 on CPU."""


def outputs_of(options: Options) -> tuple[Path, Path, Path]:
  """Returns the files of the video, the curves and the figures."""
  output = options.output
  plot = output.with_name(f"{output.stem}-figures.png")
  return output, plot, plot.with_suffix(".json")


def check(options: Options) -> None:
  """Refuses options that cannot be, before anything is read or loaded.

  Raises:
    ValueError: If there is one; the message names it.
  """
  check_number("--frames", options.frames, at_least=1, at_most=MOST_FRAMES)
  check_number("--sigma", options.sigma, at_least=0, at_most=1)
  check_number("--gain", options.gain, above=0, at_most=255)
  check_seed(options.seed)
  outputs.check_output(options.output)
  inputs = [("VIDEO", options.video), ("--model", options.model)]
  refuse_overwriting(outputs_of(options), inputs)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, encodes and decodes, writes, and prints the figures."""
  options = cli(Options, argv, program="python -m sample.reconstruct", about=__doc__)
  check(options)
  console = Console(soft_wrap=True, highlight=False)
  shared.show_notes(console)
  shared.use_compile_cache()
  from sample import comparing  # Flax and the models, which --help need not wait for.

  comparing.run(options, console)


if __name__ == "__main__":
  shared.run(main)
