"""How a model is sampled where nothing else is asked for."""

from __future__ import annotations

import dataclasses

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.errors import check_fps
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Scalar


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

  @property
  def size(self) -> tuple[int, int, int]:
    """(frames, height, width): what the model was made for."""
    return self.frames, self.height, self.width
