"""Long videos, made one window after another.

A window is a clip as long as the network makes well. The first window is made like any
clip. Every other window starts `overlap` = 8k + 1 frames before the end of the video so
far, is given those frames, and makes the frames after them:

  window 0   0 ......................... n
  window 1                  n - overlap ......................... n + window - overlap

The VAE is causal: a clip's first latent frame holds one frame, and every other one
holds 8. If a window starts at frame s, a multiple of 8, its latent frame j > 0 holds
the frames

  s + 8j - 7, ..., s + 8j,

which are those of the whole video's latent frame s / 8 + j. So the window is given the
video's latents unchanged for j = 1, ..., k. Only z_0 differs, because it holds frame s
alone. To get it, the previous window is decoded and that one frame is encoded, both
without noise. The result joins the video by

  video[s / 8 + j] <- lerp(video[s / 8 + j], z_j, w_j),   w_j = min(j / (k + 1), 1),

which drops z_0, so that no frame appears twice. At strength 1, z_1, ..., z_k do not
change. Below 1 they are made again, from the noise level 1 - strength on, and the video
blends from the old latents to the new ones.

Colours may drift from window to window. AdaIN moves the mean and the deviation of each
window's latents towards those of the first window, as far as `adain` says.

The last window ends where the video ends, so it may be given more frames than the
others. All windows have the same length and share one compiled program. The whole video
is decoded once, at the end.

A window's frames are at 0, 1 / fps, ... seconds, wherever it starts. The draws of
window i have the names of a clip's with "window/i/" in front and use keys of their own;
window 0 draws exactly as a clip.

Source: the extending and looping samplers of ComfyUI-LTXVideo. There z_0 is a latent
that holds 8 frames, although the network takes it for one frame.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import HARD, Condition, EncodedCondition
from ltx_jax.diffusion.draws import Draws, Seed, clip_keys
from ltx_jax.diffusion.latents import adain
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import check_kind, is_number
from ltx_jax.pipeline import hints
from ltx_jax.pipeline.conditions import check_start, extra_tokens
from ltx_jax.pipeline.generate import OnStep, generate
from ltx_jax.pipeline.media import fit_all
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.pipeline.request import Prompt, Request, check_prompts
from ltx_jax.pipeline.window_plan import Window, split, told_in
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
  Whole,
)

_match = jax.jit(adain)


@dataclasses.dataclass(frozen=True, eq=False)
class LongVideo:
  """A model with the windows in which it makes videos of any length.

  Attributes:
    model: Model with a VAE.
    window: Frames per window, 8k + 1: as many as the network makes well.
    overlap: Frames that a window shares with those before it, 8k + 1.
    strength: How firmly the shared frames are kept, above 0; 1 leaves them unchanged.
    adain: How far the mean and the deviation of a window's latents move towards those
      of the first window, from 0 (not at all) to 1.

  Raises:
    ValueError: If a value is out of range or the model has no VAE.
  """

  model: LTXVideo
  window: int
  overlap: int = 25
  strength: float = 1.0
  adain: float = 0.0

  def __post_init__(self):
    check_kind("The model", self.model, LTXVideo, "what ltx_jax.load returned")
    if self.model.config.vae is None:
      raise ValueError("Windows need a VAE; load a checkpoint that has one.")
    t = self.model.config.vae.temporal_factor
    for name in ("window", "overlap"):
      frames = getattr(self, name)
      if not isinstance(frames, Whole) or frames < 1 or (frames - 1) % t:
        raise ValueError(
          f"{name} is {frames}; it must be {t}k + 1 frames, such as {3 * t + 1} or "
          f"{6 * t + 1}."
        )
    if self.overlap >= self.window:
      raise ValueError(
        f"overlap is {self.overlap} and window is {self.window}; a window must be "
        "longer than its overlap with the one before."
      )
    if not (is_number(self.strength) and 0 < self.strength <= 1):
      raise ValueError(
        f"strength is {self.strength}; it must be above 0 and at most 1."
      )
    if not (is_number(self.adain) and 0 <= self.adain <= 1):
      raise ValueError(f"adain is {self.adain}; it must lie in [0, 1].")

  def denoise(
    self,
    texts: Sequence[EncodedText],
    *,
    width: int,
    height: int,
    frames: int,
    fps: Scalar,
    sampling: Sampling,
    conditions: Sequence[Condition] = (),
    negative: NegativeText | None = None,
    seed: Seed = 0,
    draws: Draws | None = None,
    on_step: OnStep | None = None,
  ) -> Latents:
    """Samples normalised latents [b f h w c] of the whole video.

    Other arguments are those of `LTXVideo.denoise`.

    Args:
      texts: What `encode_text` returned for each window; the last one also covers all
        later windows.
      frames: Number of frames of the whole video.
      sampling: How each window is sampled.
      conditions: Images and clips to follow; their frames count from the start of the
        whole video.
      on_step: Callback after each step, with the steps of all windows counted and the
        latents of the current window.

    Raises:
      ValueError: If there are more texts than windows, or `LTXVideo.denoise` refuses an
        argument.
    """
    model, vae = self.model, self.model.config.vae
    canvas = Canvas.of(vae, frames, height, width)
    conditions = fit_all(conditions, canvas)
    _check_starts(conditions, vae)
    windows, length = self.windows(canvas)
    check_prompts([len(text) for text, _ in texts], len(windows))
    keys = clip_keys(seed, len(texts[0][0]))

    def make(i: int, given: EncodedCondition | None) -> Latents:
      told = told_in(conditions, windows[i], length)
      if given is None and not told:
        given = _nothing(vae, canvas)
      return model.denoise(
        texts[min(i, len(texts) - 1)],
        width=width,
        height=height,
        frames=length,
        fps=fps,
        sampling=sampling,
        conditions=told if given is None else [given, *told],
        negative=negative,
        seed=_own_keys(keys, i),
        draws=_own_draws(draws, i),
        on_step=_counted(on_step, i, len(windows)),
      )

    return self._join(windows, make, canvas, sampling)

  def _join(
    self,
    windows: Sequence[Window],
    make: Callable[[int, EncodedCondition | None], Latents],
    canvas: Canvas,
    sampling: Sampling,
  ) -> Latents:
    """Makes all windows, each from the end of the video so far, and joins them."""
    t = canvas.factors[0]
    first = held = make(0, None)  # `held`: the latest window as it is in the video.
    rest = (canvas.used[0] - 1) // t + 1 - first.shape[1]
    video = jnp.pad(first, [(0, 0), (0, rest), (0, 0), (0, 0), (0, 0)])
    for i, (before, window) in enumerate(
      zip(windows[:-1], windows[1:], strict=True), 1
    ):
      given = self._end_of(held, window.start - before.start, sampling)
      z = make(i, EncodedCondition(given, 0, self.strength))
      if self.strength > HARD:  # Unchanged; while denoising these latents carry noise.
        z = jnp.concatenate([given, z[:, given.shape[1] :]], axis=1)
      if self.adain:
        z = _match(z, first, np.float32(self.adain))
      weights = np.minimum(np.arange(z.shape[1]) / given.shape[1], 1)
      start = np.int32(window.start // t)
      video, held = _append(video, z, given[:, :1], start, np.float32(weights))
    return video

  def _end_of(
    self, held: Latents, frame: int, sampling: Sampling
  ) -> Float[jax.Array, "b _ h w c"]:
    """Returns a window's latents from a frame on, as a clip that starts there."""
    t = self.model.config.vae.temporal_factor
    video = self.model.decode(held, 0.0, 0.0, tiling=sampling.tiling)
    still = self.model.encode(video[:, frame : frame + 1])
    return jnp.concatenate([still, held[:, frame // t + 1 :]], axis=1)

  def generate(
    self,
    prompts: str | Sequence[Prompt],
    *,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    fps: Scalar | None = None,
    steps: int | None = None,
    guidance: Scalar | None = None,
    negative_prompt: str | NegativeText | None = None,
    conditions: Sequence[Condition] = (),
    seed: Seed = 0,
    sampling: Sampling | None = None,
    on_step: OnStep | None = None,
  ) -> UInt8[np.ndarray, "b F H W 3"]:
    """Turns one prompt per window into a long video; None takes the recipe's value.

    Other arguments are those of `LTXVideo.generate`.

    Args:
      prompts: Prompts of the windows in order, each as `LTXVideo.generate` takes it;
        the last one also covers all later windows.
      conditions: Images and clips to follow; their frames count from the start of the
        whole video.

    Raises:
      ValueError: If an argument is invalid.
    """
    recipe = self.model.recipe
    sampling = (sampling or recipe.sampling).override(steps, guidance)
    request = recipe.request(
      self.model.config.vae,
      [prompts] if isinstance(prompts, str) else prompts,
      size=(frames, height, width),
      fps=fps,
      negative_prompt=negative_prompt,
      conditions=conditions,
      seed=seed,
    )
    hints.log(request, recipe.captions)
    return generate(InWindows(self, sampling), request, on_step=on_step)

  def check_memory(
    self,
    clips: int,
    canvas: Canvas,
    sampling: Sampling,
    conditions: Sequence[Condition] = (),
  ) -> Plan:
    """Plans a window and the decoding of the whole video; refuses what does not fit.

    The arguments are those of `LTXVideo.check_memory`.

    Raises:
      ValueError: If it does not fit; the message has the plan and the largest size that
        fits.
    """
    model, vae = self.model, self.model.config.vae
    windows, length = self.windows(canvas)
    part = Canvas.of(vae, length, *canvas.used[1:])
    told = max(
      (told_in(conditions, window, length) for window in windows),
      key=lambda items: extra_tokens(items, part, vae),
    )
    window = model.check_memory(clips, part, sampling, told)
    free, tiling = memory.free_beside(model.params), sampling.tiling
    whole = memory.check_decode(vae, model.policy, clips, canvas, free, tiling=tiling)
    return dataclasses.replace(whole, denoise=window.denoise)

  def windows(self, canvas: Canvas) -> tuple[list[Window], int]:
    """Returns the windows of a video, and the number of frames per window."""
    frames = canvas.used[0]
    return split(frames, self.window, self.overlap), min(self.window, frames)


@dataclasses.dataclass(frozen=True, eq=False)
class InWindows:
  """The way of `LongVideo.generate`."""

  long: LongVideo
  sampling: Sampling

  @property
  def model(self) -> LTXVideo:
    """The model of all windows."""
    return self.long.model

  @property
  def samplings(self) -> tuple[Sampling]:
    """The sampling of every window."""
    return (self.sampling,)

  def plan(self, request: Request) -> Plan:
    """Plans the memory of a window and the decoding of the whole video."""
    request.check(len(self.long.windows(request.canvas)[0]))
    request.refuse_start("in windows")
    of = request.clips, request.canvas, self.sampling, request.conditions
    return self.long.check_memory(*of)

  def denoise(
    self,
    texts: Sequence[EncodedText],
    request: Request,
    *,
    negative: NegativeText | None,
    start: None,
    on_step: OnStep | None,
  ) -> Latents:
    """Samples one window after another, and joins their latents."""
    return self.long.denoise(
      texts,
      sampling=self.sampling,
      negative=negative,
      on_step=on_step,
      **request.arguments,
    )


def _check_starts(conditions: Sequence[Condition], vae: VAEConfig) -> None:
  for item in conditions:
    check_start(item.frame, len(item.media), vae.temporal_factor)


def _nothing(vae: VAEConfig, canvas: Canvas) -> EncodedCondition:
  """A condition of strength 0: with it, the first window runs the others' program."""
  h, w = vae.latent_shape(*canvas.used)[1:]
  latents = np.zeros((1, 1, h, w, vae.latent_channels), np.float32)
  return EncodedCondition(latents, start=0, strength=0.0)


def _own_keys(keys: Key, window: int) -> Key:
  return _of_window(keys, window) if window else keys


@jax.jit
def _of_window(keys: Key, window: Int[AnyArray, ""] | int) -> Key:
  name = zlib.crc32(b"window")
  own = lambda key: jax.random.fold_in(jax.random.fold_in(key, name), window)  # noqa: E731
  return jax.vmap(own)(keys)


def _own_draws(draws: Draws | None, window: int) -> Draws | None:
  if draws is None or not window:
    return draws
  return lambda name, shape: draws(f"window/{window}/{name}", shape)


def _counted(on_step: OnStep | None, window: int, windows: int) -> OnStep | None:
  if on_step is None:
    return None
  return lambda i, steps, x: on_step(window * steps + i, windows * steps, x)


@jax.jit
def _append(
  video: Float[AnyArray, "b g h w c"],
  z: Latents,
  still: Float[AnyArray, "b 1 h w c"],
  start: Int[AnyArray, ""],
  weights: Float[AnyArray, "f"],
) -> tuple[Float[jax.Array, "b g h w c"], Latents]:
  """Returns the video with a window joined to it, and that window as it is there."""
  before = jax.lax.dynamic_slice_in_dim(video, start, z.shape[1], axis=1)
  # In this form, a weight of 0 or equal operands change no bit.
  joined = before + weights[:, None, None, None] * (z - before)
  video = jax.lax.dynamic_update_slice_in_dim(video, joined, start, axis=1)
  return video, jnp.concatenate([still, joined[:, 1:]], axis=1)
