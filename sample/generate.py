"""Makes videos from text, images and clips.

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --output circle.mp4

The suffix of --output sets the format: .mp4, .webm, .mov, .gif, .webp, or .png and .jpg
for images (--frames 1). Without a suffix it is a folder of numbered PNGs. Several
prompts or seeds run in one batch.

Image to video: --image is the first frame. --condition puts an image or a clip at any
frame, and may be repeated. A clip at frame 0 is continued; the video leads up to a clip
at its end:

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --condition first.png --condition last.png@24:0.8

Video-to-video: --video with --skip-initial; the more steps are skipped, the closer the
result stays to the clip. --reference gives an in-context LoRA the clip that it follows.

Two passes: --multi-scale makes a small video first, then a large one from it. Flags
that begin with --second. apply to the second pass.

Long videos: --window makes the video in windows, each with its own part of the prompt:

    python -m sample.generate --frames 57 --window 25 --overlap 9 \\
      "a large red circle moving right on a navy background \\
      | a large red circle moving down on a navy background"

Guidance may change with the noise level. Here it is off in the first step, strong down
to level 0.9 and moderate after that, and each level perturbs other blocks:

    python -m sample.generate "a small cyan square moving down on a gray background" \\
      --guidance-sigmas 1 0.9 0.5 --guidance 1 6 3 --stg 0 2 1 --rescale 0.7 \\
      --stg-blocks none 2 2,5

The default model is the small one that ships with this code. It draws moving shapes and
knows no other words. For a released checkpoint, give its file and the folder of the
T5-XXL text encoder, or a preset's name, which downloads both:

    python -m sample.generate "A boat on a lake at dawn" --output boat.mp4 \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl

Several devices work on one video with --mesh (docs/devices.md). More examples are in
docs/tasks.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import ltx_jax
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import contact_sheet, video
from ltx_jax.pipeline.generate import Way, generate
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.request import Request
from sample import settings
from sample.enhance import EnhanceFlags
from sample.flags import mesh_of
from sample.gpu import compile_ahead
from sample.hints import hint
from sample.options import (
  Options,
  check,
  check_outputs,
  conditions_of,
  outputs_of,
  sheet_of,
)
from sample.passes import way_of
from sample.prompts import all_prompts, by_window, joined, parts


def load(options: Options, prompts: Sequence[str]) -> ltx_jax.LTXVideo:
  """Loads the model, with the text encoder beside it that has encoded all prompts."""
  mesh = mesh_of(options.mesh)
  encoder = ltx_jax.load_text_encoder(
    options.model,
    folder=options.text_encoder,
    dtype=options.dtype,
    mesh=mesh,
    weights=options.text_weights,
    cache=shared.text_cache(options.text_cache),
  )
  # Before the transformer is there, so that both are never in memory at once.
  encoder.encode([*prompts, options.negative or ""])
  return ltx_jax.load(
    options.model,
    dtype=options.dtype,
    text_encoder=encoder,
    mesh=mesh,
    loras=[shared.path_and_strength(text) for text in options.lora],
    weights=options.weights,
  )


def request_of(
  model: ltx_jax.LTXVideo,
  options: Options,
  read: Callable[[Any], Any] = lambda path: path,
) -> Request:
  """What the flags ask of a model: prompts times seeds, in one batch.

  Args:
    model: The model.
    options: What the flags say.
    read: Reads the media of a path, where that is not left to the library.

  Raises:
    ValueError: where --strict refuses the size, or media cannot be read.
  """
  vae, size = model.config.vae, (options.frames, options.height, options.width)
  note = model.recipe.canvas(vae, *size).note
  if note and options.strict:
    raise ValueError(f"--strict refuses this size: {note}")
  prompts = [p for p in options.prompts for _ in options.seed]
  several = len(options.seed) > 1
  return model.recipe.request(
    vae,
    [prompts] if options.windows.window is None else by_window(prompts),
    size=size,
    fps=options.fps,
    negative_prompt=options.negative,
    conditions=[
      dataclasses.replace(item, media=read(item.media))
      for item in conditions_of(options)
    ],
    video=options.video and read(options.video),
    seed=tuple(options.seed * len(options.prompts)) if several else options.seed[0],
  )


def labels_of(options: Options) -> list[str]:
  """Names the videos: by their prompts, and where there are several by their seeds."""
  if len(options.seed) == 1:
    return list(options.prompts)
  return [f"{p} (seed {seed})" for p in options.prompts for seed in options.seed]


def make(
  way: Way, request: Request, *, clock: shared.Clock, console: Console
) -> np.ndarray:
  """Makes the videos [b F H W 3] in uint8, with a progress bar, and times the stages.

  On a GPU, the programs of a plain request are compiled first, several at a time.
  """
  model = way.model
  plain = isinstance(way, OnePass) and not request.conditions
  if plain and model.policy.name == "gpu" and model.policy.mesh is None:
    way.plan(request)  # What does not fit is refused before it is compiled.
    with clock.stage("text"):
      compile_ahead(model, request.canvas, way.sampling, clips=request.clips)
  with shared.step_bar(console) as on_step:
    return generate(way, request, on_stage=clock.stage, on_step=on_step)


def write(
  videos: np.ndarray,
  labels: list[str],
  options: Options,
  fps: float,
  *,
  console: Console,
) -> list[Path]:
  """Writes every video, and a contact sheet where there is more than one picture."""
  paths = outputs_of(options, len(videos))
  for path, clip in zip(paths, videos, strict=True):
    video.write(path, clip, fps, comment=settings.as_json(options))
  if options.sheet and len(videos) * len(videos[0]) > 1:
    sheet = sheet_of(options)
    if sheet.exists():
      console.print(f"note: {sheet} was there, and is replaced.", highlight=False)
    contact_sheet.contact_sheet(sheet, list(videos), labels, columns=1)
    paths.append(sheet)
  return paths


def longer(prompts: Sequence[str], options: Options) -> tuple[str, ...]:
  """Returns what --enhance makes of prompts: with --window, of each of their parts."""
  if options.windows.window is None or options.enhance.enhance is None:
    return options.enhance.apply(prompts)
  return tuple(joined(options.enhance.apply(parts(prompt))) for prompt in prompts)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, generates, writes, and says what was done."""
  options = cli(Options, argv, program="python -m sample.generate", about=__doc__)
  check(options)
  prompts = all_prompts(options.prompts, options.prompt_file)
  check_outputs(options, len(prompts) * len(options.seed))
  # From here on the options say what is made, wherever the prompts came from.
  options = dataclasses.replace(
    options,
    prompts=longer(prompts, options),
    prompt_file=None,
    enhance=EnhanceFlags(),
  )
  console = Console(soft_wrap=True)
  shared.show_notes(console)
  shared.use_compile_cache()
  for prompt in dict.fromkeys(options.prompts):
    if prompt not in prompts:
      console.print(f"enhanced: {prompt}", highlight=False, markup=False)

  asked = options.prompts
  if options.windows.window is not None:
    asked = [part for prompt in asked for part in parts(prompt)]
  elif any("|" in prompt for prompt in asked):
    console.print("note: | parts a prompt with --window only; here it is read as text.")

  with shared.Clock() as clock:
    with clock.stage("load"):
      model = load(options, asked)
      flags = options.sampling, options.second, options.passes, options.windows
      way = way_of(model, *flags)
    request = request_of(model, options)
    video.check_output(options.output, request.canvas.asked[0])
    note = hint(asked, model.config.name)
    if note:
      console.print(f"note: {note}", highlight=False, markup=False)
    videos = make(way, request, clock=clock, console=console)

  fps = request.fps
  paths = write(videos, labels_of(options), options, fps, console=console)
  frames, height, width = request.canvas.asked
  policy = model.policy
  where = policy.name
  if policy.mesh is not None:
    where = f"{policy.mesh.size} {policy.name} devices ({options.mesh})"
  console.print(
    f"{len(videos)} x {width}x{height}, {shared.counted(frames, 'frame')} at {fps:g} a "
    "second, seed "
    f"{', '.join(map(str, options.seed))}, {policy.dtype} on {where}",
    highlight=False,
  )
  console.print(f"seconds: {clock.summary()}", highlight=False)
  console.print(f"wrote {', '.join(map(str, paths))}", highlight=False)


if __name__ == "__main__":
  shared.run(main)
