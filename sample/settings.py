"""The settings of a video: as a command line, as Python, and inside the file itself.

A video carries the arguments of its command line as JSON in its comment, so anyone who
has the file can make the video again:

    {"program": "ltx-jax", "arguments": ["a red circle", "--seed", "3"]}
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av

from ltx_jax.cli.console import path_and_strength
from ltx_jax.data.decoding import open_container
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import said
from ltx_jax.files import parse_json
from ltx_jax.pipeline.recipes import Recipe
from sample.options import Options, conditions_of
from sample.passes import two_passes
from sample.prompts import by_window

PROGRAM = "ltx-jax"
_PREFIXED = ("second",)
"""Groups of flags whose name stands before each flag."""
_MOST_READ = 100_000


def arguments(options: Options) -> list[str]:
  """Returns the arguments of the command line that gives these options."""
  default = Options(prompts=())
  return [*options.prompts, *_flags(options, default, "")]


def _flags(options: Any, default: Any, prefix: str) -> Iterator[str]:
  for field in dataclasses.fields(options):
    value, usual = getattr(options, field.name), getattr(default, field.name)
    name = field.name.replace("_", "-")
    if field.name == "prompts" or value == usual:
      continue
    if dataclasses.is_dataclass(value):
      yield from _flags(value, usual, f"{name}." if field.name in _PREFIXED else prefix)
    elif isinstance(value, bool):
      yield f"--{prefix}{'' if value else 'no-'}{name}"
    elif field.name in ("condition", "reference"):  # Once for each.
      for item in value:
        yield from (f"--{prefix}{name}", str(item))
    elif isinstance(value, tuple):
      yield from (f"--{prefix}{name}", *map(str, value))
    else:
      yield from (f"--{prefix}{name}", str(value))


def command(options: Options) -> str:
  """Returns the shell command that makes the same video."""
  return shlex.join(["python", "-m", "sample.generate", *arguments(options)])


def as_json(options: Options) -> str:
  """Returns the settings that `data.video.write` puts into a file."""
  return json.dumps({"program": PROGRAM, "arguments": arguments(options)})


def read_arguments(path: str | Path) -> list[str]:
  """Returns the arguments that a video carries.

  Raises:
    ValueError: If the file is not a video, or carries none.
  """
  try:
    with open_container(path) as container:
      # MP4 and WebM write the name in different cases.
      tags = {name.lower(): text for name, text in container.metadata.items()}
      comment = tags.get("comment", "")[:_MOST_READ]
  except av.FFmpegError as error:
    raise ValueError(
      f"{Path(path).name} cannot be read as a video: {said(error)}."
    ) from None
  try:
    found = parse_json(comment)
    if found["program"] == PROGRAM and all(
      isinstance(a, str) for a in found["arguments"]
    ):
      return list(found["arguments"])
  except (ValueError, TypeError, KeyError):
    pass
  raise ValueError(
    f"{Path(path).name} carries no settings; only videos that {PROGRAM} wrote do."
  )


def python(options: Options, recipe: Recipe) -> str:
  """Returns a Python program that makes the same videos.

  Args:
    options: Options of the command line.
    recipe: The recipe of the model.

  Raises:
    ValueError: If the options do not fit one another.
  """
  seeds = options.seed
  several = len(seeds) > 1
  prompts = [prompt for prompt in options.prompts for _ in seeds]
  called = {
    "width": options.width,
    "height": options.height,
    "frames": options.frames,
    "fps": options.fps,
    "negative_prompt": options.negative,
    "conditions": [_condition(item) for item in conditions_of(options)] or None,
    "video": options.video and str(options.video),
    "seed": tuple(seeds * len(options.prompts)) if several else seeds[0],
  }
  model, how = "model", (options.sampling, options.second, options.passes)
  if options.passes.multi_scale:
    passes, upscaler = two_passes(recipe, *how)
    model = f"ltx_jax.MultiScale(model, ltx_jax.load_upscaler({upscaler!r}))"
    both = ", ".join(map(_sampling, passes.both))
    called["passes"] = _Code(f"ltx_jax.TwoPasses({both}, scale={passes.scale})")
  else:
    called["sampling"] = _sampling(options.sampling.apply(recipe.sampling))
  if options.windows.window is not None:
    model = _call("ltx_jax.LongVideo", ["model"], options.windows.given())
    prompts = by_window(prompts)
  return "import ltx_jax\n\nmodel = {}\nvideos = {}\n".format(
    _call("ltx_jax.load", [repr(options.model)], _loading(options)),
    _call(f"{model}.generate", [repr(prompts)], _given(called)),
  )


def _loading(options: Options) -> dict[str, Any]:
  loras = [path_and_strength(text) for text in options.lora]
  named = {"dtype": options.dtype, "text_encoder": options.text_encoder}
  named |= {"loras": loras or None, "weights": options.weights}
  return _given(named | {"text_weights": options.text_weights})


def _given(named: dict[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in named.items() if value is not None}


class _Code(str):
  """Python code that is written as it is."""

  def __repr__(self) -> str:
    return str(self)


def _call(name: str, positional: Sequence[str], named: dict[str, Any]) -> str:
  parts = [*positional, *(f"{key}={value!r}" for key, value in named.items())]
  line = f"{name}({', '.join(parts)})"
  return line if len(line) < 60 else f"{name}(\n  " + ",\n  ".join(parts) + ",\n)"


def _changed(value: Any, leave_out: Sequence[str] = ()) -> dict[str, Any]:
  """Returns the fields of a dataclass that differ from their defaults."""
  return {
    field.name: getattr(value, field.name)
    for field in dataclasses.fields(value)
    if field.name not in leave_out and getattr(value, field.name) != field.default
  }


def _sampling(sampling: Sampling) -> _Code:
  changes = _changed(sampling)
  if sampling.schedule is not None:
    inner = _changed(sampling.schedule)
    changes["schedule"] = _Code(_call("ltx_jax.SchedulerConfig", [], inner))
  parts = [f"{name}={value!r}" for name, value in changes.items()]
  return _Code(f"ltx_jax.Sampling({', '.join(parts)})")


def _condition(item: Condition) -> _Code:
  changes = _changed(item, ["media"])
  parts = [repr(str(item.media)), *(f"{k}={v!r}" for k, v in changes.items())]
  return _Code(f"ltx_jax.{type(item).__name__}({', '.join(parts)})")
