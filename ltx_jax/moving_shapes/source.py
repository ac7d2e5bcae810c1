"""Clips of the small world as a source: rendered at any size when they are read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8, UInt32

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data.buckets import Ids
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.source import Batch
from ltx_jax.moving_shapes import texture, tint, world

NAME = "moving-shapes"
"""Name of the small world where data sources are named."""

TEXTURED = "moving-shapes-textured"
"""Name of the same with fine texture."""

TINTED = "moving-shapes-tinted"
"""Name of the same in other colours."""

FAINT = "moving-shapes-faint"
"""Name of those of its clips whose shape differs little from its background. A squared
error hardly counts them, so a VAE rounds their corners first."""

_FAINT = 151.0
"""Largest distance, of 442, of a faint shape's colour from its background's."""


def is_faint(caption: str) -> bool:
  """Returns whether a shape's colour is near that of its background in RGB."""
  named = world.parse(caption)
  colors = world.PALETTE[named.color], world.BACKGROUNDS[named.background]
  return math.dist(*colors) <= _FAINT


class World(NamedTuple):
  """A small world as a source.

  Attributes:
    render: Makes a clip of a caption, a seed, and frames, height and width.
    shows: Whether a caption is one of its own.
  """

  render: Callable[[str, int, int, int, int], np.ndarray] = world.clip
  shows: Callable[[str], bool] = lambda caption: True


WORLDS = {
  NAME: World(),
  TEXTURED: World(texture.clip),
  TINTED: World(tint.clip),
  FAINT: World(shows=is_faint),
}
"""The small worlds by their names."""


def shapes(name: str, captions: Sequence[str]) -> Shapes:
  """Returns a small world's samples of those captions that it shows.

  Args:
    name: One of `WORLDS`.
    captions: Some of `world.captions()` or `world.later_captions()`.
  """
  return Shapes(tuple(filter(WORLDS[name].shows, captions)), name=name)


def manifest(buckets: Sequence[Bucket], variants: int) -> Clips:
  """Lists the captions' clips, each in every size, as if they were files.

  A held-out caption, which is never trained on, is listed once, with the score
  `held_out`.

  Args:
    buckets: Sizes in which every caption is rendered.
    variants: Number of clips of each caption and size.
  """
  clips = Clips()
  for bucket in buckets:
    size = f"{bucket.frames}x{bucket.height}x{bucket.width}"
    for part, captions, count in (
      ("t", world.train_captions(), variants),
      ("h", world.held_out_captions(), 1),
    ):
      for number in range(len(captions) * count):
        clips.append(
          Clip(
            f"{part}{number:04d}#{size}",
            NAME,
            captions[number // count],
            width=bucket.width,
            height=bucket.height,
            frames=bucket.frames,
            fps=24.0,
            scores={"held_out": 1.0} if part == "h" else {},
            extra={"seed": number},
          )
        )
  return clips


def read_clip(clip: Clip, bucket: Bucket) -> tuple[UInt8[np.ndarray, "F H W 3"], float]:
  """Renders a clip of `manifest`, and returns it with its frames per second."""
  size = bucket.frames, bucket.height, bucket.width
  return world.clip(clip.caption, int(clip.extra["seed"]), *size), clip.fps


def digest(clip: Clip) -> str:
  """Returns what replaces the hash of a clip's file: a hash of its caption."""
  return hashlib.sha256(f"{NAME} {clip.caption}".encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Shapes:
  """One sample per caption; its seed decides what the caption leaves open.

  Attributes:
    captions: Captions of the samples; by default those to train on.
    fps: Frames per second of the clips.
    name: One of `WORLDS`: what the shapes look like.
  """

  captions: tuple[str, ...] = tuple(world.train_captions())
  fps: float = 24.0
  name: str = NAME

  @cached_property
  def fingerprint(self) -> str:
    """Hash of the name and the captions."""
    content = json.dumps([self.name, self.captions, self.fps])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

  def assign(self, buckets: Sequence[Bucket]) -> list[Ids]:
    """Returns all samples for every bucket, because they are rendered at any size."""
    return [np.arange(len(self.captions))] * len(buckets)

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Refuses, because shapes have no size of their own.

    Raises:
      ValueError: Always.
    """
    raise ValueError(
      "The moving shapes are rendered at any size, so there is none to choose buckets "
      "from; name buckets in the recipe's stages."
    )

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> Batch:
    """Renders `clip(caption, seed, F, H, W)` for each sample."""
    render, size = (
      WORLDS[self.name].render,
      (bucket.frames, bucket.height, bucket.width),
    )
    videos = [
      render(self.captions[i], int(seed), *size)
      for i, seed in zip(ids, seeds, strict=True)
    ]
    fps = np.full(len(ids), self.fps, np.float32)
    return {"video": np.stack(videos), "fps": fps, "seed": seeds}
