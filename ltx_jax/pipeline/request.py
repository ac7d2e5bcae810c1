"""A request for videos, with all defaults filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.draws import Seed
from ltx_jax.errors import shown
from ltx_jax.sizes import Canvas
from ltx_jax.typing import EncodedText, NegativeText, Scalar

Prompt = str | Sequence[str] | EncodedText
"""One prompt, several (one per video of the batch), or what `encode_text` returned."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """What to generate, however it is made.

  `Recipe.request` makes one and fills in what the user left out.

  Attributes:
    prompts: One prompt per window of a long video, in order; the last one also covers
      all later windows. Any other video has one prompt.
    canvas: The requested size, and the size that is generated.
    fps: Frames per second.
    seed: Video i draws from fold_in(key(seed), i); or one seed per video.
    conditions: Images and clips to follow; their media are frames, as `media.fit`
      returns them.
    start: Clip to start from, as `Condition.media`; None starts from noise.
    negative: What guidance leads away from, or its encoded text; unused without
      guidance.
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
    """Number of videos in the batch."""
    return count(self.prompts[0])

  @property
  def has_media(self) -> bool:
    """Whether images or clips are given besides the text."""
    return bool(self.conditions) or self.start is not None

  @property
  def arguments(self) -> dict[str, Any]:
    """The arguments that every `denoise` takes, by name."""
    frames, height, width = self.canvas.used
    size = {"width": width, "height": height, "frames": frames, "fps": self.fps}
    return {**size, "conditions": self.conditions, "seed": self.seed}

  def check(self, windows: int) -> None:
    """Refuses prompts that do not fit the windows.

    Raises:
      ValueError: If there are more prompts than windows, or the prompts of two windows
        ask for different numbers of videos.
    """
    check_prompts([count(prompt) for prompt in self.prompts], windows)

  def refuse_start(self, way: str) -> None:
    """Refuses a clip to start from, which only one pass without windows supports.

    Args:
      way: How the video is made, for the message.

    Raises:
      ValueError: If the request has such a clip.
    """
    if self.start is not None:
      raise ValueError(
        f"A clip to start from is given, but the video is made {way}; use one pass "
        "without windows, or leave the clip out."
      )


def is_encoded(prompt: Prompt) -> bool:
  """Whether a prompt is what `encode_text` returned."""
  several = not isinstance(prompt, str)
  return several and len(prompt) == 2 and not isinstance(prompt[0], str)


def check_encoded(text: Any) -> None:
  """Refuses what `encode_text` did not return.

  Raises:
    ValueError: with what was given.
  """
  two = isinstance(text, list | tuple) and len(text) == 2
  if not two or any(isinstance(each, str) or np.ndim(each) < 1 for each in text):
    raise ValueError(f"The text is {shown(text)}; give what `encode_text` returned.")


def check_callback(on_step: Any) -> None:
  """Refuses what cannot be called after a step.

  Raises:
    ValueError: with what was given.
  """
  if on_step is not None and not callable(on_step):
    raise ValueError(
      f"on_step is {shown(on_step)}; give a function of (index, steps, latents), or "
      "None."
    )


def check_negative(negative: Any) -> None:
  """Refuses what is no negative prompt.

  Raises:
    ValueError: with what was given.
  """
  encoded = isinstance(negative, list | tuple) and not any(
    isinstance(each, str) for each in negative
  )
  if not (isinstance(negative, str) or (encoded and negative)):
    raise ValueError(
      f"negative_prompt is {shown(negative)}; give one text, or its encoded text."
    )


def check_prompt(prompt: Any) -> None:
  """Refuses what is neither text nor encoded text.

  Raises:
    ValueError: with what was given.
  """
  several = isinstance(prompt, list | tuple) and bool(prompt)
  texts = several and all(isinstance(each, str) for each in prompt)
  encoded = several and len(prompt) == 2 and all(np.ndim(each) > 1 for each in prompt)
  if not (isinstance(prompt, str) or texts or encoded):
    raise ValueError(
      f"The prompt is {shown(prompt)}; give a text, a list of texts, or what "
      "`encode_text` returned."
    )


def count(prompt: Prompt) -> int:
  """Returns how many videos a prompt asks for."""
  if isinstance(prompt, str):
    return 1
  return len(prompt[0]) if is_encoded(prompt) else len(prompt)


def check_prompts(counts: Sequence[int], windows: int) -> None:
  """Refuses numbers of prompts that do not fit the windows, as `Request.check` does.

  Args:
    counts: Number of videos that the prompt of each window asks for.
    windows: Number of windows of the video.

  Raises:
    ValueError: If `Request.check` would refuse them.
  """
  if not 1 <= len(counts) <= windows:
    raise ValueError(
      f"There are {len(counts)} prompts for {windows} window(s); give one for each, or "
      "fewer: the last one also covers all later windows."
    )
  if len(set(counts)) > 1:
    raise ValueError(
      f"The windows have prompts for {list(counts)} videos; give each window as many."
    )
