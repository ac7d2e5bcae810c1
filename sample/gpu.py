"""Sampling on an NVIDIA GPU, from a checkpoint to a timed video.

    python -m sample.gpu "A boat on a lake at dawn" --model ltxv-2b-0.9.6-dev

It is fast for these reasons, which hold for `sample.generate` too (it also calls
`compile_ahead`):

1. Weights are cast once, while they are read: to bfloat16, or to float16 on a GPU
   without bfloat16 (`platforms`).
2. Attention is cuDNN's fused kernel, which never stores the logits.
3. A denoising step is one program that reuses the buffer of its latents. It is
   dispatched ahead of the GPU, which never waits for Python.
4. All programs are compiled from shapes, several at a time, while the text is encoded.
5. Compiled programs are kept on disk, and the next start only reads them.

The text encoder is freed before the first step. The video is made several times, and
each time is printed; the first one includes the remaining set-up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import outputs
from ltx_jax.errors import check_number, check_seed
from ltx_jax.files import refuse_overwriting
from ltx_jax.sizes import check_size
from sample.flags import OfRecipe


@dataclasses.dataclass(frozen=True)
class Options:
  """What is asked for; None takes what the model's recipe says."""

  prompt: Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PROMPT", help_behavior_hint=""),
  ]
  """Prompt."""

  output: Path = Path("video.mp4")
  """Output file: .mp4, .webm, .mov, .gif, .webp or .png."""

  model: str = "ltxv-2b-0.9.6-dev"
  """Preset, checkpoint (*.safetensors), diffusers folder, or ORG/REPO/FILE."""

  text_encoder: Annotated[str | None, tyro.conf.arg(help_behavior_hint="")] = None
  """Folder with the T5 encoder and its tokenizer, if not next to the model."""

  width: Annotated[int | None, OfRecipe] = None
  """Width in pixels."""

  height: Annotated[int | None, OfRecipe] = None
  """Height in pixels."""

  frames: Annotated[int | None, OfRecipe] = None
  """Number of frames."""

  steps: Annotated[int | None, OfRecipe] = None
  """Number of denoising steps."""

  seed: int = 0
  """Random seed. The same seed makes the same video."""

  repeat: int = 2
  """Number of timed repetitions."""


def main(argv: Sequence[str] | None = None, platform: str = "gpu") -> None:
  """Reads the command line, and makes and times a video.

  Args:
    argv: Arguments that replace the process's own.
    platform: Platform to run on; tests without a GPU use a CPU.
  """
  options = cli(Options, argv, program="python -m sample.gpu", about=__doc__)
  console = Console(soft_wrap=True, highlight=False)
  shared.show_notes(console)
  shared.use_compile_cache()
  outputs.check_output(options.output)
  inputs = [("--model", options.model), ("--text-encoder", options.text_encoder)]
  refuse_overwriting([options.output], inputs)
  check_number("--repeat", options.repeat, at_least=1, at_most=1000)
  check_size(options.frames, options.height, options.width)
  check_seed(options.seed)
  from sample import ahead  # --help need not wait for Flax and the models.

  ahead.run(options, platform, console)


if __name__ == "__main__":
  shared.run(main)
