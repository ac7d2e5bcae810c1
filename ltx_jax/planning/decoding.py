"""How to decode a clip in the memory there is: whole or in tiles, and the extra work.

    whole     if it fits
    exact     otherwise: the last stages in tiles; of the tiles that fit, those with the
              least work
    blended   if no exact tiles fit, or if they would do several times the work

The bytes of a decode are the video, and those of its largest layer: its input, its
output, the shortcut next to it, and what the platform's form of convolution unfolds. In
tiles they are the maximum of two: the part before the tiles; or the array that the
tiles are cut from, the video, and a tile's largest layer. `models.tiles` says which
tiles are possible.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Sequence

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.sampling import check_tiling
from ltx_jax.models import tiles as geometry
from ltx_jax.models import winograd
from ltx_jax.models.convolution import pays_transforms
from ltx_jax.models.sharded import parts_of_frames
from ltx_jax.models.tiles import BlendedTiles, ExactTiles, Tiles
from ltx_jax.planning import flops
from ltx_jax.planning.vae_walk import Layer, Size, walk_decoder, walk_head, walk_tail
from ltx_jax.platforms import Policy
from ltx_jax.typing import Tiling

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_LOG = logging.getLogger("ltx_jax")
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)  # Numbers of tiles along a side.
_WINDOWS = (32, 24, 16, 12, 8, 6, 5)  # Latent positions along a blended tile.
_MOST_WORK = 4.0  # Limit of exact tiles' work, relative to a whole decode.


def decode_bytes(
  config: VAEConfig,
  policy: Policy,
  clips: int,
  size: Size,
  tiles: Tiles | None = None,
) -> int:
  """Estimates the bytes to decode latents of (frames, height, width), without weights.

  With several devices, these are the bytes that each needs.
  """
  if tiles is None:
    layers = walk_decoder(config, *size)
    last = layers[-1]
    pixels = clips * math.prod(last.after) * last.features
    pixels //= parts_of_frames(policy, clips, last.after[1:])
    return most_numbers(layers, policy, clips) * ITEM_BYTES[policy.dtype] + 4 * pixels
  before, cut, channels = walk_head(config, tiles.begin, size)
  axes = tiles.axes(config, cut)
  layers = walk_tail(config, tiles.begin, tuple(axis.size for axis in axes))
  held = clips * math.prod(cut) * channels
  pixels = clips * math.prod(axis.pixels for axis in axes) * config.out_channels
  item, numbers = ITEM_BYTES[policy.dtype], held + most_numbers(layers, policy, clips)
  return max(item * most_numbers(before, policy, clips), item * numbers + 4 * pixels)


def most_numbers(layers: Iterable[Layer], policy: Policy, clips: int) -> int:
  """Returns the elements that the largest of some layers keeps on each device."""
  return max((_numbers(layer, policy, clips) for layer in layers), default=0)


def _numbers(layer: Layer, policy: Policy, clips: int) -> int:
  """Returns the elements that a layer keeps: input, output, shortcut, unfolded."""
  before, after = math.prod(layer.before), math.prod(layer.after)
  c, out = layer.channels, layer.features
  parts = parts_of_frames(policy, clips, layer.before[1:])
  measured = layer.kernel == 3 and policy.convolution == "measured"
  if measured and _by_winograd(layer, policy, clips):
    tiles = winograd.tiles_at_once(clips, *layer.after)  # And their products.
    held = before * (2 * c + min(c, out)) + after * out  # The input, padded as well.
    whole = clips * held + winograd.PRODUCTS * tiles * (c + out)
    return whole // parts + winograd.PRODUCTS * c * out  # The kernel, transformed.
  unfolded = piece = 0
  if measured:
    piece = 27 * c * out  # The kernel, cut by its time steps.
    unfolded = 2 * out * after  # The sum so far, and the next time step's part.
  return clips * (before * c + 2 * after * out + unfolded) // parts + piece


def _by_winograd(layer: Layer, policy: Policy, clips: int) -> bool:
  positions = clips * math.prod(side + 2 for side in layer.before)
  sizes = positions, layer.channels, layer.features
  return layer.before == layer.after and pays_transforms(*sizes, policy.dtype)


def choose(
  config: VAEConfig,
  policy: Policy,
  clips: int,
  size: Size,
  *,
  tiling: Tiling = "auto",
  free: int | None = None,
) -> Tiles | None:
  """Returns the tiles in which to decode latents of a size, or None to decode whole.

  Args:
    size: Frames, height and width of the latents.
    tiling: "auto", "off", a tile's side in pixels, or its (side, frames).
    free: Bytes that are free next to the weights; None means unknown, and tiles only
      if asked. If nothing fits, the tiles that need least are returned.

  Raises:
    ValueError: If a tile is asked for that is not possible.
  """
  if tiling == "off":
    return None
  if tiling != "auto":
    return _asked(config, size, tiling)

  def fits(tiles: Tiles | None) -> bool:
    return decode_bytes(config, policy, clips, size, tiles) <= free

  if free is None or fits(None):
    return None
  least = _least(config, size)
  if least is None or not fits(least):
    return least
  found = _first_that_fits(_exact(config, size), fits)
  return found or _first_that_fits(_blended(config, size), fits) or least


def least_bytes(
  config: VAEConfig, policy: Policy, clips: int, size: Size, *, tiling: Tiling = "auto"
) -> int:
  """Estimates the smallest number of bytes in which latents of a size can be decoded.

  Raises:
    ValueError: If `choose` refuses the tiling.
  """
  if tiling == "auto":
    ways = (None, _least(config, size))
  else:
    ways = (choose(config, policy, clips, size, tiling=tiling),)
  return min(decode_bytes(config, policy, clips, size, tiles) for tiles in ways)


def _least(config: VAEConfig, size: Size) -> Tiles | None:
  """Returns the smallest possible tiles, or None if there are none."""
  blended = _blended(config, size)
  if blended:
    return blended[-1]
  exact = _exact(config, size)
  return min(exact, key=lambda tiles: math.prod(tiles.window), default=None)


def _first_that_fits(
  candidates: Sequence[Tiles], fits: Callable[[Tiles], bool]
) -> Tiles | None:
  """Tries tiles in order, but skips any larger than one that did not fit."""
  failed = []

  def is_larger(tiles: Tiles, than: Tiles) -> bool:
    pairs = zip(tiles.window, than.window, strict=True)
    return tiles.begin == than.begin and all(n >= other for n, other in pairs)

  for tiles in candidates:
    if any(is_larger(tiles, than) for than in failed):
      continue
    if fits(tiles):
      return tiles
    failed.append(tiles)
  return None


def settle(
  config: VAEConfig,
  policy: Policy,
  shape: tuple[int, ...],
  tiling: Tiling,
  free: int | None,
) -> Tiles | None:
  """Applies `choose` to latents of a shape [b f h w c], and logs the tiles.

  Raises:
    ValueError: If `choose` refuses the tiling, or its form is unknown.
  """
  check_tiling(tiling)
  size = tuple(shape[1:4])
  tiles = choose(config, policy, shape[0], size, tiling=tiling, free=free)
  if tiles is not None:
    _LOG.warning(note(config, size, tiles))
  return tiles


def _exact(config: VAEConfig, size: Size) -> list[ExactTiles]:
  """Lists exact tiles for several counts per side, those with the least work first."""
  whole, found = flops.decoder(config, *size), []
  for begin in geometry.cuts(config):
    layers, cut, _ = walk_head(config, begin, size)
    head = sum(layer.flops for layer in layers)
    time, space = geometry.sides(config, begin)
    along = [
      _windows(n, side.overlap)
      for n, side in zip(cut, (time, space, space), strict=True)
    ]
    for places in itertools.product(*along):
      tail = (whole - head) * math.prod(share for _, share in places)
      window = tuple(positions for positions, _ in places)
      if window != cut and head + tail <= _MOST_WORK * whole:
        found.append((head + tail, ExactTiles(begin, window)))
  found.sort(key=lambda entry: entry[0])
  return [tiles for _, tiles in found]


def _windows(n: int, overlap: int) -> list[tuple[int, float]]:
  """Lists (positions per tile, work relative to no tiles), by the number of tiles."""
  found = {}
  for count in _COUNTS:
    positions = -(-(n + (count - 1) * overlap) // count)
    if count == 1 or positions > overlap:
      found.setdefault(positions, count * positions / n)
  return list(found.items())


def _blended(config: VAEConfig, size: Size) -> list[BlendedTiles]:
  """Lists blended tiles, the largest first."""
  if geometry.why_not(config):
    return []
  found = [
    BlendedTiles((min(frames, size[0]), min(side, size[1]), min(side, size[2])))
    for frames in _WINDOWS
    for side in _WINDOWS
  ]
  distinct = {tiles: math.prod(tiles.window) for tiles in found}
  ordered = sorted(distinct, key=distinct.get, reverse=True)
  return [tiles for tiles in ordered if not _is_whole(config, size, tiles)]


def _cut(config: VAEConfig, size: Size, tiles: Tiles) -> tuple[geometry.Axis, ...]:
  return tiles.axes(config, walk_head(config, tiles.begin, size)[1])


def _is_whole(config: VAEConfig, size: Size, tiles: Tiles) -> bool:
  cut = walk_head(config, tiles.begin, size)[1]
  return all(n <= most for n, most in zip(cut, tiles.window, strict=True))


def _asked(
  config: VAEConfig, size: Size, tiling: int | tuple[int, int]
) -> ExactTiles | None:
  """Returns exact tiles of at most the given size, in the last stage."""
  cuts = geometry.cuts(config)
  if not cuts:
    reason = geometry.why_not(config) or "this VAE has no up-sampling to cut it at"
    raise ValueError(f"tiling is {tiling}; {reason}: take 'auto' or 'off'.")
  time, space = geometry.sides(config, cuts[0])
  cut = walk_head(config, cuts[0], size)[1]
  pixels, *frames = tiling if isinstance(tiling, tuple) else (tiling,)
  rows = pixels // space.ratio
  window = ((frames[0] + time.lost) // time.ratio if frames else cut[0], rows, rows)
  shared = (time.overlap, space.overlap, space.overlap)
  for positions, halo, n in zip(window, shared, cut, strict=True):
    if positions <= halo and positions < n:
      raise ValueError(
        f"tiling is {tiling}; with its halo a tile of this VAE has at least "
        f"{space.made(space.overlap + 1)} pixels a side and "
        f"{time.made(time.overlap + 1)} frames."
      )
  tiles = ExactTiles(cuts[0], window)
  return None if _is_whole(config, size, tiles) else tiles


def extra_work(config: VAEConfig, size: Size, tiles: Tiles) -> float:
  """Returns the work that tiles repeat, as a share of the whole decode's FLOPs.

  Args:
    size: Frames, height and width of the latents.
  """
  before, cut, _ = walk_head(config, tiles.begin, size)
  axes = tiles.axes(config, cut)
  tile = walk_tail(config, tiles.begin, tuple(axis.size for axis in axes))
  work = sum(layer.flops for layer in before)
  work += geometry.count(axes) * sum(layer.flops for layer in tile)
  return work / flops.decoder(config, *size) - 1


def note(config: VAEConfig, size: Size, tiles: Tiles) -> str:
  """Returns a sentence about decoding latents in tiles, and the extra work."""
  axes = _cut(config, size, tiles)
  frames, height, width = (axis.weights.shape[1] for axis in axes)
  sentence = (
    f"decoding in {geometry.count(axes)} tiles of {frames} frames of {width}x{height}, "
    f"{100 * extra_work(config, size, tiles):.0f} % more work than whole"
  )
  if tiles.begin is None:
    sentence += (
      "; they are blended, so the video is close to the whole decode's, not equal"
    )
  return f"{sentence}."
