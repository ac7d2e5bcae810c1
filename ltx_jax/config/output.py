"""Outputs of a training run: files in a folder, and a project of Weights & Biases."""

from __future__ import annotations

import dataclasses

from ltx_jax.config.metadata import COUNT
from ltx_jax.errors import check_fields


@dataclasses.dataclass(frozen=True)
class OutputConfig:
  """Outputs of a run and their intervals in steps; a saved step is logged as well.

  Attributes:
    keep: Number of newest checkpoints that are kept.
    keep_every: Interval in steps of checkpoints that are kept for good, a multiple of
      `save_every`; default: none.
    wandb: Weights & Biases project that also gets the numbers and images; empty for
      none.
  """

  folder: str = "runs/run"
  log_every: int = 20
  sample_every: int = 500
  evaluate_every: int = 500
  save_every: int = 250
  keep: int = 2
  keep_every: int | None = None
  wandb: str = ""

  def __post_init__(self):
    # To disable one, use a number larger than the run's steps.
    every = "log_every", "sample_every", "evaluate_every", "save_every", "keep_every"
    check_fields(self, dict.fromkeys((*every, "keep"), COUNT), "output.{}")
    if self.keep_every is not None and self.keep_every % self.save_every:
      raise ValueError(
        f"output.keep_every is {self.keep_every}; it must be a multiple of "
        f"output.save_every = {self.save_every}, or those steps are never saved."
      )
