"""Assignment of clips to buckets, and the choice of buckets for a set of clips.

A clip is scaled to cover its bucket and cropped at its centre. The cost of this is

    cost = log(1 / kept) + (2 log(scale) where scale > 1, 0.1 log(1 / scale) else)   (1)

where `kept` is the share of the image that the crop leaves, and `scale` the factor by
which each side grows. Enlarging invents detail; shrinking only drops it, so it is
cheap.

A clip goes to the shape (height, width) with the lowest cost, among those that have a
bucket no longer than the clip. Of that shape it takes every length that it has enough
frames for: one clip may serve several lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data.buckets import Ids
from ltx_jax.data.clips import Clips, Fault

Sizes = Int[np.ndarray, "n 3"]
"""(frames, height, width) of clips."""

_ENLARGING, _SHRINKING = 2.0, 0.1


def cost(sizes: Sizes, shapes: Int[np.ndarray, "s 2"]) -> Float[np.ndarray, "n s"]:
  """Returns the cost of each clip in each shape (height, width), equation (1)."""
  height, width = (sizes[:, None, axis].astype(np.float64) for axis in (1, 2))
  tall, wide = shapes[None, :, 0] / height, shapes[None, :, 1] / width  # n s
  scale = np.log(np.maximum(tall, wide))
  cropped = np.abs(np.log(tall) - np.log(wide))
  return cropped + np.where(scale > 0, _ENLARGING * scale, -_SHRINKING * scale)


def cropped(sizes: Sizes, bucket: Bucket) -> Float[np.ndarray, "n"]:
  """Returns the share of each clip's image that is cropped to cover a bucket."""
  ratio = sizes[:, 1] / sizes[:, 2] * bucket.width / bucket.height
  return 1 - np.minimum(ratio, 1 / ratio)


def assign(sizes: Sizes, buckets: Sequence[Bucket]) -> list[Ids]:
  """Returns for each bucket the clips that it takes, as positions in `sizes`."""
  shapes = np.array(sorted({(b.height, b.width) for b in buckets}))
  shortest = np.array(
    [
      min(b.frames for b in buckets if (b.height, b.width) == tuple(shape))
      for shape in shapes
    ]
  )
  costs = cost(sizes, shapes)
  costs[sizes[:, :1] < shortest[None]] = np.inf  # Too short for the shape.
  chosen = costs.argmin(axis=1)
  fits = np.isfinite(costs.min(axis=1))
  return [
    np.flatnonzero(
      fits
      & (shapes[chosen] == (bucket.height, bucket.width)).all(axis=1)
      & (sizes[:, 0] >= bucket.frames)
    )
    for bucket in buckets
  ]


def too_short(clips: Clips, buckets: Sequence[Bucket]) -> list[Fault]:
  """Returns the clips with fewer frames than any bucket, which no bucket takes."""
  frames, least = clips.sizes()[:, 0], min(bucket.frames for bucket in buckets)
  return [
    Fault(
      clips.ids[row], f"it has {frames[row]} frames, but every bucket needs {least}"
    )
    for row in np.flatnonzero(frames < least).tolist()
  ]


def exact(sizes: Sizes, auto: AutoBuckets) -> tuple[Bucket, ...]:
  """Returns a bucket for each size that occurs, weighted by its number of clips.

  It is for clips that are encoded already, so their sizes are final. Only the commonest
  `auto.shapes * auto.lengths` sizes are used.
  """
  found, counts = np.unique(sizes, axis=0, return_counts=True)
  order = np.argsort(-counts, kind="stable")[: auto.shapes * auto.lengths]
  return tuple(
    Bucket(*(int(side) for side in found[i]), weight=float(counts[i])) for i in order
  )


def auto_buckets(
  sizes: Sizes,
  auto: AutoBuckets,
  factors: tuple[int, int],
  tokens: Callable[[Bucket], int],
) -> tuple[Bucket, ...]:
  """Returns buckets that suit these clips, weighted by the clips that they take.

  Shapes are the `auto.shapes` commonest after rounding every clip to sides that the VAE
  takes, no larger than the clip and of at most `auto.pixels`. Lengths are quantiles of
  the clips' lengths, rounded down to t k + 1 frames. Buckets of more than
  `auto.clip_tokens` tokens are shortened.

  Args:
    sizes: Sizes (frames, height, width) of the clips.
    auto: Limits of the buckets.
    factors: (frames, pixels a side) of one latent position.
    tokens: Function that returns the number of tokens of one clip of a bucket.

  Raises:
    ValueError: If every clip is smaller than one latent position.
  """
  t, s = factors
  sides = _rounded_shapes(sizes, auto.pixels, s)
  if not len(sides):
    raise ValueError(
      f"All {len(sizes)} clips are smaller than {s}x{s} pixels, which is one latent "
      "position of this VAE; name buckets to enlarge them."
    )
  found, counts = np.unique(sides, axis=0, return_counts=True)
  shapes = found[np.argsort(-counts, kind="stable")[: auto.shapes]]
  lengths = _lengths(sizes[:, 0], auto.lengths, t)
  buckets = []
  for height, width in shapes:
    for frames in lengths:
      bucket = Bucket(int(frames), int(height), int(width))
      while tokens(bucket) > auto.clip_tokens and bucket.frames > 1:
        bucket = Bucket(bucket.frames - t, bucket.height, bucket.width)
      buckets.append(bucket)
  buckets = list(dict.fromkeys(buckets))
  taken = [len(ids) for ids in assign(sizes, buckets)]
  return tuple(
    Bucket(b.frames, b.height, b.width, weight=float(count))
    for b, count in zip(buckets, taken, strict=True)
    if count
  )


def _rounded_shapes(sizes: Sizes, pixels: int, side: int) -> Int[np.ndarray, "_ 2"]:
  """Returns each clip's sides in whole latent positions, shrunk to at most `pixels`."""
  sides = sizes[:, 1:].astype(np.float64)
  shrink = np.minimum(1.0, np.sqrt(pixels / np.prod(sides, axis=1)))
  # Slightly above 1, so that rounding does not cost a whole position.
  whole = np.floor(sides * shrink[:, None] / side + 1e-6).astype(np.int64) * side
  return whole[(whole > 0).all(axis=1)]


def _lengths(frames: Int[np.ndarray, "n"], count: int, t: int) -> list[int]:
  """Returns quantiles of the clips' lengths, as t k + 1 frames, longest first."""
  shares = [1 / (2 * count) + k / count for k in range(count)]
  lengths = np.quantile(frames, shares, method="lower")
  return sorted({math.floor((n - 1) / t) * t + 1 for n in lengths}, reverse=True)
