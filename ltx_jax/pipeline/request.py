"""What a video is asked to be, once all defaults are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.draws import Seed
from ltx_jax.sizes import Canvas
from ltx_jax.typing import EncodedText, NegativeText, Scalar

Prompt = str | Sequence[str] | EncodedText
"""A prompt, several, one a video of the batch, or what `encode_text` returned."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """What is to be seen, how large and how long, whatever the way it is made.

  `Recipe.request` makes one from what a user left out.

  Attributes:
    prompts: A prompt for each window of a long video, one after another; the last one
      is for all windows that follow. Of any other video, one.
    canvas: Size that is asked for, and that is generated.
    fps: Frames a second.
    seed: Video i draws from fold_in(key(seed), i); or one seed for each video.
    conditions: Images and clips that are given, their media frames as of `media.fit`.
    start: Clip to start from, as `Condition.media`; None starts from noise.
    negative: What guidance leads away from, or its encoded text; without guidance it is
      not read.
  """

  prompts: tuple[Prompt, ...]
  canvas: Canvas
  fps: Scalar
  seed: Seed = 0
  conditions: tuple[Condition, ...] = ()
  start: Any = None
  negative: str | NegativeText = ""

  @property
  def clips(self) -> int:
    """How many videos are made in one batch."""
    return count(self.prompts[0])

  @property
  def arguments(self) -> dict[str, Any]:
    """The arguments that every `denoise` takes, by name."""
    frames, height, width = self.canvas.used
    size = {"width": width, "height": height, "frames": frames, "fps": self.fps}
    return {**size, "conditions": self.conditions, "seed": self.seed}

  def check(self, windows: int) -> None:
    """Refuses prompts that do not fit the windows.

    Raises:
      ValueError: where there are more prompts than windows, or windows have prompts for
        different numbers of videos.
    """
    check_prompts([count(prompt) for prompt in self.prompts], windows)

  def refuse_start(self, way: str) -> None:
    """Refuses a clip to start from, which only a video in one pass takes.

    Args:
      way: How the video is made instead.

    Raises:
      ValueError: where there is one.
    """
    if self.start is not None:
      raise ValueError(
        f"A clip to start from is given, and the video is made {way}; take one pass "
        "without windows, or leave the clip out."
      )


def is_encoded(prompt: Prompt) -> bool:
  """Whether a prompt is what `encode_text` returned."""
  several = not isinstance(prompt, str)
  return several and len(prompt) == 2 and not isinstance(prompt[0], str)


def count(prompt: Prompt) -> int:
  """Returns how many videos a prompt asks for."""
  if isinstance(prompt, str):
    return 1
  return len(prompt[0]) if is_encoded(prompt) else len(prompt)


def check_prompts(counts: Sequence[int], windows: int) -> None:
  """Refuses what `Request.check` does.

  Args:
    counts: How many videos the prompt of each window asks for.
    windows: Number of windows of the video.

  Raises:
    ValueError: as `Request.check`.
  """
  if not 1 <= len(counts) <= windows:
    raise ValueError(
      f"There are {len(counts)} prompts for {windows} window(s); give one for each, or "
      "fewer, of which the last is for all that follow."
    )
  if len(set(counts)) > 1:
    raise ValueError(
      f"The windows have prompts for {list(counts)} videos; give each window as many."
    )
