"""LTXVideo: configs and parameters together, and what can be done with them.

encode_text   prompts -> text                 T5, once and apart from the rest
denoise       text, conditions -> latents     one compiled program a step
decode        latents -> video                the VAE's decoder, the last step
generate      prompts -> uint8 video          all three
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from ltx_jax import programs
from ltx_jax.checkpoints.quantization import widened_bytes
from ltx_jax.config import ModelConfig, VAEConfig
from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.conditioning import Condition, Conditions, condition
from ltx_jax.diffusion.draws import Draws, Seed, clip_keys, draw
from ltx_jax.diffusion.guidance import needs_unconditional, stack_texts
from ltx_jax.diffusion.latents import coordinates, unpatchify
from ltx_jax.diffusion.sampler import Context, begin_from, sample
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import check_fps, memory_in_words
from ltx_jax.pipeline.conditions import (
  Encoder,
  encode_conditions,
  encode_start,
  extra_tokens,
)
from ltx_jax.pipeline.media import fit_all, stretch
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.planning import decoding, memory
from ltx_jax.platforms import Policy
from ltx_jax.programs.stacks import take_apart
from ltx_jax.sizes import Canvas
from ltx_jax.text.on_demand import TextOnDemand, Texts, encode_each, missing
from ltx_jax.text.prompts import Tokenizer, encode_prompts, truncation_note
from ltx_jax.typing import (
  AnyArray,
  Coords,
  EncodedText,
  Key,
  Latents,
  NegativeText,
  Params,
  Scalar,
  Sigma,
  Text,
  TextMask,
  Tiling,
  Tokens,
  Video,
)

OnStep = Callable[[int, int, Latents], Any]

_LOG = logging.getLogger("ltx_jax")


@dataclasses.dataclass(frozen=True, eq=False)
class LTXVideo:
  """A model: what `ltx_jax.load` returns.

  Attributes:
    config: Configs of all networks; None for those that are not there.
    params: {"transformer", "vae", "text_encoder"}: nested dicts of arrays.
    policy: Compute dtype and kernels.
    tokenizer: Belongs to the text encoder.
    text_on_demand: The text encoder where it is not among the parameters.
    recipe: What `generate` takes where an argument is None; `load` knows a release's.
  """

  config: ModelConfig
  params: Params = dataclasses.field(repr=False)
  policy: Policy
  tokenizer: Tokenizer | None = dataclasses.field(default=None, repr=False)
  text_on_demand: TextOnDemand | None = dataclasses.field(default=None, repr=False)
  recipe: Recipe = Recipe()
  texts: Texts = dataclasses.field(default_factory=dict, init=False, repr=False)

  @functools.cached_property
  def _parts(self) -> Params:
    """What programs of transformer and VAE are called with."""
    networks = self.params.keys() - {"text_encoder"}
    return {name: take_apart(self.params[name], self.policy) for name in networks}

  def encode(self, video: Video, key: Key | None = None) -> Latents:
    """Turns videos into normalised latents [b f h w c] in float32.

    Args:
      video: In [-1, 1]; 8k + 1 frames, width and height multiples of 32.
      key: Samples the posterior; None takes its mode.

    Raises:
      ValueError: where the video holds no floating-point numbers, its size cannot be
        encoded, or the model has no VAE.
    """
    vae = self._config("vae")
    if not jnp.issubdtype(video.dtype, jnp.floating):
      raise ValueError(
        f"The video is {video.dtype}; give floats in [-1, 1]: video / 127.5 - 1."
      )
    with memory_in_words(f"encoding a video of shape {video.shape}"):
      noise = None
      if key is not None:
        grid = vae.latent_shape(*video.shape[1:4])
        noise = jax.random.normal(key, (len(video), *grid, vae.latent_channels))
      program = programs.encode(vae, self.policy)
      return program(self._parts["vae"], jnp.asarray(video, jnp.float32), noise)

  def decode(
    self,
    latents: Latents,
    sigma: Scalar = 0.05,
    noise_scale: Scalar = 0.025,
    key: Key | None = None,
    draws: Draws | None = None,
    *,
    tone_map: Scalar = 0.0,
    tiling: Tiling = "auto",
  ) -> Video:
    """Turns normalised latents into videos in [-1, 1], float32.

    Args:
      latents: What `encode` or `denoise` returned.
      sigma: Noise level that the decoder is told.
      noise_scale: Share of noise that is mixed into the latents.
      key: Draws that noise, and what the decoder injects; None draws none.
      draws: Replaces the draw "decode".
      tone_map: How far large latents are compressed, in [0, 1] (`latents.compress`).
      tiling: Whether in tiles, as of `Sampling`.

    A VAE without timestep conditioning ignores `sigma`, `noise_scale` and the noise.

    Raises:
      ValueError: where the model has no VAE, or it cannot be tiled so.
    """
    options = {"tone_map": tone_map, "tiling": tiling}
    with memory_in_words(f"decoding latents of shape {latents.shape}"):
      noise = inject = None
      if key is not None:
        noise_key, inject = jax.random.split(key)
        noise = jax.random.normal(noise_key, latents.shape)
      if draws is not None:
        noise = draw(None, "decode", latents.shape, draws=draws)
      return self._decode(latents, sigma, noise, noise_scale, inject, **options)

  def encode_text(self, prompts: Sequence[str]) -> EncodedText:
    """Turns prompts into text [b m e] and its mask [b m], each on its own and kept.

    Raises:
      ValueError: where there is no prompt, or the model has no text encoder.
    """
    config = self._config("text_encoder")
    if isinstance(prompts, str):
      raise ValueError(f"encode_text takes a list of prompts, not {prompts!r} alone.")
    n = config.max_text_tokens
    if note := truncation_note(self.tokenizer, prompts, n):
      _LOG.warning(note)
    new = missing(self.texts, prompts)
    with memory_in_words(f"encoding {len(prompts)} prompt(s) of {n} tokens"):
      if self.text_on_demand is not None:
        self.texts.update(self.text_on_demand.encode(new))
      else:
        how = config, self.policy, self.tokenizer
        self.texts.update(encode_each(self.params["text_encoder"], *how, new))
      texts, masks = zip(*(self.texts[prompt] for prompt in prompts), strict=True)
      return jnp.concatenate(texts), jnp.concatenate(masks)

  def velocity(
    self,
    tokens: Tokens,
    coords: Coords,
    text: Text,
    mask: TextMask,
    sigma: Sigma,
  ) -> Tokens:
    """Returns the transformer's velocity v = noise - x0, float32.

    Args:
      tokens: Noisy normalised latents as tokens.
      coords: Their positions (seconds, y pixels, x pixels).
      text: T5's embeddings.
      mask: True or 1 for real text tokens.
      sigma: Noise levels in [0, 1], of clips or of tokens.

    Raises:
      ValueError: where the model has no transformer.
    """
    program = programs.velocity(self._config("transformer"), self.policy)
    return program(self._parts["transformer"], tokens, coords, text, mask, sigma)

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
    """Samples normalised latents [b f h w c], float32, one clip a row of `text`.

    Args:
      text: What `encode_text` returned.
      width: In pixels; sizes between those that the VAE makes are rounded up.
      height: In pixels.
      frames: Of the clip.
      fps: Frames a second.
      sampling: How: noise levels, guidance, noise.
      conditions: Images and clips that are given, or their latents.
      latents: Of clips to start from, normalised, of the size asked for; noised to the
        first level, which must lie below 1 (`Sampling.skip_initial`, `sigmas`).
      negative: Text that guidance leads away from, of one row or b; None: that of "".
      seed: Clip i draws from fold_in(key(seed), i); or one seed for each clip.
      draws: Replaces random draws by name.
      on_step: Called after each step is dispatched with (index, steps, latents).

    Raises:
      ValueError: where the model lacks a network, or an argument does not fit.
    """
    config = self._config("transformer")
    check_fps(fps)
    vae = self.config.vae or VAEConfig()  # Of a transformer alone: the released sizes.
    canvas = Canvas.of(vae, frames, height, width)
    grid = vae.latent_shape(*canvas.used)
    clips, tokens = len(text[0]), int(np.prod(grid))
    levels = sampling.levels(self.config.scheduler, tokens)
    schedules.check_trained(levels, self.config.allowed_inference_steps)
    if needs_unconditional(sampling.guidance):
      text = stack_texts(negative or self._unconditional(), text)
    with memory_in_words(f"denoising {canvas.describe(clips)}"):
      params = self._parts["transformer"]
      state = programs.text_state(config, self.policy)(params, *text)
      keys = clip_keys(seed, clips)
      noise = draw(keys, "initial", (clips, tokens, config.in_channels), None, draws)
      place = functools.partial(
        coordinates,
        fps=fps,
        temporal_factor=vae.temporal_factor,
        spatial_factor=vae.spatial_factor,
        causal=config.causal_temporal_positioning,
      )
      given = ((), ())
      if conditions:
        encoder = self._encoder(keys, draws)
        given = encode_conditions(conditions, canvas, encoder, place)
      begin = begin_from(latents, unpatchify(noise, grid), sampling, levels)
      start = programs.placed(condition(begin, place(grid)[None], *given), self.policy)
      watch = None
      if on_step is not None:
        watch = lambda i, steps, x: on_step(i, steps, unpatchify(x, grid))  # noqa: E731
      positions = programs.positions(config, self.policy)(start.coords)
      out = sample(
        programs.step_of_run(config, self.policy, sampling.cache, len(levels)),
        Context(params, state, positions),
        start,
        sampling,
        levels,
        keys=keys,
        layers=config.num_layers,
        draws=draws,
        on_step=watch,
      )
      return unpatchify(out, grid)

  def generate(
    self,
    prompt: str | Sequence[str] | EncodedText,
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
    """Turns prompts into videos; None takes the recipe's (`presets`).

    Args:
      prompt: A prompt, several, or what `encode_text` returned.
      width: In pixels; any, though multiples of 32 waste nothing.
      height: In pixels.
      frames: Of each video; any, though 8k + 1 wastes nothing.
      fps: Frames a second.
      steps: Denoising steps.
      guidance: Scale of classifier-free guidance; 1 turns it off.
      negative_prompt: What guidance leads away from, or its encoded text.
      conditions: Images and clips that are given.
      video: A clip to make over, as `Condition.media`, long enough; it takes a sampling
        that skips initial steps, the more of them the closer to the clip.
      seed: Video i draws from fold_in(key(seed), i); or one seed for each video.
      sampling: All other options; `steps` and `guidance` come before its own.
      on_step: Called after each step is dispatched with (index, steps, latents).

    Raises:
      ValueError: in one sentence, where an argument does not fit.
    """
    recipe = self.recipe
    sampling = (sampling or recipe.sampling).override(steps, guidance)
    canvas = recipe.canvas(self._config("vae"), frames, height, width)
    rate = recipe.rate(fps)
    if canvas.note:
      _LOG.warning(canvas.note)
    conditions = fit_all(conditions, canvas)

    if negative_prompt is None:
      negative_prompt = recipe.negative_prompt
    guided = needs_unconditional(sampling.guidance)
    text, negative = encode_prompts(
      self.encode_text, prompt, negative_prompt if guided else None
    )
    self.check_memory(len(text[0]), canvas, sampling, conditions)
    start = None
    if video is not None:
      start = self.encode_start(video, canvas, clips=len(text[0]), seed=seed)
    frames, height, width = canvas.used
    latents = self.denoise(
      text,
      width=width,
      height=height,
      frames=frames,
      fps=rate,
      sampling=sampling,
      conditions=conditions,
      latents=start,
      negative=negative,
      seed=seed,
      on_step=on_step,
    )
    return self.to_pixels(latents, sampling, canvas=canvas, seed=seed)

  def encode_start(
    self,
    video: Any,
    canvas: Canvas,
    *,
    clips: int,
    seed: Seed = 0,
    draws: Draws | None = None,
  ) -> Latents:
    """Encodes a clip for `denoise(latents=)`, a sample of its own for each of `clips`.

    Raises:
      ValueError: where it cannot be read, or is shorter than what is asked for.
    """
    with memory_in_words(f"encoding {canvas.describe(clips)}"):
      return encode_start(video, canvas, self._encoder(clip_keys(seed, clips), draws))

  def to_pixels(
    self, latents: Latents, sampling: Sampling, *, canvas: Canvas, seed: Seed = 0
  ) -> UInt8[np.ndarray, "b F H W 3"]:
    """Decodes latents as `generate` does: noise by name, cropped, uint8 on the host.

    Frames of another size than the canvas's are scaled to it.
    """
    with memory_in_words(f"decoding {canvas.describe(len(latents))}"):
      keys = clip_keys(seed, len(latents))
      noise = draw(keys, "decode", latents.shape)
      inject = jax.random.fold_in(keys[0], zlib.crc32(b"inject"))
      sigma, scale = sampling.decode_sigma, sampling.decode_noise
      options = {"tone_map": sampling.tone_map, "tiling": sampling.tiling}
      same = latents.shape[2:4] == self.config.vae.latent_shape(*canvas.used)[1:]
      options["finish"] = programs.to_uint8 if same else programs.as_floats
      video = self._decode(latents, sigma, noise, scale, inject, **options)
      video = video if same else stretch(video, *canvas.used[1:])
      return np.asarray(programs.to_uint8(canvas.crop(video)))

  def check_memory(
    self, clips: int, canvas: Canvas, sampling: Sampling, conditions: Conditions = ()
  ) -> None:
    """Refuses what will not fit beside the weights (`planning.memory`).

    Media of conditions are frames, as of `media.fit`.

    Raises:
      ValueError: with the plan, and the largest size that fits; or as of `decode`.
    """
    free = memory.free_beside(self.params)
    if free is not None:
      free -= widened_bytes(self.params, self.policy.dtype)
    extra = extra_tokens(conditions, canvas, self._config("vae"))
    plan = self.config, self.policy, clips, canvas, sampling.branches, free
    made_for = self.recipe.size
    memory.check(*plan, tiling=sampling.tiling, extra=extra, made_for=made_for)

  def _config(self, part: str) -> Any:
    config = getattr(self.config, part)
    if config is None:
      do = "load a checkpoint that has one"
      if part == "text_encoder":
        do = "load it with text_encoder=FOLDER, or pass text that is encoded already"
      raise ValueError(f"This model has no {part.replace('_', ' ')}; {do}.")
    return config

  def _decode(
    self,
    latents: Latents,
    sigma: Scalar,
    noise: Latents | None,
    noise_scale: Scalar,
    inject: Key | None,
    *,
    tone_map: Scalar,
    tiling: Tiling,
    finish: Callable = programs.as_floats,
  ) -> Shaped[jax.Array, "b F H W 3"]:
    vae = self._config("vae")
    noise = noise if vae.timestep_conditioning else None
    free = memory.free_beside(self.params)
    tiles = decoding.settle(vae, self.policy, latents.shape, tiling, free)
    program = programs.decode(vae, self.policy, finish)
    if tiles is not None:
      program = programs.decode_in_tiles(vae, self.policy, tiles, finish)
    level, scale = np.float32(sigma), np.float32(noise_scale)
    latents, compression = jnp.asarray(latents, jnp.float32), np.float32(tone_map)
    return program(
      self._parts["vae"], latents, level, noise, scale, inject, tone_map=compression
    )

  def _unconditional(self) -> EncodedText:
    if self.config.text_encoder is None:
      raise ValueError(
        'Guidance needs the encoding of "" and this model has no text encoder; pass '
        "negative=, or a guidance of 1."
      )
    return self.encode_text([""])

  def _encoder(self, keys: Key, draws: Draws | None = None) -> Encoder:
    vae = self._config("vae")
    encode = functools.partial(programs.encode(vae, self.policy), self._parts["vae"])
    return Encoder(vae, encode, keys, draws)
