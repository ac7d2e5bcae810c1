"""Two passes: a small video first, then a larger one that starts from it.

  z  = denoise(noise)                               `TwoPasses.scale` of the size
  u  = AdaIN(normalize(upsample(unnormalize(z))), z)    twice as wide and high
  z' = denoise((1 - sigma) u + sigma noise)         from the second pass's first level

The first pass decides the layout and the motion, with few tokens. Only the last steps,
which draw the detail, work on the many tokens of a large frame. AdaIN gives each
channel the mean and the deviation that it had before it was enlarged
(`diffusion.latents`).

The second pass is larger than the requested size, by a factor of 2 scale = 4/3, rounded
to whole latent positions; its frames are scaled down in the end. Both passes receive
the conditions, scaled to their own size.

The draws of the second pass have the same names as those of the first, with "second/"
in front, and use keys of their own. Source: the original's multi-scale pipeline.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax import programs
from ltx_jax.config import LatentUpsamplerConfig, VAEConfig
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.draws import Draws, Seed, clip_keys
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.errors import check_kind, memory_in_words
from ltx_jax.pipeline import hints
from ltx_jax.pipeline.generate import OnStep, generate
from ltx_jax.pipeline.media import fit_all, load_frames, stretch
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.pipeline.request import Prompt, Request
from ltx_jax.planning.memory import Plan
from ltx_jax.sizes import Canvas
from ltx_jax.typing import (
  AnyArray,
  EncodedText,
  Key,
  Latents,
  NegativeText,
  Params,
  Scalar,
)

_of_the_second = jax.vmap(lambda key: jax.random.fold_in(key, zlib.crc32(b"second")))


@dataclasses.dataclass(frozen=True, eq=False)
class Upscaler:
  """A latent upsampler: what `ltx_jax.load_upscaler` returns."""

  config: LatentUpsamplerConfig
  params: Params = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class MultiScale:
  """A model and the upscaler between its two passes.

  Raises:
    ValueError: If the model has no VAE, the upscaler has other latent channels, or it
      adds frames.
  """

  model: LTXVideo
  upscaler: Upscaler

  def __post_init__(self):
    check_kind("The model", self.model, LTXVideo, "what ltx_jax.load returned")
    upscaler = "what ltx_jax.load_upscaler returned"
    check_kind("The upscaler", self.upscaler, Upscaler, upscaler)
    vae, config = self.model.config.vae, self.upscaler.config
    if vae is None:
      raise ValueError("Two passes need a VAE; load a checkpoint that has one.")
    if config.temporal_upsample or not config.spatial_upsample:
      raise ValueError(
        "The upscaler adds frames; two passes need one that enlarges only width and "
        "height, such as ltxv-spatial-upscaler-0.9.8."
      )
    if config.in_channels != vae.latent_channels:
      raise ValueError(
        f"The upscaler takes {config.in_channels} channels, but the VAE's latents have "
        f"{vae.latent_channels}; use the upscaler of the same release."
      )

  def denoise(
    self,
    text: EncodedText,
    *,
    width: int,
    height: int,
    frames: int,
    fps: Scalar,
    passes: TwoPasses,
    conditions: Sequence[Condition] = (),
    negative: NegativeText | None = None,
    seed: Seed = 0,
    draws: Draws | None = None,
    on_step: OnStep | None = None,
  ) -> Latents:
    """Samples normalised latents [b f h w c] of the second pass's size.

    Other arguments are those of `LTXVideo.denoise`.

    Args:
      passes: How each pass is sampled.
      on_step: Callback after each step; each pass counts its steps from 0.

    Raises:
      ValueError: If the size is too small for a first pass, or `LTXVideo.denoise`
        refuses an argument.
    """
    model, config = self.model, self.model.config.vae
    canvas = Canvas.of(config, frames, height, width)
    conditions = fit_all(conditions, canvas)
    first, second = sizes(config, height, width, passes.scale)
    keys = clip_keys(seed, len(text[0]))

    def one_pass(
      size: tuple[int, int],
      sampling: Sampling,
      keys: Key,
      start: Latents | None,
      draws: Draws | None,
    ) -> Latents:
      return model.denoise(
        text,
        width=size[1],
        height=size[0],
        frames=frames,
        fps=fps,
        sampling=sampling,
        conditions=[_scaled(item, frames, size) for item in conditions],
        latents=start,
        negative=negative,
        seed=keys,
        draws=draws,
        on_step=on_step,
      )

    small = one_pass(first, passes.first, keys, None, draws)
    large = self.enlarge(small)
    keys = _of_the_second(keys)
    named = draws and (lambda name, shape: draws(f"second/{name}", shape))
    return one_pass(second, passes.second, keys, large, named)

  def enlarge(self, small: Latents) -> Float[AnyArray, "b f _ _ c"]:
    """Doubles width and height; keeps the mean and deviation of each channel."""
    policy = self.model.policy.in_dtype("float32")  # As the releases run it.
    with memory_in_words(f"enlarging latents of shape {small.shape}"):
      program = programs.enlarge(self.upscaler.config, policy)
      return program(self.upscaler.params, self.model.params["vae"], small)

  def generate(
    self,
    prompt: Prompt,
    *,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    fps: Scalar | None = None,
    passes: TwoPasses | None = None,
    negative_prompt: str | NegativeText | None = None,
    conditions: Sequence[Condition] = (),
    seed: Seed = 0,
    on_step: OnStep | None = None,
  ) -> UInt8[np.ndarray, "b F H W 3"]:
    """Turns prompts into videos in two passes; None takes the recipe's value.

    Other arguments are those of `LTXVideo.generate`.

    Args:
      passes: Sampling of each pass, and the scale of the first one.

    Raises:
      ValueError: If an argument is invalid.
    """
    model, recipe = self.model, self.model.recipe
    passes = passes or recipe.passes
    if passes is None:
      raise ValueError(
        "This model's recipe has one pass; give passes=TwoPasses(first, second), where "
        "the second has sigmas below 1 or skip_initial."
      )
    request = recipe.request(
      model.config.vae,
      [prompt],
      size=(frames, height, width),
      fps=fps,
      negative_prompt=negative_prompt,
      conditions=conditions,
      seed=seed,
    )
    hints.log(request, recipe.captions)
    return generate(InTwoPasses(self, passes), request, on_step=on_step)

  def check_memory(
    self,
    clips: int,
    canvas: Canvas,
    passes: TwoPasses,
    conditions: Sequence[Condition] = (),
  ) -> Plan:
    """Plans both passes, and refuses a run that does not fit next to the weights.

    Returns:
      The plan of the second pass, whose latents are decoded.

    Raises:
      ValueError: If a pass does not fit; the message has the plan and the largest size
        that fits.
    """
    frames, height, width = canvas.used
    config = self.model.config.vae
    first, second = sizes(config, height, width, passes.scale)

    def check(size: tuple[int, int], sampling: Sampling) -> Plan:
      made = Canvas.of(config, frames, *size)
      return self.model.check_memory(clips, made, sampling, conditions)

    check(first, passes.first)
    return check(second, passes.second)


@dataclasses.dataclass(frozen=True, eq=False)
class InTwoPasses:
  """The way of `MultiScale.generate`."""

  scales: MultiScale
  passes: TwoPasses

  @property
  def model(self) -> LTXVideo:
    """The model of both passes."""
    return self.scales.model

  @property
  def samplings(self) -> tuple[Sampling, Sampling]:
    """The samplings of the passes."""
    return self.passes.both

  def plan(self, request: Request) -> Plan:
    """Plans both passes; the latents of the second are decoded."""
    request.check(windows=1)
    request.refuse_start("in two passes")
    of = request.clips, request.canvas, self.passes, request.conditions
    return self.scales.check_memory(*of)

  def denoise(
    self,
    texts: Sequence[EncodedText],
    request: Request,
    *,
    negative: NegativeText | None,
    start: None,
    on_step: OnStep | None,
  ) -> Latents:
    """Samples the latents of the second pass, which starts from the first."""
    return self.scales.denoise(
      texts[0],
      passes=self.passes,
      negative=negative,
      on_step=on_step,
      **request.arguments,
    )


def sizes(
  config: VAEConfig, height: int, width: int, scale: float
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Returns (height, width) in pixels of the first and of the second pass.

  Raises:
    ValueError: If a side of the first pass would be 0.
  """
  s = config.spatial_factor
  first = tuple(int(side * scale) // s * s for side in (height, width))
  if not all(first):
    raise ValueError(
      f"{width}x{height} is too small for two passes: the first is {scale:.3g} of it, "
      f"in multiples of {s}; ask for at least {int(s / scale) + 1} pixels a side."
    )
  return first, tuple(2 * side for side in first)


def _scaled(item: Condition, frames: int, size: tuple[int, int]) -> Condition:
  """Stretches a condition to the size of a pass; the frames are scaled back later."""
  media = load_frames(item.media, frames=frames, crf=item.crf)
  return dataclasses.replace(item, media=np.asarray(stretch(media, *size)), crf=None)
