"""What fits a device that is not there, by formula (`sample.plan`)."""

from __future__ import annotations

import bisect
import dataclasses
import functools

import jax
import jax.numpy as jnp
from rich.table import Table

from ltx_jax.analysis.devices import TARGETS
from ltx_jax.checkpoints.quantization import quantize_params
from ltx_jax.config import ModelConfig, TextEncoderConfig, TransformerConfig, VAEConfig
from ltx_jax.errors import check_number
from ltx_jax.models import text_encoder, transformer, vae
from ltx_jax.planning import memory
from ltx_jax.planning.training import device_bytes
from ltx_jax.releases.presets import PRESETS, HubFile, recipe_for
from ltx_jax.sizes import Canvas
from sample.compiling import config_of, pixels
from sample.plan import Options

_GB = 10**9


def names_of(options: Options) -> tuple[str, ...]:
  """Returns the presets to plan for; by default the released ones, float8 files aside.

  Those take what `int8` takes.
  """
  released = (name for name, p in PRESETS.items() if isinstance(p.files, HubFile))
  return options.presets or tuple(n for n in released if not n.endswith("-fp8"))


def fraction_of(options: Options) -> float:
  """Returns the share of a device's memory that JAX takes."""
  if options.memory_fraction is None:
    return 0.75 if TARGETS[options.device].policy.name == "gpu" else 1.0
  check_number("--memory-fraction", options.memory_fraction, above=0, at_most=1)
  return options.memory_fraction


def available(options: Options) -> int:
  """Returns the bytes that JAX takes on the device."""
  return int(fraction_of(options) * TARGETS[options.device].memory)


@functools.cache
def weight_bytes(
  of_transformer: TransformerConfig, of_vae: VAEConfig, dtype: str, weights: str
) -> int:
  """Counts the weights of the transformer and the VAE; the text encoder is freed."""

  def made(key: jax.Array) -> dict:
    params = {
      "transformer": transformer.init(of_transformer, key),
      "vae": vae.init_vae(key, of_vae),
    }
    params = jax.tree.map(lambda x: x.astype(jnp.dtype(dtype)), params)
    return quantize_params(params, "int8") if weights == "int8" else params

  return device_bytes(jax.eval_shape(made, jax.random.key(0)))


@functools.cache
def longest(
  options: Options, config: ModelConfig, branches: int, size: str, free: int
) -> str:
  """Says how many frames of a size fit: 121, 121* in tiles, or a dash."""
  policy = TARGETS[options.device].policy
  width, height = pixels(size, "--sizes")

  def planned(frames: int) -> memory.Plan:
    canvas = Canvas.of(config.vae, frames, height, width)
    return memory.plan(config, policy, 1, canvas, branches, free=free)

  lengths = range(1, options.frames_at_most + 1, config.vae.temporal_factor)
  count = bisect.bisect_left(lengths, True, key=lambda n: planned(n).most > free)
  if not count:
    return "-"
  frames = lengths[count - 1]
  return f"{frames}{'*' if planned(frames).tiles else ''}"


def table(options: Options) -> Table:
  """One row for each model and format of its weights.

  Raises:
    ValueError: for a name or a size that is none.
  """
  check_number("--frames-at-most", options.frames_at_most, at_least=1)
  title = f"Most frames that fit {options.device}, an estimate by formula"
  made = Table(title=title, title_justify="left")
  # Names are copied from here, so they are whole even where lines are short.
  made.add_column("model", min_width=max(map(len, names_of(options))))
  made.add_column("weights")
  made.add_column("GB")
  for size in options.sizes:
    made.add_column(size, justify="right")
  dtype = TARGETS[options.device].policy.dtype
  for name in names_of(options):
    config = config_of(name)
    branches = recipe_for(config).sampling.branches
    for weights in options.weights:
      own = weight_bytes(config.transformer, config.vae, dtype, weights)
      free = available(options) - own
      # Models that differ in their names alone are planned once.
      same = options, dataclasses.replace(config, name=""), branches
      cells = [longest(*same, size, free) for size in options.sizes]
      shown = f"{weights} ({dtype})" if weights == "16bit" else weights
      made.add_row(name, shown, f"{own / _GB:.1f}", *cells)
  return made


def footer(options: Options) -> str:
  """Says what the table counts on."""
  target = TARGETS[options.device]
  text = _text_bytes(target.policy.dtype)
  advice = ""
  if target.policy.name == "gpu" and options.memory_fraction is None:
    advice = " With --memory-fraction 0.95 more fits: see --help."
  elif target.policy.name == "gpu":
    advice = (
      " Where you run it, set XLA_PYTHON_CLIENT_MEM_FRACTION="
      f"{options.memory_fraction:g}."
    )
  tight = ""
  if text > available(options):
    tight = " That is too much here: add --text-weights int8."
  return (
    f"Planned with {available(options) / _GB:.1f} of {target.memory / _GB:.0f} GB."
    f"{advice} GB are those of the weights; int8 is what sample.generate --weights "
    "int8 loads. * is decoded in tiles; - fits at no length; "
    f"{options.frames_at_most} is the most that was tried (--frames-at-most). T5-XXL "
    f"takes {text / _GB:.1f} GB, and sample.generate frees it before the transformer "
    f"is loaded.{tight} An estimate by formula, within a third of the compilers' "
    "figures; nothing was run. python -m sample.compile compiles one size."
  )


@functools.cache
def _text_bytes(dtype: str) -> int:
  init = functools.partial(text_encoder.init, TextEncoderConfig())
  params = jax.eval_shape(init, jax.random.key(0))
  size = jnp.dtype(dtype).itemsize
  return sum(x.size * size for x in jax.tree.leaves(params))
