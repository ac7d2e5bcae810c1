"""The sizes of EfficientNet-Lite, whose features the aesthetic network reads."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Stage(NamedTuple):
  """Equal blocks one after the other; the first one has the stride.

  Attributes:
    blocks: How many there are.
    size: Height and width of the depthwise kernel.
    stride: Stride of the first block.
    expansion: Channels inside a block, in units of those of its input.
    channels: Channels of the result.
  """

  blocks: int
  size: int
  stride: int
  expansion: int
  channels: int


@dataclasses.dataclass(frozen=True)
class EfficientNetConfig:
  """An EfficientNet without squeeze-and-excitation; the defaults are Lite0.

  Attributes:
    stem: Channels after the first convolution, which has stride 2.
    stages: Its stages of inverted bottlenecks.
    features: Channels of the features.
    labels: Number of labels.
  """

  stem: int = 32
  stages: tuple[Stage, ...] = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
  )
  features: int = 1280
  labels: int = 1000

  @property
  def maps(self) -> tuple[int, ...]:
    """Numbers of the stages that end at strides 2, 4, 8 and so on."""
    strides = [stage.stride for stage in self.stages[1:]]
    last = len(self.stages) - 1
    return (*(i for i, stride in enumerate(strides) if stride == 2), last)

  @property
  def groups(self) -> tuple[int, ...]:
    """Sizes of what `models.aesthetic.pooled` returns for a picture."""
    channels = (self.stages[i].channels for i in self.maps)
    return (*(size for size in channels for _ in range(2)), self.features)
