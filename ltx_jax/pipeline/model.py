"""LTXVideo: a model that turns prompts and conditions into a video.

encode_text   prompts -> text                 T5, run once
denoise       text, conditions -> latents     one compiled program per step
decode        latents -> video                the VAE's decoder, at the end
generate      prompts -> uint8 video          all three
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax import programs
from ltx_jax.checkpoints.quantization import widened_bytes
from ltx_jax.config import VAEConfig
from ltx_jax.diffusion import sampler, schedules
from ltx_jax.diffusion.conditioning import (
  Condition,
  Conditions,
  EncodedCondition,
  Keyframe,
  condition,
)
from ltx_jax.diffusion.draws import Draws, Seed, clip_keys, draw
from ltx_jax.diffusion.guidance import needs_unconditional, stack_texts
from ltx_jax.diffusion.latents import coordinates, unpatchify
from ltx_jax.diffusion.sampler import Context, begin_from, sample
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.diffusion.schedules import Levels
from ltx_jax.errors import check_fps, check_kind, memory_in_words
from ltx_jax.pipeline import hints
from ltx_jax.pipeline.conditions import Place, encode_conditions, extra_tokens
from ltx_jax.pipeline.generate import OnStep, generate
from ltx_jax.pipeline.networks import Networks
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.pipeline.request import Prompt, Request, check_callback, check_encoded
from ltx_jax.planning import memory
from ltx_jax.planning.memory import Plan
from ltx_jax.sizes import Canvas
from ltx_jax.typing import (
  AnyArray,
  EncodedText,
  Key,
  Latents,
  NegativeText,
  Scalar,
)


@dataclasses.dataclass(frozen=True, eq=False)
class LTXVideo(Networks):
  """A model: what `ltx_jax.load` returns.

  Other attributes are those of `Networks`.

  Attributes:
    recipe: Defaults of `generate`; for a release, `load` sets the release's own.
  """

  recipe: Recipe = Recipe()

  def denoise(
    self,
    text: EncodedText,
    *,
    width: int,
    height: int,
    frames: int,
    fps: Scalar,
    sampling: Sampling,
    conditions: Conditions = (),
    latents: Float[AnyArray, "_ f h w c"] | None = None,
    negative: NegativeText | None = None,
    seed: Seed = 0,
    draws: Draws | None = None,
    on_step: OnStep | None = None,
  ) -> Latents:
    """Samples normalised latents [b f h w c], float32: one clip per row of `text`.

    Args:
      text: What `encode_text` returned.
      width: Width in pixels; a size that the VAE cannot make is rounded up.
      height: Height in pixels.
      frames: Number of frames.
      fps: Frames per second.
      sampling: Noise levels, guidance and noise.
      conditions: Images and clips to follow, or their latents.
      latents: Normalised latents to start from; requires a first noise level below 1.
      negative: Text that guidance leads away from; None encodes "".
      seed: Clip i draws from fold_in(key(seed), i); or one seed per clip.
      draws: Replaces random draws by name.
      on_step: Callback after each step is dispatched, with (index, steps, latents).

    Raises:
      ValueError: If the model lacks a network, or an argument is invalid.
    """
    config = self._config("transformer")
    check_fps(fps)
    check_encoded(text)
    check_callback(on_step)
    vae = self.config.vae or VAEConfig()  # Without a VAE: the releases' factors.
    canvas = Canvas.of(vae, frames, height, width)
    grid = vae.latent_shape(*canvas.used)
    clips, levels = len(text[0]), self._levels(sampling, grid)
    if needs_unconditional(sampling.guidance):
      text = stack_texts(negative or self._unconditional(), text)
    with memory_in_words(f"denoising {canvas.describe(clips)}"):
      params, policy = self._parts["transformer"], self.policy
      state = programs.text_state(config, policy)(params, *text)
      keys, place = clip_keys(seed, clips), self._places(fps)
      noise = draw(keys, "initial", (clips, *grid, config.in_channels), None, draws)
      begin = begin_from(latents, noise, sampling, levels)
      given = self._given(conditions, canvas, keys, draws, place)
      conditioned = condition(begin, place(grid)[None], *given)
      start = programs.placed(conditioned, policy)
      context = Context(params, state, programs.positions(config, policy)(start.coords))
      step = programs.step_of_run(config, policy, sampling.cache, len(levels))
      how = {"keys": keys, "layers": config.num_layers, "draws": draws}
      how["on_step"] = on_step and _on_grid(on_step, grid)
      return unpatchify(sample(step, context, start, sampling, levels, **how), grid)

  def generate(
    self,
    prompt: Prompt,
    *,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    fps: Scalar | None = None,
    steps: int | None = None,
    guidance: Scalar | None = None,
    negative_prompt: str | NegativeText | None = None,
    conditions: Sequence[Condition] = (),
    video: Any = None,
    seed: Seed = 0,
    sampling: Sampling | None = None,
    on_step: OnStep | None = None,
  ) -> UInt8[np.ndarray, "b F H W 3"]:
    """Turns prompts into videos; where an argument is None, the recipe decides.

    Args:
      prompt: One prompt, several, or what `encode_text` returned.
      width: Width in pixels; multiples of 32 are the most efficient.
      height: Height in pixels.
      frames: Number of frames of each video; 8k + 1 is the most efficient.
      fps: Frames per second.
      steps: Denoising steps.
      guidance: Scale of classifier-free guidance; 1 turns it off.
      negative_prompt: What guidance leads away from, or its encoded text.
      conditions: Images and clips to follow.
      video: Clip for video-to-video, as `Condition.media`, at least as long as the
        result. Requires `sampling.skip_initial`; the more steps are skipped, the closer
        the result stays to the clip.
      seed: Video i draws from fold_in(key(seed), i); or one seed per video.
      sampling: All other options; `steps` and `guidance` override its own.
      on_step: Callback after each step is dispatched, with (index, steps, latents).

    Raises:
      ValueError: If an argument is invalid.
    """
    self.check_whole()
    if sampling is not None:
      check_kind("sampling", sampling, Sampling, "an ltx_jax.Sampling")
    sampling = (sampling or self.recipe.sampling).override(steps, guidance)
    request = self.recipe.request(
      self._config("vae"),
      [prompt],
      size=(frames, height, width),
      fps=fps,
      negative_prompt=negative_prompt,
      conditions=conditions,
      video=video,
      seed=seed,
    )
    hints.log(request, self.recipe.captions)
    return generate(OnePass(self, sampling), request, on_step=on_step)

  def check_memory(
    self, clips: int, canvas: Canvas, sampling: Sampling, conditions: Conditions = ()
  ) -> Plan:
    """Plans the memory, and refuses a run that does not fit next to the weights.

    The media of conditions must be frames, as `media.fit` returns them.

    Raises:
      ValueError: If the run does not fit; the message has the plan and the largest size
        that fits. Also if the latents cannot be decoded in the tiles asked for.
    """
    free = memory.free_beside(self.params)
    if free is not None:
      free -= widened_bytes(self.params, self.policy.dtype)
    extra = extra_tokens(conditions, canvas, self._config("vae"))
    plan = self.config, self.policy, clips, canvas, sampling.branches, free
    made_for = self.recipe.size
    return memory.check(*plan, tiling=sampling.tiling, extra=extra, made_for=made_for)

  def _given(
    self,
    conditions: Conditions,
    canvas: Canvas,
    keys: Key,
    draws: Draws | None,
    place: Place,
  ) -> tuple[Sequence[EncodedCondition], Sequence[Keyframe]]:
    """Returns the conditions as latents; only they need the VAE."""
    if not conditions:
      return (), ()
    return encode_conditions(conditions, canvas, self._encoder(keys, draws), place)

  def _levels(self, sampling: Sampling, grid: tuple[int, int, int]) -> Levels:
    """Returns the noise levels of a run; a distilled model accepts only its own."""
    levels = sampling.levels(self.config.scheduler, int(np.prod(grid)))
    schedules.check_trained(levels, self.config.allowed_inference_steps)
    return levels

  def _places(self, fps: Scalar) -> Place:
    """Returns the function that gives the positions of a grid's tokens."""
    vae = self.config.vae or VAEConfig()
    return functools.partial(
      coordinates,
      fps=fps,
      temporal_factor=vae.temporal_factor,
      spatial_factor=vae.spatial_factor,
      causal=self.config.transformer.causal_temporal_positioning,
    )

  def _unconditional(self) -> EncodedText:
    if self.config.text_encoder is None:
      raise ValueError(
        'Guidance needs the encoding of "", but this model has no text encoder; pass '
        "negative=, or a guidance of 1."
      )
    return self.encode_text([""])


def _on_grid(on_step: OnStep, grid: tuple[int, int, int]) -> sampler.OnStep:
  return lambda i, steps, tokens: on_step(i, steps, unpatchify(tokens, grid))


@dataclasses.dataclass(frozen=True, eq=False)
class OnePass:
  """The way of `LTXVideo.generate`: all noise levels at the full size."""

  model: LTXVideo
  sampling: Sampling

  @property
  def samplings(self) -> tuple[Sampling]:
    """The only sampling."""
    return (self.sampling,)

  def plan(self, request: Request) -> Plan:
    """Plans the memory and the tiles of the clip."""
    request.check(windows=1)
    of = request.clips, request.canvas, self.sampling, request.conditions
    return self.model.check_memory(*of)

  def denoise(
    self,
    texts: Sequence[EncodedText],
    request: Request,
    *,
    negative: NegativeText | None,
    start: Latents | None,
    on_step: OnStep | None,
  ) -> Latents:
    """Samples the latents, from noise or from those of a clip."""
    return self.model.denoise(
      texts[0],
      sampling=self.sampling,
      latents=start,
      negative=negative,
      on_step=on_step,
      **request.arguments,
    )
