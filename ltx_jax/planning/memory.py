"""Will it fit? What sampling needs beside the weights, by formula, before it runs;
and what is said where memory ran out all the same.

    denoise   10 activations of the transformer's width a token, the text's keys and
              values of all layers, and twice the logits of a chunk of queries
    decode    in tiles where it would not fit whole (`planning.decoding`)

On several devices it is what one of them needs of its share, and the keys and values of
all tokens, which each has.

The formulas were fitted to the compiler's own figures and lie within a third of them
(`tests/analysis/test_memory.py`), which is enough to refuse a size that cannot work and
to name one that can. Compiling would tell exactly, minutes later.
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
"""What the released models were made for, where no recipe says otherwise."""

_ACTIVATIONS = 10
_SHARES = (1, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)  # Of the area made for.
_LONGEST = 2.5  # Times the other side.
_MISJUDGED = 2 / 3  # Of what a size needs by formula, where that proved too little.


@dataclasses.dataclass(frozen=True)
class Plan:
  """Bytes that each stage of sampling needs beside the weights.

  Attributes:
    grid: Frames, height and width of the latents that are decoded.
    tiles: Tiles that they are decoded in; None decodes them whole.
    instead: What fits where this runs out of memory against all expectation.
  """

  denoise: int
  decode: int
  grid: Size
  tiles: Tiles | None = None
  instead: str = LESS

  @property
  def most(self) -> int:
    """What must be free: the stages follow one another."""
    return max(self.denoise, self.decode)


def denoise_bytes(
  config: TransformerConfig, policy: Policy, rows: int, tokens: int
) -> int:
  """Estimates a denoising step, on each device.

  Args:
    rows: Clips, times the branches of guidance that a step evaluates.
    tokens: Video tokens of a clip.
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
  """Estimates what sampling clips of a size needs beside the weights.

  Args:
    branches: Number of branches of guidance that the largest step evaluates
      (`Sampling.branches`).
    extra: Tokens of what is given that are not part of the clip.
    tiling: How the decoder's video is cut into tiles (see `Sampling`).
    free: Bytes that are free; None, unknown, decodes whole unless told otherwise.

  Raises:
    ValueError: where tiles are asked for that cannot be.
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
  """Plans a size, and refuses one that will not fit, even decoded in tiles.

  Args:
    branches: Number of branches of guidance that the largest step evaluates.
    free: Bytes that are free now (`free_memory`); None, unknown, refuses nothing.
    tiling: How the decoder's video is cut into tiles (see `plan`).
    extra: Tokens of what is given that are not part of the clip.
    made_for: (frames, height, width) of the model's recipe; none is named that is
      larger.

  Raises:
    ValueError: with the plan, and the largest size that fits; or as of `plan`.
  """
  sizes = clips, canvas, branches
  needed = plan(config, policy, *sizes, tiling=tiling, free=free, extra=extra)

  def fitting(memory: float, tiling: Tiling) -> str:
    """Names the largest size that needs no more than `memory`."""

    def fits(clips: int, frames: int, height: int, width: int) -> bool:
      grid = config.vae.latent_shape(frames, height, width)
      # What is given shrinks with the clip.
      share = math.prod(grid) / math.prod(config.vae.latent_shape(*canvas.used))
      rows, tokens = branches * clips, math.prod(grid) + math.ceil(share * extra)
      denoise = denoise_bytes(config.transformer, policy, rows, tokens)
      decode = decoding.least_bytes(config.vae, policy, clips, grid, tiling=tiling)
      return max(denoise, decode) <= memory

    return _largest(config.vae, clips, canvas, made_for, fits)

  if free is None or needed.most <= free:
    # What was to be decoded whole is whole in what is named, for that is how it runs.
    how = tiling if needed.tiles else "off"
    return dataclasses.replace(needed, instead=fitting(_MISJUDGED * needed.most, how))
  frames, height, width = canvas.used
  in_tiles = " in tiles" if needed.tiles else ""
  reason = geometry.why_not(config.vae)
  why = f"{reason}; " if reason and not in_tiles and needed.decode > free else ""
  raise ValueError(
    f"{clips} clip(s) of {frames} frames of {width}x{height} need about "
    f"{_gb(needed.denoise)} to denoise and {_gb(needed.decode)} to decode{in_tiles} "
    f"beside the weights, and {_gb(free)} are free; {why}{fitting(free, tiling)}"
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
  """Plans the decoding of a video alone, and refuses one that cannot be decoded.

  Args:
    free: Bytes that are free now (`free_memory`); None, unknown, refuses nothing.
    tiling: How the decoder's video is cut into tiles (see `plan`).

  Raises:
    ValueError: with what it needs, and how many frames can be decoded; or as of `plan`.
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
    f"Decoding {canvas.describe(clips)} needs about {_gb(needed(frames))} beside the "
    f"weights, and {_gb(free)} are free; {fits}."
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
  """Names what fits: fewer clips, else a shorter clip, else a smaller frame.

  Of sizes that the model was made for, and in a few dozen trials whatever is asked for.
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
  """The largest of rising numbers that fits, where all below it do; None for none."""
  count = bisect.bisect_left(numbers, True, key=lambda n: not fits(n, *size))
  return numbers[count - 1] if count else None


def _smaller_frames(
  vae: VAEConfig, canvas: Canvas, made_for: Size
) -> Iterator[tuple[int, int]]:
  """Frames of about the proportions asked for, within the area made for, falling."""
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


def free_beside(params: Params) -> int | None:
  """Returns what is free on each device where a model's arrays lie, the least of it.

  None where one of them does not say. Devices of a CPU have equal shares of its memory.
  """
  devices = jnp.asarray(jax.tree.leaves(params)[0]).devices()
  free = [free_memory(device) for device in devices]
  if None in free:
    return None
  on_host = all(device.platform == "cpu" for device in devices)
  return min(free) // len(devices) if on_host else min(free)


def free_of(stats: dict[str, int]) -> int | None:
  """Returns what a device's `memory_stats` leave free, or None where they say not."""
  if "bytes_limit" not in stats:
    return None
  return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
