"""What a run carries from step to step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from ltx_jax.typing import Params

Metrics = dict[str, jax.Array]
"""Scalars by name."""


class TrainState(NamedTuple):
  """What a run carries from step to step.

  Attributes:
    step: int32 scalar, updates done.
    params: What is trained, float32.
    opt_state: Of the optimiser.
    ema: The averaged parameters; {} where `ema_decay` is 0.
    extra: What else a step carries, e.g. the VAE's running latent statistics.
  """

  step: jax.Array
  params: Params
  opt_state: Any
  ema: Params
  extra: Params
