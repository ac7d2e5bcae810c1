"""The compared recipes: one baseline, and controls that differ in one thing each.

All train the small transformer from nothing on the records of many sizes
(`configs/moving_shapes_buckets.py`), for as many steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from configs import moving_shapes_buckets
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import Bucket, FlowConfig, OutputConfig, TransformerRun

STEPS = 500
SEEDS = (1, 2)
BASELINE = "baseline"
NO_CLAMP = 1e-7
"""Share beyond which the density is constant, so small that it never is."""

Change = Callable[[TransformerRun], TransformerRun]
"""From the baseline's recipe to a control's."""


class Variant(NamedTuple):
  """One side of a comparison.

  Attributes:
    claim: Statement of the paper that this is the control of; "" of the baseline.
    change: What differs.
    verdict: What the runs of both seeds in docs/experiments/ say of the claim.
  """

  claim: str
  change: Change
  verdict: str = ""


def baseline(seed: int, data: str, folder: str) -> TransformerRun:
  """The recipe of all, for one seed."""
  run = moving_shapes_buckets.transformer()
  (stage,) = run.stages
  every = {"log_every": 10, "evaluate_every": 50, "sample_every": STEPS}
  return dataclasses.replace(
    run,
    stages=(dataclasses.replace(stage, steps=STEPS),),
    optimizer=dataclasses.replace(run.optimizer, ema_decay=0.99),
    data=(data,),
    output=OutputConfig(folder, save_every=100, keep=1, **every),
    seed=seed,
  )


def _rope(run: TransformerRun) -> TransformerRun:
  config = dataclasses.replace(run.transformer, rope_spacing="inverse_exponential")
  return dataclasses.replace(run, transformer=config)


def _flow(**changes: object) -> Change:
  def change(run: TransformerRun) -> TransformerRun:
    return dataclasses.replace(run, flow=FlowConfig(**changes))

  return change


def _where(
  keep: Callable[[Bucket], bool],
) -> Change:
  def change(run: TransformerRun) -> TransformerRun:
    (stage,) = run.stages
    buckets = tuple(filter(keep, stage.buckets))
    return dataclasses.replace(
      run, stages=(dataclasses.replace(stage, buckets=buckets),)
    )

  return change


def _is_largest(bucket: Bucket) -> bool:
  size = bucket.frames, bucket.height, bucket.width
  return size in ((25, 128, 128), (1, 128, 128))


VARIANTS = {
  BASELINE: Variant("", lambda run: run),
  "inverse-rope": Variant(
    "Exponentially spaced RoPE frequencies learn better than inverse-exponential ones",
    _rope,
    "Confirmed: all five figures differ by far more than the noise.",
  ),
  "uniform": Variant(
    "Log-normal timesteps, shifted by the number of tokens, learn better than uniform "
    "ones",
    _flow(uniform_share=1.0),
    "Not seen at this scale: with uniform timesteps the loss at the unseen size is "
    "slightly lower, and no other figure differs.",
  ),
  "no-dropping": Variant(
    "Token dropping lets clips of several sizes share batches at no cost",
    lambda run: dataclasses.replace(run, token_dropping=0.0),
    "Confirmed: no figure differs.",
  ),
  "one-size": Variant(
    "Training at many sizes and lengths generalises to those never trained on",
    _where(_is_largest),
    "Half confirmed: at the unseen size the loss is far lower after training at many "
    "sizes. The judge reads more words right in the clips of the model that trained at "
    "one size, at the unseen size as well: all its steps went into clips of the "
    "largest size, where the baseline learned ten sizes in as many steps.",
  ),
  "no-images": Variant(
    "Images among the clips help",
    _where(lambda bucket: bucket.frames > 1),
    "Not seen at this scale: without images no figure is worse, and clips that begin "
    "with a given frame are better by as much as the noise.",
  ),
  "text-only": Variant(
    "One model learns image-to-video at no cost to text-to-video",
    lambda run: dataclasses.replace(run, conditions=ConditionConfig(first_frame=0.0)),
    "Confirmed: no figure of text-to-video differs, and a model that never trained on "
    "first frames continues them slightly worse.",
  ),
  "no-clamp": Variant(
    "Clamping the density of timesteps in its tails helps",
    _flow(quantiles=(NO_CLAMP, 1 - NO_CLAMP)),
    "Barely: without the clamp the loss at the unseen size is higher by as much as the "
    "noise, and no other figure differs.",
  ),
}
