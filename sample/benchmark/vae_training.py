"""Our side of training the Video-VAE: a step of its trainer, or its convolutions alone.

Each thread is a device with its own clips, as when JAX_NUM_CPU_DEVICES is set for
`train.vae`. The convolutions are those of a step, each with the gradients that the step
needs. A step cannot take less time than they take, unless they get faster.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs import moving_shapes
from ltx_jax.checkpoints import arrays, lightricks
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import OptimizerConfig, VAERun
from ltx_jax.diffusion import statistics
from ltx_jax.models.convolution import convolve
from ltx_jax.moving_shapes import world
from ltx_jax.parallel.mesh import make_mesh, put_batch
from ltx_jax.planning.vae_walk import Layer, Size, walk_decoder, walk_encoder
from ltx_jax.platforms import CPU
from ltx_jax.training.state import TrainState, first_state
from ltx_jax.typing import Params
from sample.benchmark import worker
from train.trainers import vae_step

FIGURES = ("loss", "mse", "wavelet", "kl", "grad_norm")
"""Figures of the first step, in which both sides agree."""


def recipe(path: Path | str) -> VAERun:
  """Returns the small model's run for the VAE of a checkpoint, with AdamW.

  The wavelet loss has its full weight from the first step on, as on the other side.
  """
  run = moving_shapes.vae()
  return dataclasses.replace(
    run,
    vae=lightricks.read_config(path).vae,
    loss=dataclasses.replace(run.loss, wavelet_ramp=(0, 0)),
    optimizer=OptimizerConfig(),
    init_from=str(path),
  )


def write_batch(
  path: Path, run: VAERun, clips: int, size: tuple[int, int, int]
) -> None:
  """Writes clips of moving shapes, and what the first step draws for them.

  Args:
    path: File to write, of NumPy (`.npz`).
    run: Run whose step it is.
    clips: Number of clips.
    size: Frames, height and width of the clips.
  """
  captions = world.captions()[:: max(1, len(world.captions()) // clips)][:clips]
  video = np.stack([world.clip(c, seed, *size) for seed, c in enumerate(captions)])
  batch = {"video": video, "seed": np.arange(clips, dtype=np.uint32)}
  shape = (clips, *run.vae.latent_shape(*size), run.vae.latent_channels)
  drawn = vae_step.draw(vae_step.key_of_step(run, 0, batch), shape, run.loss.max_sigma)
  draws = {name: getattr(drawn, name) for name in ("posterior", "sigma", "noise")}
  np.savez(path, **batch, **draws)


def _mesh(threads: int) -> Mesh:
  """Returns a mesh of one device per thread; call before JAX makes any array."""
  if threads > 1:
    jax.config.update("jax_num_cpu_devices", threads)
  return make_mesh(data=threads, devices=jax.devices()[:threads])


def _on_all(mesh: Mesh, arrays: Any) -> Any:
  """Copies arrays to every device."""
  return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))


def _start(run: VAERun) -> TrainState:
  parts = ("vae",)
  _, params = lightricks.load_checkpoint(
    run.init_from, "float32", arrays.on_host, parts
  )
  weights = params["vae"]
  moments = statistics.moments_of(weights.pop("per_channel_statistics"))
  return first_state(run.optimizer, run.steps, weights, moments)


def training(spec: worker.Spec) -> worker.Run:
  """Returns a run of one step; its `figures` are those of the first."""
  run, mesh = recipe(spec["path"]), _mesh(spec["threads"])
  policy = CPU.for_training(mesh)
  with np.load(spec["batch"]) as file:
    batch = put_batch(mesh, {name: file[name] for name in ("video", "seed")})
  update = jax.jit(
    vae_step.make_update(run, policy),
    donate_argnums=0,
    compiler_options=policy.training_options,
  )
  held = [_on_all(mesh, _start(run))]

  def step() -> jax.Array:
    held[0], metrics = update(held[0], {}, batch)
    if not step.figures:
      step.figures |= {name: float(metrics[name]) for name in FIGURES}
    return metrics["loss"]

  step.figures = {}
  return step


class Shapes(NamedTuple):
  """Shapes of a convolution of size 3.

  Attributes:
    x: Clips, frames, height, width and channels of the input, with the frames that the
      kernel sees before the first.
    features: Channels of the result.
    strides: Strides over time, height and width.
    to_input: Whether a step needs the gradient of the input.
  """

  x: tuple[int, int, int, int, int]
  features: int
  strides: tuple[int, int, int]
  to_input: bool


def convolutions_of(config: VAEConfig, clips: int, size: Size) -> list[Shapes]:
  """Returns the convolutions of a VAE for clips of a size; the first sees pixels."""

  def shapes(layer: Layer, to_input: bool) -> Shapes:
    frames, height, width = layer.before
    x = clips, frames + 2, height, width, layer.channels
    pairs = zip(layer.before, layer.after, strict=True)
    strides = tuple(-(-before // after) for before, after in pairs)
    return Shapes(x, layer.features, strides, to_input)

  layers = walk_encoder(config, *size)
  layers += walk_decoder(config, *config.latent_shape(*size))
  return [shapes(layer, i > 0) for i, layer in enumerate(layers) if layer.kernel == 3]


def convolutions(spec: worker.Spec) -> worker.Run:
  """Returns a run of convolutions, with the gradients of kernels and inputs."""
  mesh, rng = _mesh(spec["threads"]), np.random.default_rng(0)
  all_shapes = [Shapes(*map(_tuples, row)) for row in spec["convolutions"]]

  def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)

  def inputs(shapes: Shapes) -> Params:
    b, frames, *sides, c = shapes.x
    padded = zip((frames, *(side + 2 for side in sides)), shapes.strides, strict=True)
    after = [(side - 3) // stride + 1 for side, stride in padded]
    rows = {"x": normal(*shapes.x), "dy": normal(b, *after, shapes.features)}
    kernel = normal(3, 3, 3, c, shapes.features)
    return put_batch(mesh, rows) | {"kernel": _on_all(mesh, kernel)}

  def compute(given: list[Params]) -> list[jax.Array]:
    pairs = zip(all_shapes, given, strict=True)
    found = [_both_ways(shapes, **arrays) for shapes, arrays in pairs]
    # A step frees its arrays again, so this keeps one number of each.
    found = jax.lax.optimization_barrier(jax.tree.leaves(found))
    return [array.ravel()[0] for array in found]

  program = jax.jit(compute, compiler_options=CPU.training_options)
  given = [inputs(shapes) for shapes in all_shapes]
  return lambda: program(given)


def _both_ways(shapes: Shapes, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Any:
  """Returns a result, and the gradients of the kernel and maybe of the input."""
  bias = jnp.zeros(shapes.features)

  def result(kernel: jax.Array, x: jax.Array) -> jax.Array:
    return convolve(x, kernel, bias, shapes.strides, CPU, edge=1)

  if shapes.to_input:
    y, pull = jax.vjp(result, kernel, x)
  else:
    y, pull = jax.vjp(lambda kernel: result(kernel, x), kernel)
  return y, pull(dy)


def _tuples(value: Any) -> Any:
  """Returns a list of JSON as a tuple."""
  return tuple(value) if isinstance(value, list) else value
