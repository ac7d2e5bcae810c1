"""Sampling on an NVIDIA GPU, from a checkpoint to a timed video.

    python -m sample.gpu "A boat on a lake at dawn" --model ltxv-2b-0.9.6-dev

What makes it fast is the same in `sample.generate`, which calls `compile_ahead` too:

1. Weights are cast once, while they are read: bfloat16, or float16 on a GPU that has no
   bfloat16 (`platforms`).
2. Attention is cuDNN's fused kernel, so that the logits are never in memory.
3. A denoising step is one program that takes over the buffer of its latents. It is
   dispatched ahead of the GPU, which never waits for Python.
4. All programs are compiled from shapes, several at a time, while the text is encoded.
5. What was compiled is kept on disk: the next start only reads it.

The text encoder is freed before the first step. The video is made several times, and
each time is printed: the first has what is left to set up in it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from rich.console import Console

import ltx_jax
from ltx_jax.analysis import stages
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import outputs, video
from ltx_jax.diffusion.guidance import needs_unconditional
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import check_number, check_seed
from ltx_jax.files import refuse_overwriting
from ltx_jax.pipeline.generate import generate
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.request import Request
from ltx_jax.planning import decoding, memory
from ltx_jax.sizes import Canvas, check_size
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


def compile_ahead(
  model: ltx_jax.LTXVideo, canvas: Canvas, sampling: Sampling, *, clips: int = 1
) -> list[str]:
  """Compiles what a run without conditions will call, several programs at a time.

  JAX finds them when they are called, and so does the next process where there is a
  compile cache. A run that calls others compiles these when it comes to them.

  Returns:
    Names of the stages.
  """
  guided = needs_unconditional(sampling.guidance)
  run = stages.SamplingRun(
    config=model.config,
    policy=model.policy,
    device=None,
    canvas=canvas,
    branches=2 if guided else 1,
    clips=clips,
    params=model.params,
  )
  made = [stages.keys(run)]
  if not (sampling.stochastic or sampling.cache):  # Those have other programs.
    levels = sampling.levels(model.config.scheduler, int(np.prod(run.grid)))
    settings = sampling.settings(levels)
    variants = {(each.unconditional, each.perturbed): each for each in settings}
    made += [stages.denoise(run, setting) for setting in variants.values()]
  free = memory.free_beside(model.params)
  asked = {"tiling": sampling.tiling, "free": free}
  if decoding.choose(run.config.vae, run.policy, clips, run.grid, **asked) is None:
    made.append(stages.decode(run))
  with concurrent.futures.ThreadPoolExecutor() as pool:
    list(pool.map(lambda stage: stage.compile(), made))
  return [stage.name for stage in made]


def check_platform(platform: str) -> None:
  """Refuses to go on where JAX has no such device.

  Raises:
    ValueError: where it has not.
  """
  if jax.default_backend() != platform:
    raise ValueError(
      f"JAX finds no GPU here, but {jax.default_backend()}; install "
      '"jax[cuda12]" and NVIDIA\'s driver, or take python -m sample.generate.'
    )


def prepare(options: Options, clock: shared.Clock) -> tuple[OnePass, Request]:
  """Loads the model, and encodes the text while all else is compiled."""
  with clock.stage("load"):
    encoder = ltx_jax.load_text_encoder(options.model, folder=options.text_encoder)
    model = ltx_jax.load(options.model, text_encoder=encoder)
  sampling = model.recipe.sampling.override(options.steps, None)
  size = options.frames, options.height, options.width
  request = model.recipe.request(
    model.config.vae, [options.prompt], size=size, seed=options.seed
  )
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    ahead = pool.submit(compile_ahead, model, request.canvas, sampling)
    with clock.stage("text"):
      encoder.encode([options.prompt, request.negative])  # `generate` finds them.
    ahead.result()
  outputs.check_output(options.output, request.canvas.asked[0])
  return OnePass(model, sampling), request


def main(argv: Sequence[str] | None = None, platform: str = "gpu") -> None:
  """Reads the command line, and makes and times a video.

  Args:
    argv: Arguments in place of the process's own.
    platform: What it runs on; where no GPU is, a CPU stands in for one.
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
  check_platform(platform)

  with shared.Clock() as clock:
    way, request = prepare(options, clock)
  console.print(f"{way.model.policy.dtype}, {clock.summary()}")

  for i in range(options.repeat):
    with shared.Clock() as clock:
      clip = generate(way, request, on_stage=clock.stage)
    console.print(f"video {i + 1}: {clock.summary()}")
  peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
  if peak:
    console.print(f"peak memory: {peak / 1e9:.2f} GB")
  video.write(options.output, clip[0], request.fps)
  console.print(f"wrote {options.output}")


if __name__ == "__main__":
  shared.run(main)
