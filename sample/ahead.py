"""Compiles all programs of a run at once, and times the run (`sample.gpu`)."""

from __future__ import annotations

import concurrent.futures

import jax
import numpy as np
from rich.console import Console

import ltx_jax
from ltx_jax.analysis import stages
from ltx_jax.cli import console as shared
from ltx_jax.data import outputs, video
from ltx_jax.diffusion.guidance import needs_unconditional
from ltx_jax.pipeline.generate import generate
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.request import Request
from ltx_jax.planning.memory import Plan
from sample.gpu import Options


def compile_ahead(way: OnePass, request: Request, plan: Plan) -> list[str]:
  """Compiles the programs of a run without conditions, several at a time.

  JAX finds them when they are called, and so does the next process if there is a
  compile cache. A run that needs other programs compiles them when it gets to them.

  Args:
    way: The model and its sampling.
    request: What to generate.
    plan: Result of `way.plan(request)`.

  Returns:
    Names of the stages.
  """
  model, sampling = way.model, way.sampling
  guided = needs_unconditional(sampling.guidance)
  run = stages.SamplingRun(
    config=model.config,
    policy=model.policy,
    device=None,
    canvas=request.canvas,
    branches=2 if guided else 1,
    clips=request.clips,
    params=model.params,
  )
  made = [stages.keys(run)]
  if not (sampling.stochastic or sampling.cache):  # Those have other programs.
    levels = sampling.levels(model.config.scheduler, int(np.prod(run.grid)))
    settings = sampling.settings(levels)
    variants = {(each.unconditional, each.perturbed): each for each in settings}
    made += [stages.denoise(run, setting) for setting in variants.values()]
  if plan.tiles is None:
    made.append(stages.decode(run))
  with concurrent.futures.ThreadPoolExecutor() as pool:
    list(pool.map(lambda stage: stage.compile(), made))
  return [stage.name for stage in made]


def check_platform(platform: str) -> None:
  """Refuses to continue if JAX has no such device.

  Raises:
    ValueError: If it has none.
  """
  if jax.default_backend() != platform:
    raise ValueError(
      f"JAX finds no GPU here, but {jax.default_backend()}; install "
      '"jax[cuda12]" and NVIDIA\'s driver, or take python -m sample.generate.'
    )


def prepare(options: Options, clock: shared.Clock) -> tuple[OnePass, Request, Plan]:
  """Loads the model, and encodes the text while everything else is compiled."""
  with clock.stage("load"):
    encoder = ltx_jax.load_text_encoder(options.model, folder=options.text_encoder)
    model = ltx_jax.load(options.model, text_encoder=encoder)
  model.check_whole()
  sampling = model.recipe.sampling.override(options.steps, None)
  size = options.frames, options.height, options.width
  request = model.recipe.request(
    model.config.vae, [options.prompt], size=size, seed=options.seed
  )
  way = OnePass(model, sampling)
  plan = way.plan(request)  # Refuses what does not fit before compilation.
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    ahead = pool.submit(compile_ahead, way, request, plan)
    with clock.stage("text"):
      encoder.encode([options.prompt, request.negative])  # `generate` finds them.
    ahead.result()
  outputs.check_output(options.output, request.canvas.asked[0])
  return way, request, plan


def run(options: Options, platform: str, console: Console) -> None:
  """Makes a video several times, prints the times, and writes it.

  Raises:
    ValueError: If JAX has no such platform, or the model cannot be used.
  """
  check_platform(platform)

  with shared.Clock() as clock:
    way, request, plan = prepare(options, clock)
  console.print(f"{way.model.policy.dtype}, {clock.summary()}")

  for i in range(options.repeat):
    with shared.Clock() as clock:
      clip = generate(way, request, plan=plan, on_stage=clock.stage)
    console.print(f"video {i + 1}: {clock.summary()}")
  peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
  if peak:
    console.print(f"peak memory: {peak / 1e9:.2f} GB")
  video.write(options.output, clip[0], request.fps)
  console.print(f"wrote {options.output}")
