"""Clips of the small world as batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, UInt32

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data.loader import Batch, Loader
from ltx_jax.moving_shapes import world


def _render(
  captions: Sequence[str],
  bucket: Bucket,
  ids: Int[np.ndarray, "b"],
  seeds: UInt32[np.ndarray, "b"],
) -> Batch:
  size = bucket.frames, bucket.height, bucket.width
  videos = [
    world.clip(captions[i], int(seed), *size)
    for i, seed in zip(ids, seeds, strict=True)
  ]
  return {
    "video": np.stack(videos),
    "caption_id": ids.astype(np.int32),
    "clip_seed": seeds,
  }


def moving_shapes_loader(
  stages: Sequence[Stage],
  seed: int,
  tokens: Callable[[Bucket], int],
  process: tuple[int, int] = (0, 1),
) -> Loader:
  """Loads clips of `moving_shapes`, of the captions that are trained on.

  Its batches are {"video": uint8 [b F H W 3], "caption_id": int32 [b], the caption's
  position in `moving_shapes.train_captions()`, "clip_seed": uint32 [b]}; the video is
  `clip(caption, clip_seed, F, H, W)`.

  Args:
    stages: What the run goes through, in order.
    seed: Non-negative.
    tokens: Latent positions of one clip of a bucket.
    process: (index, count) of the processes that share every batch.

  Raises:
    ValueError: where a batch cannot be divided between the processes.
  """
  captions = tuple(world.train_captions())
  read = functools.partial(_render, captions)
  return Loader(captions, stages, seed, tokens, read, process)
