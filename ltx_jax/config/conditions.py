"""Which parts of a clip are given in training, while the rest is learned."""

from __future__ import annotations

import dataclasses

from ltx_jax.errors import check_fields

_SHARE = {"at_least": 0, "at_most": 1}


@dataclasses.dataclass(frozen=True)
class ConditionConfig:
  """Parts of a clip that are given in training, and how often (`diffusion.objective`).

  A last frame or a reference next to a clip makes its sequence longer. A batch
  therefore has it for all of its clips or for none: a run compiles one program with it
  and one without.

  Attributes:
    first_frame: Share of clips whose first latent frame is given.
    first_frames: Share of clips whose first two or more latent frames are given, which
      teaches the model to continue a clip.
    first_frames_at_most: Largest number of latent frames that `first_frames` gives.
    last_frame: Share of batches whose clips come with their last frame as a separate
      image; the records need `train.precompute --last-frame`.
    reference: Share of batches whose clips come with their reference, another clip that
      guides them; the manifest names it in the field `reference`.
    max_sigma: Largest noise level of given frames and references; each level is uniform
      in [0, max_sigma].
  """

  first_frame: float = 0.1
  first_frames: float = 0.0
  first_frames_at_most: int = 4
  last_frame: float = 0.0
  reference: float = 0.0
  max_sigma: float = 0.15

  def __post_init__(self):
    shares = "first_frame", "first_frames", "last_frame", "reference", "max_sigma"
    bounds = dict.fromkeys(shares, _SHARE)
    at_most = {"first_frames_at_most": {"at_least": 2, "whole": True}}
    check_fields(self, bounds | at_most, "conditions.{}")
    if self.first_frame + self.first_frames > 1:
      raise ValueError(
        f"conditions.first_frame is {self.first_frame} and conditions.first_frames is "
        f"{self.first_frames}; a clip is in at most one of the two shares, so their "
        "sum must be at most 1."
      )

  @property
  def beside(self) -> dict[str, float]:
    """Shares of the batches whose clips are shown each extra clip, if above 0."""
    shares = {"last": self.last_frame, "reference": self.reference}
    return {name: share for name, share in shares.items() if share}
