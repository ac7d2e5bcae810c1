"""Turns sentences into videos.

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --output circle.mp4

The suffix of the output decides what is written: .mp4, .gif, .webp, or .png, which for
one frame (--frames 1) is a picture. Several prompts, or several seeds, are made in one
batch. With --image, that picture is the first frame. Pictures and clips may be given at
any frame, with --condition once for each; a clip at frame 0 is continued, and one at
the end is led up to:

    python -m sample.generate "a large red circle moving right on a navy background" \\
      --condition first.png --condition last.png@24:0.8

With --video and --skip-initial, a clip is made over: its motion stays, the more so the
more is skipped. With --multi-scale, a small video is made first, and a large one from
it; --second.steps and the like are those of the second pass.

With --window, a video of any length is made window after window, each with a prompt of
its own where there are several:

    python -m sample.generate --frames 57 --window 25 --overlap 9 \\
      "a large red circle moving right on a navy background \\
      | a large red circle moving down on a navy background"

With --reference, a clip guides the video from beside it, with an in-context LoRA.

Guidance may change with the noise level. Here it is off in the first step, strong down
to level 0.9 and moderate from there on, and other blocks are perturbed:

    python -m sample.generate "a small cyan square moving down on a gray background" \\
      --guidance-sigmas 1 0.9 0.5 --guidance 1 6 3 --stg 0 2 1 --rescale 0.7 \\
      --stg-blocks none 2 2,5

Without --model it is the small model that comes with this code; it draws moving shapes
and knows no other words. With a released checkpoint, give the file and the folder of
the T5-XXL text encoder:

    python -m sample.generate "A boat on a lake at dawn" --output boat.mp4 \\
      --model ltxv-2b-0.9.6-dev-04-25.safetensors --text-encoder t5-v1_1-xxl

Several devices work on one video with --mesh (docs/devices.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

import ltx_jax
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import contact_sheet, video
from ltx_jax.diffusion.draws import Seed
from ltx_jax.errors import memory_in_words
from ltx_jax.pipeline.media import fit
from ltx_jax.sizes import Canvas
from sample.flags import mesh_of
from sample.gpu import compile_ahead
from sample.hints import hint
from sample.options import Options, check, check_outputs, outputs_of, sheet_of
from sample.passes import Plan, plan_of
from sample.prompts import all_prompts, joined, parts


def canvas_of(model: ltx_jax.LTXVideo, options: Options) -> Canvas:
  """The size asked for and the one generated."""
  asked = options.frames, options.height, options.width
  canvas = model.recipe.canvas(model.config.vae, *asked)
  if canvas.note and options.strict:
    raise ValueError(f"--strict refuses this size: {canvas.note}")
  return canvas


def conditions_of(options: Options, canvas: Canvas) -> list[ltx_jax.Condition]:
  """What --image, --condition and --reference give, in the size that is generated."""
  strength = 1.0 if options.strength is None else options.strength
  given = [] if options.image is None else [(options.image, 0, strength)]
  given += [shared.path_frame_strength(text) for text in options.condition]
  conditions = [ltx_jax.Condition(*each, options.crf) for each in given]
  for text in options.reference:
    path, strength = shared.path_and_strength(text)
    smaller = 1 if options.reference_downscale is None else options.reference_downscale
    conditions.append(ltx_jax.Reference(path, 0, strength, downscale=smaller))
  return [fit(item, canvas) for item in conditions]


def start_of(
  model: ltx_jax.LTXVideo, options: Options, canvas: Canvas, *, clips: int, seed: Seed
) -> dict[str, jax.Array]:
  """The latents of --video, by the name of the argument that they are, or nothing."""
  if options.video is None:
    return {}
  return {"latents": model.encode_start(options.video, canvas, clips=clips, seed=seed)}


def generate(
  model: ltx_jax.LTXVideo,
  plan: Plan,
  options: Options,
  canvas: Canvas,
  *,
  clock: shared.Clock,
  console: Console,
) -> tuple[np.ndarray, list[str]]:
  """Returns uint8 videos and a label for each: prompts times seeds, in one batch."""
  several = len(options.seed) > 1
  prompts = [p for p in options.prompts for _ in options.seed]
  seeds = tuple(options.seed * len(options.prompts)) if several else options.seed[0]
  conditions = conditions_of(options, canvas)
  plan.check_memory(len(prompts), canvas, conditions=conditions)

  with clock.stage("text"), memory_in_words(f"encoding {len(prompts)} prompt(s)"):
    single = not (options.passes.multi_scale or options.windows.window)
    if model.policy.name == "gpu" and single and not (conditions or options.mesh):
      compile_ahead(model, canvas, plan.samplings[0], clips=len(prompts))
    text, negative = plan.encode_text(prompts), None
    if plan.guided:
      given, default = options.negative, model.recipe.negative_prompt
      negative = model.encode_text([default if given is None else given])
    jax.block_until_ready((text, negative))
  frames, height, width = canvas.used
  what = f"denoising {canvas.describe(len(prompts))}"
  with (
    clock.stage("denoise"),
    memory_in_words(what),
    shared.step_bar(console) as on_step,
  ):
    latents = plan.denoise(
      text,
      **start_of(model, options, canvas, clips=len(prompts), seed=seeds),
      width=width,
      height=height,
      frames=frames,
      fps=model.recipe.fps if options.fps is None else options.fps,
      conditions=conditions,
      negative=negative,
      seed=seeds,
      on_step=on_step,
    )
    jax.block_until_ready(latents)
  with clock.stage("decode"):
    videos = model.to_pixels(latents, plan.samplings[-1], canvas=canvas, seed=seeds)
  labels = [
    f"{prompt} (seed {seed})" if several else prompt
    for prompt, seed in zip(prompts, options.seed * len(options.prompts), strict=True)
  ]
  return videos, labels


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
    video.write(path, clip, fps)
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
  options = dataclasses.replace(options, prompts=longer(prompts, options))
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
      model = ltx_jax.load(
        options.model,
        dtype=options.dtype,
        text_encoder=options.text_encoder,
        mesh=mesh_of(options.mesh),
        loras=[shared.path_and_strength(text) for text in options.lora],
        weights=options.weights,
        text_weights=options.text_weights,
        # Before the transformer is there, so that both are never in memory at once.
        prompts=[*asked, options.negative or ""],
        text_cache=shared.text_cache(options.text_cache),
      )
      flags = options.sampling, options.second, options.passes, options.windows
      how = plan_of(model, *flags)
    canvas = canvas_of(model, options)
    if canvas.note:
      console.print(f"note: {canvas.note}", highlight=False)
    note = hint(asked, model.config.name)
    if note:
      console.print(f"note: {note}", highlight=False, markup=False)
    videos, labels = generate(model, how, options, canvas, clock=clock, console=console)

  fps = model.recipe.fps if options.fps is None else options.fps
  paths = write(videos, labels, options, fps, console=console)
  frames, height, width = canvas.asked
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
