"""Clips of the small world as a source: rendered when they are read, in any size."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt32

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data.buckets import Ids
from ltx_jax.data.source import Batch
from ltx_jax.moving_shapes import world

NAME = "moving-shapes"
"""What the small world is called where data are named."""


@dataclasses.dataclass(frozen=True)
class Shapes:
  """One sample a caption; its seed decides what the caption leaves open.

  Attributes:
    captions: Those that are trained on, unless others are named.
    fps: Frames a second that the clips are taken to have.
  """

  captions: tuple[str, ...] = tuple(world.train_captions())
  fps: float = 24.0

  @cached_property
  def fingerprint(self) -> str:
    """Hash of the captions."""
    content = json.dumps([NAME, self.captions, self.fps])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

  def assign(self, buckets: Sequence[Bucket]) -> list[Ids]:
    """Returns all samples for every bucket, since they are rendered to any size."""
    return [np.arange(len(self.captions))] * len(buckets)

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Refuses: shapes have no size of their own.

    Raises:
      ValueError: always.
    """
    raise ValueError(
      "The moving shapes are rendered in any size, so there are none to find buckets "
      "from; name buckets in the recipe's stages."
    )

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> Batch:
    """Renders `world.clip(caption, seed, F, H, W)` for each sample."""
    size = bucket.frames, bucket.height, bucket.width
    videos = [
      world.clip(self.captions[i], int(seed), *size)
      for i, seed in zip(ids, seeds, strict=True)
    ]
    fps = np.full(len(ids), self.fps, np.float32)
    return {"video": np.stack(videos), "fps": fps, "seed": seeds}
