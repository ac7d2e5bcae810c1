"""Our side of `sample.benchmark`: a process that runs one task, and random weights."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

import ltx_jax
from ltx_jax import programs
from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.safetensors_io import aligned_empty
from ltx_jax.checkpoints.trees import nest
from ltx_jax.cli.console import Clock
from ltx_jax.config import TransformerConfig, VAEConfig
from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.platforms import CPU
from ltx_jax.programs.stacks import take_apart
from ltx_jax.sizes import Canvas
from ltx_jax.training.state import first_state
from ltx_jax.typing import Params
from sample.benchmark import vae_training, worker
from sample.benchmark.training_step import OPTIMIZER, STEPS, make_update

_BLOCK = 1 << 20


def random_params(entries: Iterable[keys.Entry], std: float, skip: str = "") -> Params:
  """Returns float32 parameters, uniform around 0, in memory that JAX uses uncopied.

  Statistics are 1, because a release's are positive.

  Args:
    entries: Entries of the network's checkpoint.
    std: Standard deviation of the parameters.
    skip: Prefix of paths that are left out.
  """
  bound = std * 3**0.5
  block = np.random.default_rng(0).uniform(-bound, bound, _BLOCK).astype(np.float32)
  flat = {}
  for path, shape in keys.tree_shapes(entries).items():
    if skip and path.startswith(skip):
      continue
    flat[path] = aligned_empty(shape, np.float32)
    numbers = flat[path].reshape(-1)
    for start in range(0, len(numbers), _BLOCK):
      part = numbers[start : start + _BLOCK]
      part[...] = 1 if path.startswith(keys.MEASURED) else block[: len(part)]
  return nest(flat)


def _whole(arrays: Params) -> Params:
  return jax.block_until_ready(jax.device_put(arrays))


def _on_device(params: Params) -> Params:
  return take_apart(_whole(params), CPU)


def _normal(*shape: int) -> np.ndarray:
  return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def _velocity(spec: worker.Spec) -> worker.Run:
  config = TransformerConfig.from_metadata(spec["transformer"])
  entries = keys.transformer_entries(config)
  params = _on_device(random_params(entries, spec["std"]))
  n, m = spec["tokens"], spec["text_tokens"]
  coords = np.random.default_rng(2).random((1, n, 3), np.float32)
  text = _normal(1, m, config.caption_channels), np.ones((1, m), bool)
  inputs = _normal(1, n, config.in_channels), coords, *text, np.full(1, 0.5, np.float32)
  program = programs.velocity(config, CPU)
  return lambda: program(params, *inputs)


def _encode(spec: worker.Spec) -> worker.Run:
  config = VAEConfig.from_metadata(spec["vae"])
  params = random_params(keys.vae_entries(config), spec["std"], skip="decoder/")
  params = _on_device(params)
  video = np.clip(_normal(1, *spec["video"], 3), -1, 1)
  program = programs.encode(config, CPU)
  return lambda: program(params, video, None)


def _decode(spec: worker.Spec) -> worker.Run:
  config = VAEConfig.from_metadata(spec["vae"])
  params = random_params(keys.vae_entries(config), spec["std"], skip="encoder/")
  params = _on_device(params)
  latents = _normal(1, *spec["latents"], config.latent_channels)
  sigma, scale = np.float32(spec["sigma"]), np.float32(0)
  program = programs.decode(config, CPU)
  return lambda: program(params, latents, sigma, None, scale, None)


def _training(spec: worker.Spec) -> worker.Run:
  config = TransformerConfig.from_metadata(spec["transformer"])
  params = random_params(keys.transformer_entries(config), spec["std"])
  state = first_state(OPTIMIZER, STEPS, {"transformer": _whole(params)}, {})
  b, n, m = spec["clips"], spec["tokens"], spec["text_tokens"]
  batch = {
    "latents": _normal(b, 4, n // 4, 1, config.in_channels),
    "text": _normal(b, m, config.caption_channels),
    "mask": np.ones((b, m), bool),
  }
  batch = _whole(as_tokens(batch))
  coords = np.random.default_rng(2).random((1, n, 3), np.float32)
  update = make_update(config, CPU, coords)
  options = CPU.training_options
  update = jax.jit(update, donate_argnums=0, compiler_options=options)
  held = [state]

  def run() -> jax.Array:
    held[0], metrics = update(held[0], {}, batch)
    return metrics["loss"]

  return run


def _generate(spec: worker.Spec) -> worker.Run:
  model = ltx_jax.load(spec["path"], text_encoder=False)
  f, h, w = spec["video"]
  sampling = Sampling(
    steps=spec["steps"],
    guidance=spec["guidance"],
    decode_sigma=spec["decode_sigma"],
    decode_noise=spec["decode_noise"],
  )
  shape = 1, spec["text_tokens"], spec["caption_channels"]
  text = _normal(*shape), np.ones(shape[:2], bool)
  canvas = Canvas.of(model.config.vae, f, h, w)

  stages = worker.Stages()
  decode = stages.timed("decode", model.to_pixels)

  def run() -> np.ndarray:
    latents = model.denoise(
      text,
      width=w,
      height=h,
      frames=f,
      fps=spec["fps"],
      sampling=sampling,
      negative=text,
    )
    return decode(jax.block_until_ready(latents), sampling, canvas=canvas)

  return stages.around("denoise", run)


_TASKS = {
  "velocity": _velocity,
  "encode": _encode,
  "decode": _decode,
  "training": _training,
  "vae-training": vae_training.training,
  "vae-convolutions": vae_training.convolutions,
  "generate": _generate,
}


def build(spec: worker.Spec) -> tuple[worker.Run, worker.Answer]:
  """Returns a function that runs the task, run once, and the compile seconds."""
  dispatch = _TASKS[spec["kind"]](spec)

  @functools.wraps(dispatch)  # Copies its stages and figures too.
  def run() -> jax.Array | np.ndarray:
    return jax.block_until_ready(dispatch())

  with Clock() as clock, clock.stage("first run"):
    warm_up = worker.seconds_of(run)
  return run, {
    "warm_up": warm_up,
    "compile": clock.seconds["compile"],
    "versions": {"jax": jax.__version__},
  }


def product(size: int) -> worker.Run:
  """Returns a compiled function that multiplies two square matrices."""
  a = jnp.ones((size, size), jnp.float32)
  multiply = jax.jit(lambda a, b: a @ b)
  multiply(a, a).block_until_ready()
  return lambda: multiply(a, a).block_until_ready()


if __name__ == "__main__":
  worker.limit_threads(int(sys.argv[1]))
  os.environ["NPROC"] = sys.argv[1]  # XLA sizes its pool of threads by this.
  worker.serve(build, product, sys.stdin, worker.answer_on_stdout())
