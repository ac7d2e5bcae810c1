"""Default sampling settings of a model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.draws import Seed
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.errors import check_fps
from ltx_jax.pipeline.hints import Captions
from ltx_jax.pipeline.media import fit_all
from ltx_jax.pipeline.request import Prompt, Request, check_negative, check_prompt
from ltx_jax.sizes import Canvas
from ltx_jax.typing import NegativeText, Scalar

_LOG = logging.getLogger("ltx_jax")


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The defaults of `generate`: the values for arguments that are None.

  Attributes:
    width: Width in pixels.
    height: Height in pixels.
    frames: Number of frames of the clip.
    fps: Frames per second.
    sampling: Noise levels, guidance, noise for the decoder.
    negative_prompt: What guidance leads away from.
    passes: Sampling in two passes (`multiscale`); None if the model has one pass.
    upscaler: Name of the upscaler between the passes, one of `UPSCALERS`.
    captions: What the captions were that the model was trained on (`hints`); None if it
      is not known.
    cache: Threshold for `Sampling.cache` at which videos were measured to stay close to
      those without a cache (docs/verification.md); None if it was not measured.
  """

  width: int = 768
  height: int = 512
  frames: int = 121
  fps: float = 25.0
  sampling: Sampling = Sampling()
  negative_prompt: str = ""
  passes: TwoPasses | None = None
  upscaler: str | None = None
  captions: Captions | None = None
  cache: float | None = None

  def canvas(
    self, vae: VAEConfig, frames: int | None, height: int | None, width: int | None
  ) -> Canvas:
    """Returns the canvas of a size; None takes the recipe's value.

    Raises:
      ValueError: If `Canvas.of` refuses the size.
    """
    return Canvas.of(
      vae,
      self.frames if frames is None else frames,
      self.height if height is None else height,
      self.width if width is None else width,
    )

  def rate(self, fps: Scalar | None) -> Scalar:
    """Returns the frames per second; None takes the recipe's value.

    Raises:
      ValueError: If `errors.check_fps` refuses the number.
    """
    if fps is None:
      return self.fps
    check_fps(fps)
    return fps

  def request(
    self,
    vae: VAEConfig,
    prompts: Sequence[Prompt],
    *,
    size: tuple[int | None, int | None, int | None] = (None, None, None),
    fps: Scalar | None = None,
    negative_prompt: str | NegativeText | None = None,
    conditions: Sequence[Condition] = (),
    video: Any = None,
    seed: Seed = 0,
  ) -> Request:
    """Returns a request with the recipe's values for None; logs a size that is cropped.

    Args:
      vae: Config of the VAE.
      prompts: One prompt per window; a single one without windows.
      size: Number of frames, height and width.
      fps: Frames per second.
      negative_prompt: What guidance leads away from, or its encoded text.
      conditions: Images and clips to follow; they are read here.
      video: Clip to start from.
      seed: Seed of all videos, or one per video.

    Raises:
      ValueError: If a number is invalid, or media cannot be read.
    """
    for prompt in prompts:
      check_prompt(prompt)
    canvas, rate = self.canvas(vae, *size), self.rate(fps)
    if canvas.note:
      _LOG.warning(canvas.note)
    negative = self.negative_prompt if negative_prompt is None else negative_prompt
    check_negative(negative)
    given = tuple(fit_all(conditions, canvas))
    return Request(tuple(prompts), canvas, rate, seed, given, video, negative)

  @property
  def size(self) -> tuple[int, int, int]:
    """(frames, height, width) that the model was made for."""
    return self.frames, self.height, self.width
