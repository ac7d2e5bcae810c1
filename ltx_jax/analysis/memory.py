"""Will it fit? What sampling needs beside the weights, by formula, before it runs;
and what is said where memory ran out all the same.

    denoise   10 activations of the transformer's width a token, the text's keys and
              values of all layers, and twice the logits of a chunk of queries
    decode    where it is largest: a layer's input, its output, the shortcut beside it,
              and what the platform's form of convolution unfolds

The formulas were fitted to the compiler's own figures and lie within a third of them
(`tests/analysis/test_memory.py`), which is enough to refuse a size that cannot work and
to name one that can. Compiling would tell exactly, minutes later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import jax

from ltx_jax.analysis.vae_walk import Layer, walk_decoder
from ltx_jax.config import ModelConfig, TransformerConfig, VAEConfig
from ltx_jax.models.attention import LOGITS_BYTES
from ltx_jax.platforms import Policy
from ltx_jax.sizes import Canvas
from ltx_jax.text import MAX_TOKENS

_LESS = "ask for fewer frames, a smaller size, or fewer clips or prompts at a time"

_ACTIVATIONS = 10
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclasses.dataclass(frozen=True)
class Plan:
  """Bytes that each stage of sampling needs beside the weights."""

  denoise: int
  decode: int

  @property
  def most(self) -> int:
    """What must be free: the stages follow one another."""
    return max(self.denoise, self.decode)


def denoise_bytes(
  config: TransformerConfig, policy: Policy, rows: int, tokens: int
) -> int:
  """Estimates a denoising step.

  Args:
    rows: Clips, times the branches of guidance that a step evaluates.
    tokens: Video tokens of a clip.
  """
  item, d = _BYTES[policy.dtype], config.width
  activations = _ACTIVATIONS * rows * tokens * d * item
  text = 2 * config.num_layers * rows * MAX_TOKENS * d * item
  logits = 0
  if policy.attention == "xla":
    row = 4 * rows * config.num_attention_heads * tokens
    logits = 2 * max(row, min(LOGITS_BYTES, row * tokens))
  return activations + text + logits


def decode_bytes(
  config: VAEConfig, policy: Policy, clips: int, size: tuple[int, int, int]
) -> int:
  """Estimates decoding latents of (frames, height, width)."""
  layers = walk_decoder(config, *size)
  numbers = max(_numbers(layer, policy, clips) for layer in layers)
  pixels = clips * math.prod(layers[-1].after) * layers[-1].features
  return numbers * _BYTES[policy.dtype] + 4 * pixels


def _numbers(layer: Layer, policy: Policy, clips: int) -> int:
  """What a layer keeps: input, output, shortcut and what is unfolded."""
  before, after = math.prod(layer.before), math.prod(layer.after)
  c, out = layer.channels, layer.features
  unfolded = piece = 0
  if layer.kernel == 3 and policy.convolution == "measured":
    piece = 27 * c * out  # The kernel, cut by its time steps.
    # Three parts, one a time step of the kernel; patches or projections besides.
    unfolded = 3 * out * after
    if out >= 2 * c:
      unfolded += 9 * c * before
    elif 2 * out <= c:
      unfolded += 9 * out * after
  return clips * (before * c + 2 * after * out + unfolded) + piece


def plan(
  config: ModelConfig, policy: Policy, clips: int, canvas: Canvas, branches: int
) -> Plan:
  """Estimates what sampling clips of a size needs beside the weights.

  Args:
    branches: Of guidance, that the largest step evaluates (`Sampling.branches`).
  """
  grid = config.vae.latent_shape(*canvas.used)
  tokens = math.prod(grid)
  return Plan(
    denoise=denoise_bytes(config.transformer, policy, branches * clips, tokens),
    decode=decode_bytes(config.vae, policy, clips, grid),
  )


def check(
  config: ModelConfig,
  policy: Policy,
  clips: int,
  canvas: Canvas,
  branches: int,
  free: int | None,
) -> None:
  """Refuses a size that will not fit, before anything is compiled.

  Args:
    branches: As of `plan`.
    free: Bytes that are free now (`free_memory`); None, unknown, refuses nothing.

  Raises:
    ValueError: with the plan, and the largest size that fits.
  """
  needed = plan(config, policy, clips, canvas, branches)
  if free is None or needed.most <= free:
    return
  frames, height, width = canvas.used
  words = _largest(config, policy, clips, canvas, branches, free)
  raise ValueError(
    f"{clips} clip(s) of {frames} frames of {width}x{height} need about "
    f"{_gb(needed.denoise)} to denoise and {_gb(needed.decode)} to decode beside the "
    f"weights, and {_gb(free)} are free; {words}"
  )


def _gb(size: int) -> str:
  return f"{size / 1e9:.1f} GB"


def _largest(
  config: ModelConfig,
  policy: Policy,
  clips: int,
  canvas: Canvas,
  branches: int,
  free: int,
) -> str:
  """Names what fits: fewer clips, else a shorter clip, else a smaller frame."""

  def fits(clips: int, frames: int, height: int, width: int) -> bool:
    smaller = Canvas.of(config.vae, frames, height, width)
    return plan(config, policy, clips, smaller, branches).most <= free

  frames, height, width = canvas.used
  for n in range(clips - 1, 0, -1):
    if fits(n, frames, height, width):
      return f"{n} clip(s) at a time fit."
  t, s = config.vae.temporal_factor, config.vae.spatial_factor
  for f in range(frames - t, t, -t):
    if fits(1, f, height, width):
      return f"one clip of {f} frames of that size fits."
  for h in range(height - s, 0, -s):
    w = max(s, width * h // height // s * s)
    if fits(1, t + 1, h, w):
      return f"one clip of {t + 1} frames of {w}x{h} fits."
  return "no size fits; end other programs, or take a machine with more memory."


def free_memory(device: jax.Device | None = None) -> int | None:
  """Returns the bytes that new arrays may take, or None where nobody says.

  Args:
    device: Its own memory; None, or a CPU, takes the machine's.
  """
  if device is not None and device.platform != "cpu":
    return free_of(device.memory_stats() or {})
  with contextlib.suppress(OSError):
    for line in Path("/proc/meminfo").read_text().splitlines():
      if line.startswith("MemAvailable:"):
        return int(line.split()[1]) * 1024
  return None


def free_of(stats: dict[str, int]) -> int | None:
  """Returns what a device's `memory_stats` leave free, or None where they say not."""
  if "bytes_limit" not in stats:
    return None
  return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


@contextlib.contextmanager
def memory_in_words(what: str, remedy: str = _LESS) -> Iterator[None]:
  """Says what there was not enough memory for, where it runs out inside.

  Work that is dispatched inside may fail only where its results are waited for: that
  place wants this as well.

  Args:
    what: The stage and its shapes, such as "decoding latents of shape (1, 2, 3, 3, 8)".
    remedy: What to do about it.

  Raises:
    ValueError: in one sentence, in place of the device's own error.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ValueError(f"There was not enough memory for {what}; {remedy}.") from error
