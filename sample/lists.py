"""Makes the videos of a list of prompts in a folder, for `sample.generate --prompts`.

    FOLDER/ID.mp4   a video for each line of the list
    FOLDER.jsonl    its prompt, seed, hash and command line, a line for each video

A video appears under its name when it is whole, and then its line. So a run that was
killed goes on where it was, and what was made with other settings is noticed. On how
many devices a video is made is no setting: a run may go on with another --mesh.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import ltx_jax
from ltx_jax.cli import console as shared
from ltx_jax.data import partial, video
from ltx_jax.data.prompt_list import Prompt, read_prompts
from ltx_jax.files import refuse_overwriting
from ltx_jax.pipeline.generate import Way
from sample import making, settings
from sample.options import Options
from sample.passes import way_of
from sample.prompts import parts

_SUFFIX = ".mp4"
_LONGEST_NAME = 255  # Bytes, of all usual file systems.


def manifest_of(folder: Path) -> Path:
  """Returns the file beside a folder with the settings of its videos."""
  return folder.with_name(f"{folder.name}.jsonl")


def options_of(options: Options, prompt: Prompt) -> Options:
  """Returns the options that make one video of the list alone.

  Raises:
    ValueError: If two start images are given.
  """
  if prompt.image is not None and options.image is not None:
    raise ValueError(
      f"--image and the item {prompt.id} of --prompts both name a first frame; leave "
      "one of them out."
    )
  return dataclasses.replace(
    options,
    prompts=(prompt.prompt,),
    prompt_list=None,
    batch=1,
    mesh=None,
    output=Options(prompts=()).output,
    image=options.image if prompt.image is None else prompt.image,
    seed=options.seed if prompt.seed is None else (prompt.seed,),
  )


def check_names(prompts: Sequence[Prompt]) -> None:
  """Refuses items that no file can be named by.

  Raises:
    ValueError: If there is one.
  """
  for prompt in prompts:
    name = f"{prompt.id}{_SUFFIX}"
    bad = prompt.id.startswith(".") or "/" in name or "\0" in name
    if bad or len(name.encode()) > _LONGEST_NAME:
      raise ValueError(
        f"The item {prompt.id!r} of --prompts is no name of a file; give one without a "
        "slash or a dot at the beginning."
      )


def remaining(
  prompts: Sequence[Prompt], folder: Path, all_options: dict[str, Options]
) -> list[Prompt]:
  """Returns the items whose videos are not made yet.

  Raises:
    ValueError: If a video was made with other settings, or the folder has a video of
      no item.
  """
  rows = {row.get("id"): row for row in partial.read_json_lines(manifest_of(folder))}
  known = {f"{prompt.id}{_SUFFIX}" for prompt in prompts}
  there = {path.name for path in folder.glob("*")} if folder.is_dir() else set()
  stray = sorted(name for name in there - known if not name.startswith("."))
  if stray:
    raise ValueError(
      f"{folder} also holds {', '.join(stray[:10])}, of no item of --prompts; give "
      "another --output."
    )
  todo = []
  for prompt in prompts:
    row = rows.get(prompt.id)
    if row is None or f"{prompt.id}{_SUFFIX}" not in there:
      todo.append(prompt)
    elif row.get("arguments") != settings.arguments(all_options[prompt.id]):
      raise ValueError(
        f"{folder / prompt.id}{_SUFFIX} was made with other settings, as "
        f"{manifest_of(folder)} says; give them again, or another --output."
      )
  return todo


def batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
  """Yields items that are made together: those without images, up to `size` at once."""
  plain = [prompt for prompt in prompts if prompt.image is None]
  for start in range(0, len(plain), size):
    yield plain[start : start + size]
  yield from ([prompt] for prompt in prompts if prompt.image is not None)


def keep(
  folder: Path, prompt: Prompt, clip: Any, fps: float, options: Options
) -> dict[str, Any]:
  """Writes a video and then its line; returns the line."""
  path = folder / f"{prompt.id}{_SUFFIX}"
  video.write(path, clip, fps, comment=settings.as_json(options))
  row = {
    "id": prompt.id,
    "prompt": prompt.prompt,
    "seed": options.seed[0],
    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    "arguments": settings.arguments(options),
  }
  with manifest_of(folder).open("a", encoding="utf-8") as file:
    file.write(f"{json.dumps(row)}\n")
    file.flush()
    os.fsync(file.fileno())
  return row


def way_and_model(
  options: Options, prompts: Sequence[Prompt]
) -> tuple[Way, ltx_jax.LTXVideo]:
  """Loads the model, which has all texts encoded."""
  texts = [prompt.prompt for prompt in prompts]
  if options.windows.window is not None:
    texts = [part for text in texts for part in parts(text)]
  model = making.load(options, texts)
  flags = options.sampling, options.second, options.passes, options.windows
  return way_of(model, *flags), model


def run(options: Options, console: Console) -> None:
  """Makes the videos that are not there yet.

  Raises:
    ValueError: If the list, or what the folder holds, does not fit.
  """
  folder = options.output
  prompts = read_prompts(options.prompt_list)
  check_names(prompts)
  inputs = [("--prompts", options.prompt_list)]
  refuse_overwriting([folder, manifest_of(folder)], inputs)
  each = {prompt.id: options_of(options, prompt) for prompt in prompts}
  todo = remaining(prompts, folder, each)
  said = f"{len(prompts)} videos, {len(prompts) - len(todo)} of them there"
  console.print(said, highlight=False)
  if not todo:
    return
  folder.mkdir(parents=True, exist_ok=True)
  for left in folder.glob(f".*-????????{_SUFFIX}"):  # Of a run that was killed.
    left.unlink()
  with shared.Clock() as clock:
    with clock.stage("load"):
      way, model = way_and_model(options, todo)
    done = len(prompts) - len(todo)
    for batch in batches(todo, options.batch):
      made = [each[prompt.id] for prompt in batch]
      request = making.request_for(
        model,
        made[0],
        [prompt.prompt for prompt in batch],
        tuple(one.seed[0] for one in made),
      )
      clips = making.make(way, request, clock=clock, console=console)
      for prompt, clip, one in zip(batch, clips, made, strict=True):
        keep(folder, prompt, clip, request.fps, one)
      done += len(batch)
      console.print(f"{done} of {len(prompts)}", highlight=False)
  console.print(f"seconds: {clock.summary()}", highlight=False)
  console.print(f"wrote {folder} and {manifest_of(folder)}", highlight=False)
