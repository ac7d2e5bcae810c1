"""Makes videos from the options of `sample.generate`, and writes them to files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import ltx_jax
from ltx_jax.cli import console as shared
from ltx_jax.cli.mesh import mesh_of
from ltx_jax.data import contact_sheet, outputs, video
from ltx_jax.pipeline.generate import Way, generate
from ltx_jax.pipeline.hints import hints
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.request import Request
from ltx_jax.platforms import Policy
from sample import settings
from sample.ahead import compile_ahead
from sample.options import Options, conditions_of, outputs_of, sheet_of
from sample.passes import way_of
from sample.prompts import by_window, parts

OTHER_MODEL = "give a released model with --model (docs/weights-and-formats.md)"


def load(options: Options, prompts: Sequence[str]) -> ltx_jax.LTXVideo:
  """Loads the model, with a text encoder that has encoded all prompts already."""
  mesh = mesh_of(options.mesh)
  encoder = ltx_jax.load_text_encoder(
    options.model,
    folder=options.text_encoder,
    dtype=options.dtype,
    mesh=mesh,
    weights=options.text_weights,
    cache=shared.text_cache(options.text_cache),
  )
  # Before the transformer is read, so that both are never in memory together.
  encoder.encode([*prompts, options.negative or ""])
  model = ltx_jax.load(
    options.model,
    dtype=options.dtype,
    text_encoder=encoder,
    mesh=mesh,
    loras=[shared.path_and_strength(text) for text in options.lora],
    weights=options.weights,
  )
  model.check_whole()
  return model


def request_of(
  model: ltx_jax.LTXVideo,
  options: Options,
  read: Callable[[Any], Any] = lambda path: path,
) -> Request:
  """Returns the request of the flags: prompts times seeds, in one batch.

  Args:
    model: The model.
    options: Options of the command line.
    read: Function that reads the media of a path; None leaves that to the library.

  Raises:
    ValueError: If --strict refuses the size, or media cannot be read.
  """
  prompts = [p for p in options.prompts for _ in options.seed]
  several = len(options.seed) > 1
  seeds = tuple(options.seed * len(options.prompts)) if several else options.seed[0]
  return request_for(model, options, prompts, seeds, read)


def request_for(
  model: ltx_jax.LTXVideo,
  options: Options,
  prompts: Sequence[str],
  seeds: int | tuple[int, ...],
  read: Callable[[Any], Any] = lambda path: path,
) -> Request:
  """Returns the request of the flags for given prompts.

  Args:
    model: The model.
    options: Options of the command line.
    prompts: Prompts, one a video.
    seeds: A seed for all of them, or one for each.
    read: Function that reads the media of a path; None leaves that to the library.

  Raises:
    ValueError: If --strict refuses the size, or media cannot be read.
  """
  vae, size = model.config.vae, (options.frames, options.height, options.width)
  note = model.recipe.canvas(vae, *size).note
  if note and options.strict:
    raise ValueError(f"--strict refuses this size: {note}")
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
    seed=seeds,
  )


def make(
  way: Way, request: Request, *, clock: shared.Clock, console: Console
) -> np.ndarray:
  """Makes the videos [b F H W 3] in uint8, with a progress bar, and times the stages.

  On a GPU, the programs of a plain request are compiled first, several at a time.
  """
  model = way.model
  plain = isinstance(way, OnePass) and not request.conditions
  plan = way.plan(request)  # Refuses what does not fit before compilation.
  if plain and model.policy.name == "gpu" and model.policy.mesh is None:
    with clock.stage("text"):
      compile_ahead(way, request, plan)
  with shared.step_bar(console) as on_step:
    return generate(way, request, plan=plan, on_stage=clock.stage, on_step=on_step)


def labels_of(options: Options) -> list[str]:
  """Names the videos by their prompts and, if there are several, by their seeds."""
  if len(options.seed) == 1:
    return list(options.prompts)
  return [f"{p} (seed {seed})" for p in options.prompts for seed in options.seed]


def write(
  videos: np.ndarray,
  labels: list[str],
  options: Options,
  fps: float,
  *,
  console: Console,
) -> list[Path]:
  """Writes every video, and a contact sheet if there is more than one frame."""
  paths = outputs_of(options, len(videos))
  has_sheet = options.sheet and len(videos) * len(videos[0]) > 1
  sheets = [sheet_of(options)] if has_sheet else []
  for path in (*paths, *sheets):
    if path.exists():
      console.print(f"note: {path} existed, and is replaced.", highlight=False)
  for path, clip in zip(paths, videos, strict=True):
    video.write(path, clip, fps, comment=settings.as_json(options))
  for sheet in sheets:
    contact_sheet.contact_sheet(sheet, list(videos), labels, columns=1)
  return [*paths, *sheets]


def run(options: Options, console: Console) -> None:
  """Makes the videos, writes them, and prints a summary."""
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
    outputs.check_output(options.output, request.canvas.asked[0])
    captions = model.recipe.captions
    for note in hints(asked, request.has_media, captions, OTHER_MODEL):
      console.print(f"note: {note}", highlight=False, markup=False)
    # Before the wait: a wrong size is seen at once.
    console.print(summary(options, request, model.policy), highlight=False)
    if not console.is_terminal:  # Which has a bar in place of this.
      console.print("Compiling, then sampling ...", highlight=False)
    videos = make(way, request, clock=clock, console=console)
  paths = write(videos, labels_of(options), options, request.fps, console=console)
  console.print(f"seconds: {clock.summary()}", highlight=False)
  console.print(f"wrote {', '.join(map(str, paths))}", highlight=False)


def summary(options: Options, request: Request, policy: Policy) -> str:
  """Returns a line about what is made, and on what."""
  frames, height, width = request.canvas.asked
  where = policy.name
  if policy.mesh is not None:
    where = f"{policy.mesh.size} {policy.name} devices ({options.mesh})"
  seeds = ", ".join(map(str, options.seed))
  return (
    f"{request.clips} x {width}x{height}, {shared.counted(frames, 'frame')} at "
    f"{request.fps:g} a second, seed {seeds}, {policy.dtype} on {where}"
  )
