"""Estimates by formula, before it runs, the memory that sampling needs besides the
weights; and reports when memory ran out anyway.

    denoise   10 activations of the transformer's width per token, the text's keys and
              values of all layers, and twice the logits of a chunk of queries
    decode    in tiles if it does not fit whole (`planning.decoding`)

With several devices it is what one of them needs for its share, plus the keys and
values of all tokens, which each device has.

The formulas were fitted to the compiler's own figures and lie within a third of them
(`tests/analysis/test_memory.py`). That is enough to refuse a size that cannot work and
to name one that can. Compiling would give exact figures, but minutes later.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

from ltx_jax.config import ModelConfig, TransformerConfig, VAEConfig
from ltx_jax.errors import LESS
from ltx_jax.models import tiles as geometry
from ltx_jax.models.attention import LOGITS_BYTES
from ltx_jax.models.sharded import devices_of, parts_of_stream
from ltx_jax.models.tiles import Tiles
from ltx_jax.planning import decoding
from ltx_jax.platforms import Policy
from ltx_jax.sizes import Canvas
from ltx_jax.text.prompts import MAX_TOKENS
from ltx_jax.typing import Params, Tiling

Size = tuple[int, int, int]
"""(frames, height, width)."""

RELEASED: Size = (121, 512, 768)
"""The size that the released models were made for, unless a recipe says otherwise."""

_ACTIVATIONS = 10
_SHARES = (1, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)  # Of the area made for.
_LONGEST = 2.5  # Longest side, relative to the other.
_MISJUDGED = 2 / 3  # Of what a size needs by formula, if that proved too little.


@dataclasses.dataclass(frozen=True)
class Plan:
  """Bytes that each stage of sampling needs besides the weights.

  Attributes:
    grid: Frames, height and width of the latents to decode.
    tiles: Tiles to decode them in; None decodes them whole.
    instead: A size that fits if this one runs out of memory against the estimate.
  """

  denoise: int
  decode: int
  grid: Size
  tiles: Tiles | None = None
  instead: str = LESS

  @property
  def most(self) -> int:
    """Bytes that must be free: the maximum, because the stages follow one another."""
    return max(self.denoise, self.decode)


def denoise_bytes(
  config: TransformerConfig, policy: Policy, rows: int, tokens: int
) -> int:
  """Estimates the bytes of a denoising step on each device.

  Args:
    rows: Number of clips times the branches of guidance of a step.
    tokens: Number of video tokens of a clip.
  """
  item, d = decoding.ITEM_BYTES[policy.dtype], config.width
  tensor = devices_of(policy.mesh, ("tensor",))
  of_rows, of_tokens = parts_of_stream(policy, rows)
  text = 2 * config.num_layers * rows * MAX_TOKENS * d * item // tensor
  rows, own = rows // of_rows, math.ceil(tokens / of_tokens)
  activations = _ACTIVATIONS * rows * own * d * item
  if own < tokens:
    activations += 2 * rows * tokens * d * item // tensor
  logits = 0
  if policy.attention == "xla":
    row = 4 * rows * config.num_attention_heads * tokens // tensor
    logits = 2 * max(row, min(LOGITS_BYTES, row * own))
  return activations + text + logits


def plan(
  config: ModelConfig,
  policy: Policy,
  clips: int,
  canvas: Canvas,
  branches: int,
  *,
  tiling: Tiling = "auto",
  free: int | None = None,
  extra: int = 0,
) -> Plan:
  """Estimates the bytes to sample clips of a size, without the weights.

  Args:
    branches: Number of branches of guidance in the largest step (`Sampling.branches`).
    extra: Number of tokens of conditions that are not part of the clip.
    tiling: Tiling of the decoder (see `Sampling`).
    free: Bytes that are free; None means unknown, and decodes whole unless `tiling`
      says otherwise.

  Raises:
    ValueError: If tiles are asked for that are not possible.
  """
  grid = config.vae.latent_shape(*canvas.used)
  tokens = math.prod(grid) + extra
  tiles = decoding.choose(config.vae, policy, clips, grid, tiling=tiling, free=free)
  return Plan(
    denoise=denoise_bytes(config.transformer, policy, branches * clips, tokens),
    decode=decoding.decode_bytes(config.vae, policy, clips, grid, tiles),
    grid=grid,
    tiles=tiles,
  )


def check(
  config: ModelConfig,
  policy: Policy,
  clips: int,
  canvas: Canvas,
  branches: int,
  free: int | None,
  *,
  tiling: Tiling = "auto",
  extra: int = 0,
  made_for: Size = RELEASED,
) -> Plan:
  """Plans a size, and refuses one that does not fit even when decoded in tiles.

  Args:
    branches: Number of branches of guidance in the largest step.
    free: Bytes that are free now (`free_memory`); None means unknown, and refuses
      nothing.
    tiling: Tiling of the decoder (see `plan`).
    extra: Number of tokens of conditions that are not part of the clip.
    made_for: (frames, height, width) of the model's recipe; the message suggests
      nothing larger.

  Raises:
    ValueError: If it does not fit; the message has the plan and the largest size that
      fits. Also if `plan` refuses the tiles.
  """
  sizes = clips, canvas, branches
  needed = plan(config, policy, *sizes, tiling=tiling, free=free, extra=extra)

  def fitting(memory: float, tiling: Tiling) -> str:
    """Names the largest size that needs no more than `memory`."""

    def fits(clips: int, frames: int, height: int, width: int) -> bool:
      grid = config.vae.latent_shape(frames, height, width)
      # The conditions shrink with the clip.
      share = math.prod(grid) / math.prod(config.vae.latent_shape(*canvas.used))
      rows, tokens = branches * clips, math.prod(grid) + math.ceil(share * extra)
      denoise = denoise_bytes(config.transformer, policy, rows, tokens)
      decode = decoding.least_bytes(config.vae, policy, clips, grid, tiling=tiling)
      return max(denoise, decode) <= memory

    return _largest(config.vae, clips, canvas, made_for, fits)

  if free is None or needed.most <= free:
    # The size to name is decoded in the same way: whole, unless this one is in tiles.
    how = tiling if needed.tiles else "off"
    return dataclasses.replace(needed, instead=fitting(_MISJUDGED * needed.most, how))
  frames, height, width = canvas.used
  in_tiles = " in tiles" if needed.tiles else ""
  reason = geometry.why_not(config.vae)
  why = f"{reason}; " if reason and not in_tiles and needed.decode > free else ""
  raise ValueError(
    f"{clips} clip(s) of {frames} frames of {width}x{height} need about "
    f"{_gb(needed.denoise)} to denoise and {_gb(needed.decode)} to decode{in_tiles} "
    f"besides the weights, but {_gb(free)} are free; {why}{fitting(free, tiling)}"
  )


def check_decode(
  config: VAEConfig,
  policy: Policy,
  clips: int,
  canvas: Canvas,
  free: int | None,
  *,
  tiling: Tiling = "auto",
) -> Plan:
  """Plans only the decoding of a video, and refuses one that cannot be decoded.

  Args:
    free: Bytes that are free now (`free_memory`); None means unknown, and refuses
      nothing.
    tiling: Tiling of the decoder (see `plan`).

  Raises:
    ValueError: If it does not fit; the message has the bytes needed and the number of
      frames that fit. Also if `plan` refuses the tiles.
  """

  def needed(frames: int) -> int:
    grid = config.latent_shape(frames, *canvas.used[1:])
    return decoding.least_bytes(config, policy, clips, grid, tiling=tiling)

  frames, t = canvas.used[0], config.temporal_factor
  if free is None or needed(frames) <= free:
    grid = config.latent_shape(*canvas.used)
    tiles = decoding.choose(config, policy, clips, grid, tiling=tiling, free=free)
    decode = decoding.decode_bytes(config, policy, clips, grid, tiles)
    return Plan(0, decode, grid, tiles)
  shorter = range(1, frames, t)
  count = bisect.bisect_right(shorter, free, key=needed)  # Of those that fit.
  fits = f"{shorter[count - 1]} frames of that size fit" if count else "no length fits"
  raise ValueError(
    f"Decoding {canvas.describe(clips)} needs about {_gb(needed(frames))} besides the "
    f"weights, but {_gb(free)} are free; {fits}."
  )


def _gb(size: int) -> str:
  return f"{size / 1e9:.1f} GB"


def _largest(
  vae: VAEConfig,
  clips: int,
  canvas: Canvas,
  made_for: Size,
  fits: Callable[..., bool],
) -> str:
  """Names what fits: fewer clips, or else a shorter clip, or else a smaller frame.

  Only sizes that the model was made for are tried, a few dozen at most.
  """
  fewer = _most_that_fits(range(1, clips), lambda n: fits(n, *canvas.used))
  if fewer:
    return f"{fewer} clip(s) at a time fit."
  t, frames = (
    vae.temporal_factor,
    min(canvas.used[0] - vae.temporal_factor, made_for[0]),
  )
  lengths = range(t + 1, frames + 1, t) or range(1, 2)
  for height, width in _smaller_frames(vae, canvas, made_for):
    length = _most_that_fits(lengths, lambda f, *size: fits(1, f, *size), height, width)
    if length:
      same = (height, width) == canvas.used[1:]
      size = "that size" if same else f"{width}x{height}"
      return f"one clip of {length} frames of {size} fits."
  return "no size fits; end other programs, or take a machine with more memory."


def _most_that_fits(
  numbers: range, fits: Callable[..., bool], *size: int
) -> int | None:
  """Returns the largest fitting one of ascending numbers, or None if none fits."""
  count = bisect.bisect_left(numbers, True, key=lambda n: not fits(n, *size))
  return numbers[count - 1] if count else None


def _smaller_frames(
  vae: VAEConfig, canvas: Canvas, made_for: Size
) -> Iterator[tuple[int, int]]:
  """Yields frame sizes of similar proportions, within the area made for, descending."""
  _, height, width = canvas.used
  most = min(height * width, made_for[1] * made_for[2])
  aspect = min(max(width / height, 1 / _LONGEST), _LONGEST)
  if height * width == most and aspect == width / height:
    yield height, width
  s, before = vae.spatial_factor, None
  for share in _SHARES:
    rows = math.sqrt(share * most / aspect)
    found = tuple(max(s, int(side + 1e-6) // s * s) for side in (rows, rows * aspect))
    if found not in (before, (height, width)):
      yield found
    before = found


def free_memory(device: jax.Device | None = None) -> int | None:
  """Returns the bytes that new arrays may take, or None if that is unknown.

  Args:
    device: Device with memory of its own; None, or a CPU, takes the machine's.
  """
  if device is not None and device.platform != "cpu":
    return free_of(device.memory_stats() or {})
  with contextlib.suppress(OSError):
    for line in Path("/proc/meminfo").read_text().splitlines():
      if line.startswith("MemAvailable:"):
        return int(line.split()[1]) * 1024
  return None


def free_beside(params: Params) -> int | None:
  """Returns the free bytes per device of a model's arrays, the minimum over devices.

  Returns None if one of them is unknown. CPU devices share the machine's memory
  equally.
  """
  devices = jnp.asarray(jax.tree.leaves(params)[0]).devices()
  free = [free_memory(device) for device in devices]
  if None in free:
    return None
  on_host = all(device.platform == "cpu" for device in devices)
  return min(free) // len(devices) if on_host else min(free)


def free_of(stats: dict[str, int]) -> int | None:
  """Returns the bytes that a device's `memory_stats` leave free, or None."""
  if "bytes_limit" not in stats:
    return None
  return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
