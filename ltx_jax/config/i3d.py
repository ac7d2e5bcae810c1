"""The sizes of I3D, whose features FVD compares (`models.i3d`)."""

from __future__ import annotations

import dataclasses

Branches = tuple[int, int, int, int, int, int]
"""Channels of an Inception block: 1x1; before and after 3x3x3, twice; after pooling."""


@dataclasses.dataclass(frozen=True)
class I3DConfig:
  """Sizes of the network; the defaults are those that FVD is computed with.

  Attributes:
    stem: Channels of the three convolutions before the blocks.
    blocks: Names and channels of the blocks.
    classes: Number of logits.
  """

  stem: tuple[int, int, int] = (64, 64, 192)
  blocks: tuple[tuple[str, Branches], ...] = (
    ("3b", (64, 96, 128, 16, 32, 32)),
    ("3c", (128, 128, 192, 32, 96, 64)),
    ("4b", (192, 96, 208, 16, 48, 64)),
    ("4c", (160, 112, 224, 24, 64, 64)),
    ("4d", (128, 128, 256, 24, 64, 64)),
    ("4e", (112, 144, 288, 32, 64, 64)),
    ("4f", (256, 160, 320, 32, 128, 128)),
    ("5b", (256, 160, 320, 32, 128, 128)),
    ("5c", (384, 192, 384, 48, 128, 128)),
  )
  classes: int = 400


I3D = I3DConfig()
"""The network of published figures."""

POOLS = {"4b": (3, 2), "5b": (2, 2)}
"""Size and stride of the pooling over time and space before a block."""

SIDE = 224
"""Height and width of the frames."""

LEAST_FRAMES = 10
"""Number of frames below which time is pooled away before the last average."""
