"""The form of the page, and the command line that asks for the same."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import check_number
from ltx_jax.pipeline.recipes import Recipe
from sample.flags import PassesFlags, SamplingFlags, WindowFlags
from sample.options import Options

OWN = "Model's own"
ASPECTS = {
  OWN: None,
  "Wide 16:9": 16 / 9,
  "Tall 9:16": 9 / 16,
  "Square 1:1": 1.0,
  "Photo 4:3": 4 / 3,
  "Portrait 3:4": 3 / 4,
  "Cinema 21:9": 21 / 9,
}
SIZES = {"Small": 0.35, "Medium": 0.65, "Large": 1.0}
"""Sizes as shares of the area that the model was made for."""

KEYFRAMES = 3
_STEPS = 40
"""Number of denoising steps if the recipe leaves it to `Sampling`."""

_STEP = 32
_LEAST = 2
"""Smallest number of multiples of a side."""


@dataclasses.dataclass(frozen=True)
class Form:
  """The values of the page, in the order of its fields.

  Files are paths of uploads, or None. The defaults make a video with the small model.
  """

  prompt: str = ""
  model: str = "moving-shapes"
  download: bool = False
  aspect: str = OWN
  size: str = "Large"
  seconds: float = 1.0
  negative: str = ""
  steps: float = 0
  guidance: float = 0.0
  seed: float = 0
  image: str | None = None
  image_strength: float = 1.0
  media_1: str | None = None
  frame_1: float = 0
  strength_1: float = 1.0
  media_2: str | None = None
  frame_2: float = 0
  strength_2: float = 1.0
  media_3: str | None = None
  frame_3: float = 0
  strength_3: float = 1.0
  video: str | None = None
  change: float = 0.6
  two_passes: bool = False
  windows: bool = False

  @classmethod
  def of(cls, names: Sequence[str], values: Sequence[Any]) -> Form:
    """Returns the form with a page's values, in which None means the default.

    Raises:
      ValueError: If a value has another type than its field, which only a client that
        is no browser sends.
    """
    given = {n: v for n, v in zip(names, values, strict=True) if v is not None}
    for name, value in given.items():
      default = getattr(cls, name)
      kind = str if default is None else type(default)
      if kind in (int, float) and not isinstance(value, bool):
        check_number(name, value)
      elif not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r}; it must be {kind.__name__}.")
    return cls(**given)

  @property
  def uploads(self) -> dict[str, Path]:
    """Uploaded files by the name that the options use for them.

    Raises:
      ValueError: If two files have the same name.
    """
    files = [self.image, self.video]
    files += [getattr(self, f"media_{i + 1}") for i in range(KEYFRAMES)]
    found: dict[str, Path] = {}
    for file in map(Path, filter(None, files)):
      if found.setdefault(file.name, file) != file:
        raise ValueError(f"Two different files are called {file.name}; rename one.")
    return found


def name_of(path: str) -> str:
  """Returns the name of a file without its folder, which nobody is shown."""
  return Path(path).name


def options_of(form: Form, recipe: Recipe) -> Options:
  """Returns the options that the command line would have.

  Raises:
    ValueError: If there is no prompt, or a number is invalid.
  """
  lines = [line.strip() for line in form.prompt.splitlines() if line.strip()]
  if not lines:
    raise ValueError("There is no prompt; write what the video is to show.")
  height, width = size_of(recipe, form.aspect, form.size)
  return Options(
    prompts=(" | ".join(lines) if form.windows else " ".join(lines),),
    model=form.model,
    image=Path(name_of(form.image)) if form.image else None,
    strength=form.image_strength if form.image else None,
    condition=tuple(keyframes_of(form)),
    video=Path(name_of(form.video)) if form.video else None,
    width=width,
    height=height,
    frames=frames_of(recipe, form.seconds),
    negative=form.negative.strip() or None,
    seed=(int(form.seed),),
    sheet=False,
    passes=PassesFlags(multi_scale=form.two_passes),
    windows=WindowFlags(window=recipe.frames if form.windows else None),
    sampling=sampling_of(form, recipe.sampling),
  )


def sampling_of(form: Form, usual: Sampling) -> SamplingFlags:
  """Returns the sampling flags; video-to-video skips the first steps."""
  steps = int(form.steps) or None
  guidance = (float(form.guidance),) if form.guidance else None
  if not form.video:
    return SamplingFlags(steps=steps, guidance=guidance)
  levels = None if steps else usual.sigmas
  count = len(levels) if levels else steps or usual.steps or _STEPS
  skipped = min(count - 1, round((1 - form.change) * count))
  if levels:  # Skipped levels are removed from an explicit list.
    return SamplingFlags(guidance=guidance, sigmas=levels[skipped:])
  return SamplingFlags(steps=steps, guidance=guidance, skip_initial=skipped)


def keyframes_of(form: Form) -> list[str]:
  """Returns keyframes and clips as --condition takes them."""
  found = []
  for i in range(1, KEYFRAMES + 1):
    media, frame, strength = (
      getattr(form, f"{name}_{i}") for name in ("media", "frame", "strength")
    )
    if media:
      found.append(f"{name_of(media)}@{int(frame)}:{strength:g}")
  return found


def size_of(recipe: Recipe, aspect: str, size: str) -> tuple[int, int]:
  """Returns height and width in multiples of 32, with about the aspect and the area."""
  if aspect not in ASPECTS or size not in SIZES:
    raise ValueError(f"There is no size {size!r} of aspect {aspect!r}; choose others.")
  ratio = ASPECTS[aspect] or recipe.width / recipe.height
  area = recipe.width * recipe.height * SIZES[size]
  exact = math.sqrt(area / ratio) / _STEP

  def far(height: int, width: int) -> float:
    # The aspect of a size is more visible than its area, so it counts twice.
    wrong = 2 * abs(math.log(width / height / ratio))
    return wrong + abs(math.log(height * width * _STEP**2 / area))

  heights = {max(_LEAST, math.floor(exact)), max(_LEAST, math.ceil(exact))}
  widths = {max(_LEAST, f(exact * ratio)) for f in (math.floor, math.ceil)}
  height, width = min(itertools.product(heights, widths), key=lambda hw: far(*hw))
  return height * _STEP, width * _STEP


def frames_of(recipe: Recipe, seconds: float) -> int:
  """Returns the nearest 8k + 1 frames; 0 seconds is an image."""
  return max(0, round((seconds * recipe.fps - 1) / 8)) * 8 + 1


def from_options(options: Options, form: Form, recipe: Recipe) -> Form:
  """Returns a form with a video's settings, as closely as the page has them.

  The settings contain no files, so those of the form stay unchanged.
  """
  fps = recipe.fps if options.fps is None else options.fps
  sampling = options.sampling
  frames = recipe.frames if options.frames is None else options.frames
  width, height = options.width or recipe.width, options.height or recipe.height

  def far(choice: tuple[str, str]) -> float:
    high, wide = size_of(recipe, *choice)
    return abs(math.log(high / height)) + abs(math.log(wide / width))

  aspect, size = min(((a, s) for a in ASPECTS for s in SIZES), key=far)
  return dataclasses.replace(
    form,
    prompt="\n".join(options.prompts).replace(" | ", "\n"),
    negative=options.negative or "",
    aspect=aspect,
    size=size,
    seconds=round(frames / fps, 2),
    steps=sampling.steps or 0,
    guidance=sampling.guidance[0] if sampling.guidance else 0.0,
    seed=options.seed[0],
    two_passes=options.passes.multi_scale,
    windows=options.windows.window is not None,
  )
