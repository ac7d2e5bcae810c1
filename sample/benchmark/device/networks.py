"""Rows for sampling: single networks, and whole clips."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax import programs
from ltx_jax.analysis import stages
from ltx_jax.config import TransformerConfig
from ltx_jax.diffusion.latents import coordinates
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.models import text_encoder, transformer, vae
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.planning import decoding, flops, memory
from ltx_jax.platforms import Policy
from ltx_jax.programs.stacks import take_apart
from ltx_jax.sizes import Canvas
from ltx_jax.typing import EncodedText, Params
from sample.benchmark import worker
from sample.benchmark.device import weights
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes

FPS = 24.0
_GUIDANCE = 3.0


def velocity(sizes: Sizes, policy: Policy) -> Job:
  """One evaluation of the smaller transformer for one clip."""
  return _velocity(sizes.model.transformer, sizes, policy, _transformer)


def velocity_guided(sizes: Sizes, policy: Policy) -> Job:
  """One evaluation for a clip with its caption and without."""
  return _velocity(sizes.model.transformer, sizes, policy, _transformer, rows=2)


def velocity_large(sizes: Sizes, policy: Policy) -> Job:
  """One evaluation of the larger transformer."""
  return _velocity(sizes.large, sizes, policy, _transformer)


def velocity_large_int8(sizes: Sizes, policy: Policy) -> Job:
  """One evaluation of the larger transformer with its blocks' weights in 8 bits."""
  return _velocity(sizes.large, sizes, policy, _transformer_int8)


def encode(sizes: Sizes, policy: Policy) -> Job:
  """Encoding of a clip to latents."""
  params = take_apart(_vae(sizes, policy), policy)
  video = jnp.tanh(weights.normal(1, *sizes.video, 3))
  program = programs.encode(sizes.model.vae, policy)
  work = flops.encoder(sizes.model.vae, *sizes.video)
  return Job(lambda: program(params, video, None), work)


def decode(sizes: Sizes, policy: Policy) -> Job:
  """Decoding of latents to the pixels of a clip."""
  config = sizes.model.vae
  params = _vae(sizes, policy)
  planned = weights.bytes_of(params)
  planned += decoding.decode_bytes(config, policy, 1, sizes.grid)
  params = take_apart(params, policy)
  latents = weights.normal(1, *sizes.grid, config.latent_channels)
  program = programs.decode(config, policy, programs.to_uint8)
  inputs = latents, np.float32(0.05), None, np.float32(0), None
  work = flops.decoder(config, *sizes.grid)
  return Job(lambda: program(params, *inputs), work, planned)


def text(sizes: Sizes, policy: Policy) -> Job:
  """Encoding of two prompts of full length."""
  config = sizes.model.text_encoder
  params = _text_encoder(sizes, policy)
  tokens, mask = _prompts(sizes, 2)
  program = programs.encode_text(config, policy)
  work = 2 * flops.text_encoder(config, sizes.text_tokens)
  return Job(lambda: program(params, tokens, mask), work)


def denoise(sizes: Sizes, policy: Policy) -> Job:
  """All steps of a clip, with a given text."""
  return _denoise(sizes, policy, Sampling(steps=sizes.steps, guidance=1.0))


def denoise_guided(sizes: Sizes, policy: Policy) -> Job:
  """The same with classifier-free guidance."""
  return _denoise(sizes, policy, Sampling(steps=sizes.steps, guidance=_GUIDANCE))


def clip(sizes: Sizes, policy: Policy) -> Job:
  """A clip from a prompt's tokens to pixels on the host, without guidance."""
  model = _model(sizes, policy, with_text=True)
  sampling = Sampling(steps=sizes.steps, guidance=1.0)
  tokens, mask = _prompts(sizes, 1)
  config = sizes.model.text_encoder
  parts = worker.Stages()

  def encoded() -> EncodedText:
    program = programs.encode_text(config, policy)
    out = program(model.params["text_encoder"], tokens, mask)
    return jax.block_until_ready(out), mask

  as_text = parts.timed("text", encoded)
  make = _made(model, sizes.canvas, sampling, parts)
  job = _clip_job(sizes, model, sizes.canvas, sampling, lambda: make(as_text()), parts)
  return dataclasses.replace(
    job,
    flops=job.flops + flops.text_encoder(config, sizes.text_tokens),
    compile=functools.partial(_compile_ahead, model, sizes.canvas, sampling),
  )


def distilled(sizes: Sizes, policy: Policy) -> Job:
  """A large clip in few steps, with a given text, to pixels on the host."""
  model = _model(sizes, policy)
  sampling = Sampling(steps=sizes.distilled_steps, guidance=1.0)
  given, parts = embeddings(sizes, policy), worker.Stages()
  make = _made(model, sizes.wide_canvas, sampling, parts)
  run = functools.partial(make, given)
  return _clip_job(sizes, model, sizes.wide_canvas, sampling, run, parts)


def _velocity(
  config: TransformerConfig,
  sizes: Sizes,
  policy: Policy,
  make: Callable[[TransformerConfig, Policy], Params],
  rows: int = 1,
) -> Job:
  params = make(config, policy)
  planned = weights.bytes_of(params)
  planned += memory.denoise_bytes(config, policy, rows, sizes.tokens)
  params = take_apart(params, policy)
  channels = config.in_channels
  tokens = weights.normal(rows, sizes.tokens, channels)
  given = embeddings(sizes, policy, rows)
  inputs = tokens, coordinates_of(config, sizes), *given, jnp.full(rows, 0.5)
  program = programs.velocity(config, policy)
  work = rows * flops.velocity(config, sizes.tokens, sizes.text_tokens)
  return Job(lambda: program(params, *inputs), work, planned)


def _denoise(sizes: Sizes, policy: Policy, sampling: Sampling) -> Job:
  model = _model(sizes, policy, with_vae=False)
  config, branches = sizes.model.transformer, sampling.branches
  given = embeddings(sizes, policy)
  run = functools.partial(_latents, model, sizes.canvas, sampling, given)
  planned = weights.bytes_of(model.params)
  planned += memory.denoise_bytes(config, policy, branches, sizes.tokens)
  work = branches * _denoising(sizes, sizes.tokens, sampling.steps)
  return Job(run, work, planned)


def _denoising(sizes: Sizes, tokens: int, steps: int) -> int:
  config, m = sizes.model.transformer, sizes.text_tokens
  return steps * flops.denoise(config, tokens, m) + flops.text_state(config, m)


def _clip_job(
  sizes: Sizes,
  model: LTXVideo,
  canvas: Canvas,
  sampling: Sampling,
  make: Callable[[], np.ndarray],
  parts: worker.Stages,
) -> Job:
  """Returns the job of a whole clip that reports the times of its parts."""
  grid = sizes.model.vae.latent_shape(*canvas.used)
  work = _denoising(sizes, int(np.prod(grid)), sampling.steps)
  work += flops.decoder(sizes.model.vae, *grid)
  plan = memory.plan(model.config, model.policy, 1, canvas, sampling.branches)
  planned = weights.bytes_of(model.params) + plan.most
  return Job(parts.around("between", make), work, planned, stages=parts)


def _made(
  model: LTXVideo, canvas: Canvas, sampling: Sampling, parts: worker.Stages
) -> Callable[[EncodedText], np.ndarray]:
  """Returns a function from text to a clip in uint8 on the host, with timed stages."""
  denoised = parts.timed(
    "denoise",
    lambda given: jax.block_until_ready(_latents(model, canvas, sampling, given)),
  )
  decoded = parts.timed(
    "decode", lambda latents: model.to_pixels(latents, sampling, canvas=canvas)
  )
  return lambda given: decoded(denoised(given))


def _latents(
  model: LTXVideo, canvas: Canvas, sampling: Sampling, given: EncodedText
) -> jax.Array:
  frames, height, width = canvas.used
  return model.denoise(
    given,
    negative=given,
    width=width,
    height=height,
    frames=frames,
    fps=FPS,
    sampling=sampling,
  )


def _compile_ahead(model: LTXVideo, canvas: Canvas, sampling: Sampling) -> None:
  """Compiles the programs of a clip without guidance, several at a time."""
  run = stages.SamplingRun(
    model.config, model.policy, None, canvas, branches=1, params=model.params
  )
  levels = sampling.levels(model.config.scheduler, int(np.prod(run.grid)))
  step = stages.denoise(run, sampling.settings(levels)[0])
  made = stages.text(run), stages.keys(run), step, stages.decode(run)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    list(pool.map(lambda stage: stage.compile(), made))


def _model(
  sizes: Sizes, policy: Policy, *, with_vae: bool = True, with_text: bool = False
) -> LTXVideo:
  params = {"transformer": _transformer(sizes.model.transformer, policy)}
  if with_vae:
    params["vae"] = _vae(sizes, policy)
  if with_text:
    params["text_encoder"] = _text_encoder(sizes, policy)
  return LTXVideo(sizes.model, params, policy)


def _transformer(config: TransformerConfig, policy: Policy) -> Params:
  return weights.make(functools.partial(transformer.init, config), policy.dtype)


def _transformer_int8(config: TransformerConfig, policy: Policy) -> Params:
  return weights.make_int8(functools.partial(transformer.init, config), policy)


def _vae(sizes: Sizes, policy: Policy) -> Params:
  return weights.make(lambda key: vae.init_vae(key, sizes.model.vae), policy.dtype)


def _text_encoder(sizes: Sizes, policy: Policy) -> Params:
  init = functools.partial(text_encoder.init, sizes.model.text_encoder)
  return weights.make(init, policy.dtype)


def _prompts(sizes: Sizes, rows: int) -> tuple[jax.Array, jax.Array]:
  """Returns tokens and mask of prompts of full length."""
  m = sizes.text_tokens
  tokens = jnp.arange(rows * m, dtype=jnp.int32).reshape(rows, m)
  return tokens % sizes.model.text_encoder.vocab_size, jnp.ones((rows, m), bool)


def embeddings(
  sizes: Sizes, policy: Policy, rows: int = 1
) -> tuple[jax.Array, jax.Array]:
  """Returns embeddings as the encoder would return them, and their mask."""
  channels = sizes.model.transformer.caption_channels
  m = sizes.text_tokens
  given = weights.normal(rows, m, channels, dtype=policy.dtype)
  return given, jnp.ones((rows, m), bool)


def coordinates_of(config: TransformerConfig, sizes: Sizes) -> np.ndarray:
  """Returns the positions of a clip's tokens [1 n 3]."""
  factors = sizes.model.vae.temporal_factor, sizes.model.vae.spatial_factor
  return coordinates(
    sizes.grid,
    FPS,
    temporal_factor=factors[0],
    spatial_factor=factors[1],
    causal=config.causal_temporal_positioning,
  )[None]
