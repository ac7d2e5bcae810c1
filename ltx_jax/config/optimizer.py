"""Frozen configurations of optimisers."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from ltx_jax.config.metadata import COUNT, POSITIVE
from ltx_jax.errors import check_fields, check_number

_DECAY = {"at_least": 0, "below": 1}


@dataclasses.dataclass(frozen=True)
class UpdateConfig:
  """AdamW, or Muon for kernels with AdamW for the rest; a warm-up, then a schedule.

  Attributes:
    learning_rate: Peak rate of AdamW.
    muon_learning_rate: Peak rate of Muon for kernels; ignored by `adamw`.
    schedule: Learning rate after the warm-up: `cosine` falls along a cosine, `linear`
      falls along a line, `constant` stays.
    final_fraction: Share of the peak rate at which `cosine` and `linear` end.
    clip_norm: Largest global norm of the gradients; larger ones are scaled down to it.
      inf turns this off.
  """

  name: Literal["adamw", "muon"] = "adamw"
  learning_rate: float = 1e-4
  muon_learning_rate: float = 5e-3
  b1: float = 0.9
  b2: float = 0.99
  weight_decay: float = 1e-2
  warmup_steps: int = 100
  schedule: Literal["cosine", "linear", "constant"] = "cosine"
  final_fraction: float = 0.02
  clip_norm: float = 1.0

  def __post_init__(self):
    bounds = {
      "learning_rate": POSITIVE,
      "muon_learning_rate": POSITIVE,
      "b1": _DECAY,
      "b2": _DECAY,
      "weight_decay": {"at_least": 0},
      "warmup_steps": {"at_least": 0, "whole": True},
      "final_fraction": {"at_least": 0, "at_most": 1},
    }
    check_fields(self, bounds, "{} of an optimizer")
    if self.clip_norm != math.inf:
      check_number("clip_norm of an optimizer", self.clip_norm, above=0)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(UpdateConfig):
  """The optimiser of a run, with what happens before and after its updates.

  The help shows a class's own docstring alone, so it names the inherited fields again.

  Attributes:
    learning_rate: Peak rate of AdamW.
    muon_learning_rate: Peak rate of Muon for kernels; ignored by `adamw`.
    schedule: Learning rate after the warm-up: `cosine` falls along a cosine, `linear`
      falls along a line, `constant` stays.
    final_fraction: Share of the peak rate at which `cosine` and `linear` end.
    clip_norm: Largest global norm of the gradients; larger ones are scaled down to it.
      inf turns this off.
    accumulate: Number of micro-batches whose gradients are averaged for one update.
    ema_decay: Decay of the averaged parameters (EMA); 0 keeps none.
    not_finite: Reaction to a loss or gradient that is NaN or infinite: `stop` ends the
      run, `skip` skips the update and continues.
    max_skipped: Number of skipped updates in a row after which the run stops, even with
      `skip`.
  """

  accumulate: int = 1
  ema_decay: float = 0.0
  not_finite: Literal["stop", "skip"] = "stop"
  max_skipped: int = 20

  def __post_init__(self):
    super().__post_init__()
    bounds = {"accumulate": COUNT, "max_skipped": COUNT, "ema_decay": _DECAY}
    check_fields(self, bounds, "{} of an optimizer")
