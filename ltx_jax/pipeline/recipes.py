"""How a model is sampled where nothing else is asked for."""

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
from ltx_jax.pipeline.media import fit_all
from ltx_jax.pipeline.request import Prompt, Request
from ltx_jax.sizes import Canvas
from ltx_jax.typing import NegativeText, Scalar

_LOG = logging.getLogger("ltx_jax")


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What `generate` takes where an argument is None.

  Attributes:
    width: Width in pixels.
    height: Height in pixels.
    frames: Number of frames of the clip.
    fps: Frames a second.
    sampling: Noise levels, guidance, noise for the decoder.
    negative_prompt: What guidance leads away from.
    passes: How it is sampled in two passes (`multiscale`); None where it is not.
    upscaler: Name of the upscaler between them, one of `UPSCALERS`.
    cache: Threshold for `Sampling.cache` at which videos were measured to stay close to
      those without (docs/verification.md); None where nothing was measured.
  """

  width: int = 768
  height: int = 512
  frames: int = 121
  fps: float = 25.0
  sampling: Sampling = Sampling()
  negative_prompt: str = ""
  passes: TwoPasses | None = None
  upscaler: str | None = None
  cache: float | None = None

  def canvas(
    self, vae: VAEConfig, frames: int | None, height: int | None, width: int | None
  ) -> Canvas:
    """Returns the canvas of a size, in which None is the recipe's.

    Raises:
      ValueError: as `Canvas.of`.
    """
    return Canvas.of(
      vae,
      self.frames if frames is None else frames,
      self.height if height is None else height,
      self.width if width is None else width,
    )

  def rate(self, fps: Scalar | None) -> Scalar:
    """Returns frames a second, in which None is the recipe's.

    Raises:
      ValueError: as `errors.check_fps`.
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
    """Returns a request in which None is the recipe's; notes a size that is cropped.

    Args:
      vae: Config of the VAE.
      prompts: A prompt for each window; one where there are no windows.
      size: Number of frames, height and width.
      fps: Frames a second.
      negative_prompt: What guidance leads away from, or its encoded text.
      conditions: Images and clips that are given; they are read here.
      video: Clip to start from.
      seed: Seed of all videos, or one for each.

    Raises:
      ValueError: where a number does not fit, or media cannot be read.
    """
    canvas, rate = self.canvas(vae, *size), self.rate(fps)
    if canvas.note:
      _LOG.warning(canvas.note)
    negative = self.negative_prompt if negative_prompt is None else negative_prompt
    given = tuple(fit_all(conditions, canvas))
    return Request(tuple(prompts), canvas, rate, seed, given, video, negative)

  @property
  def size(self) -> tuple[int, int, int]:
    """(frames, height, width): what the model was made for."""
    return self.frames, self.height, self.width
