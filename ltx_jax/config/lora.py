"""Low-rank updates that are trained instead of a transformer's own weights."""

from __future__ import annotations

import dataclasses

from ltx_jax.errors import check_fields
from ltx_jax.typing import Weights

LAYERS = ("to_q", "to_k", "to_v", "to_out", "proj_in", "proj_out")
"""Linear layers of a block: of both attentions and of the feed-forward network."""


@dataclasses.dataclass(frozen=True)
class LoRAConfig:
  """Layers and size of the low-rank updates (`training.lora`).

  Attributes:
    rank: Rank of the updates; 0 trains the whole network.
    alpha: Scale of the updates, which are multiplied by alpha / rank; default: alpha =
      rank.
    layers: Layers of each block that have an update, from `to_q`, `to_k`, `to_v`,
      `to_out`, `proj_in` and `proj_out`.
    base_weights: 8-bit format of the matrices in the frozen transformer's blocks,
      `int8` or `fp8`, with half of bfloat16's memory; default: the precision of the
      run.
  """

  rank: int = 0
  alpha: float | None = None
  layers: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out")
  base_weights: Weights | None = None

  def __post_init__(self):
    bounds = {"rank": {"at_least": 0, "whole": True}, "alpha": {"above": 0}}
    check_fields(self, bounds, "lora.{}")
    unknown = [name for name in self.layers if name not in LAYERS]
    if unknown or not self.layers:
      raise ValueError(
        f"lora.layers is {self.layers}; choose among {', '.join(LAYERS)}."
      )

  @property
  def scale(self) -> float:
    """Factor of the product of the two matrices."""
    return 1.0 if self.alpha is None or not self.rank else self.alpha / self.rank
