"""Frozen configurations of training runs: what `configs/*.py` return.

Every number has its range, checked where the config is made: on the command line and in
recipes alike, before anything is compiled.

A recipe is a plain dataclass built in Python and overridden on the command line. The
resolved config is saved as JSON with every run and checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

from ltx_jax.config import (
  SchedulerConfig,
  TextEncoderConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.data import ScoreConfig, VideoConfig
from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.metadata import COUNT, POSITIVE
from ltx_jax.config.output import OutputConfig
from ltx_jax.errors import check_fields, check_fps, check_number, check_seed

_NOT_NEGATIVE = {"at_least": 0}
_SHARE = {"at_least": 0, "at_most": 1}
_DECAY = {"at_least": 0, "below": 1}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """AdamW, or Muon on kernels with AdamW on the rest; a warm-up, then a schedule.

  Attributes:
    learning_rate: Peak rate of AdamW.
    muon_learning_rate: Peak rate of Muon's kernels; unused by `adamw`.
    schedule: Course of the rate after the warm-up: it falls along a `cosine`, falls
      along a line (`linear`), or stays (`constant`).
    final_fraction: Fraction of the peak at which a cosine or a line ends.
    clip_norm: Global norm that longer gradients are scaled to; inf for never.
    accumulate: Micro-batches whose gradients are averaged before one update.
    ema_decay: Decay of the averaged parameters; 0 keeps none.
    not_finite: Answer to a loss or gradient that is NaN or infinite: `stop` the run, or
      `skip` the update and go on.
    max_skipped: Updates skipped in a row after which the run stops all the same.
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
  accumulate: int = 1
  ema_decay: float = 0.0
  not_finite: Literal["stop", "skip"] = "stop"
  max_skipped: int = 20

  def __post_init__(self):
    bounds = {
      "learning_rate": POSITIVE,
      "muon_learning_rate": POSITIVE,
      "b1": _DECAY,
      "b2": _DECAY,
      "weight_decay": _NOT_NEGATIVE,
      "warmup_steps": {"at_least": 0, "whole": True},
      "final_fraction": _SHARE,
      "accumulate": COUNT,
      "max_skipped": COUNT,
      "ema_decay": _DECAY,
    }
    check_fields(self, bounds, "optimizer.{}")
    if self.clip_norm != math.inf:
      check_number("optimizer.clip_norm", self.clip_norm, above=0)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices per axis of the mesh; one of them may be -1, for those that are left.

  Attributes:
    data: Devices over which rows are split and parameters repeated.
    fsdp: Devices over which both rows and parameters are split.
    context: Devices over which the tokens of a clip are split, or its pixels.
    tensor: Devices over which attention heads and hidden layers are split.
  """

  data: int = -1
  fsdp: int = 1
  context: int = 1
  tensor: int = 1

  def __post_init__(self):
    for field in dataclasses.fields(self):
      if getattr(self, field.name) != -1:
        check_fields(self, {field.name: COUNT}, "mesh.{}")


Remat = Literal["none", "full", "dots", "attention", "dots+attention"]
"""What is kept for the backward pass (`models.transformer.REMAT_POLICIES`)."""


@dataclasses.dataclass(frozen=True)
class Bucket:
  """One size of clips, with its share of the batches."""

  frames: int
  height: int
  width: int
  weight: float = 1.0

  def __post_init__(self):
    sizes = dict.fromkeys(("frames", "height", "width"), COUNT)
    check_fields(self, sizes | {"weight": POSITIVE}, "{} of a bucket")


@dataclasses.dataclass(frozen=True)
class AutoBuckets:
  """Buckets that are found from the sizes of the clips.

  Attributes:
    clip_tokens: Most latent positions of one clip.
    pixels: Most pixels of a frame.
    shapes: Number of sizes of a frame.
    lengths: Number of lengths for each size.
  """

  clip_tokens: int = 6144
  pixels: int = 768 * 512
  shapes: int = 4
  lengths: int = 2

  def __post_init__(self):
    names = "clip_tokens", "pixels", "shapes", "lengths"
    check_fields(self, dict.fromkeys(names, COUNT), "{} of automatic buckets")


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of a run: how long, which buckets, how much a batch.

  Attributes:
    buckets: Sizes of clips, named or found from the data.
    tokens: Global token budget of a batch, in latent positions; the batch size of a
      bucket is the budget over its tokens, rounded down, at least one.
  """

  steps: int
  buckets: tuple[Bucket, ...] | AutoBuckets
  tokens: int

  def __post_init__(self):
    check_fields(self, {"steps": COUNT, "tokens": COUNT}, "{} of a stage")
    if not self.buckets:
      raise ValueError("A stage has no buckets; give the sizes of clips it trains on.")


@dataclasses.dataclass(frozen=True)
class VAELossConfig:
  """Weights of the VAE's losses (paper, section on the Video-VAE).

  Attributes:
    wavelet: Weight of the L1 over 3-D wavelet bands, reached linearly between the two
      steps of `wavelet_ramp`.
    kl: Weight of the KL divergence, per latent element.
    max_sigma: The decoder sees latents at noise levels U[0, max_sigma].
    statistics_decay: Decay of the running mean and std of the encoder's means.
  """

  mse: float = 1.0
  wavelet: float = 0.1
  wavelet_ramp: tuple[int, int] = (0, 1)
  kl: float = 1e-4
  max_sigma: float = 0.2
  statistics_decay: float = 0.99

  def __post_init__(self):
    bounds = {
      "mse": _NOT_NEGATIVE,
      "wavelet": _NOT_NEGATIVE,
      "wavelet_ramp": {"at_least": 0, "whole": True},
      "kl": _NOT_NEGATIVE,
      "max_sigma": _SHARE,
      "statistics_decay": _DECAY,
    }
    check_fields(self, bounds, "loss.{}")
    if self.wavelet_ramp[0] > self.wavelet_ramp[1]:
      raise ValueError(
        f"loss.wavelet_ramp is {self.wavelet_ramp}; it must begin before it ends."
      )


@dataclasses.dataclass(frozen=True)
class VAERun:
  """Everything `train/vae.py` needs.

  Attributes:
    data: Manifests or folders of clips, or `moving-shapes`.
    data_weights: How often each of them comes, relative to the others; one number for
      all alike.
    held_out: Number of clips of the first of them that are never trained on, where the
      manifest does not say which.
    trained: The whole "vae", or its "decoder" alone: encoder and statistics stay as
      they were, so that a transformer trained on its latents stays valid.
    init_from: A checkpoint whose VAE the run starts from; empty for random parameters.
  """

  vae: VAEConfig
  stages: tuple[Stage, ...]
  data: tuple[str, ...] = ("moving-shapes",)
  data_weights: tuple[float, ...] = (1.0,)
  held_out: int = 8
  video: VideoConfig = VideoConfig()
  trained: Literal["vae", "decoder"] = "vae"
  loss: VAELossConfig = VAELossConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  mesh: MeshConfig = MeshConfig()
  distributed: DistributedConfig = DistributedConfig()
  output: OutputConfig = OutputConfig()
  init_from: str = ""
  dtype: Literal["float32", "bfloat16"] = "float32"
  seed: int = 0

  token_dropping: ClassVar[float] = 0.0
  """Its clips stay whole."""

  def __post_init__(self):
    _check_run(self)

  @property
  def steps(self) -> int:
    """Optimiser steps of the whole run."""
    return sum(stage.steps for stage in self.stages)


@dataclasses.dataclass(frozen=True)
class FlowConfig:
  """How the transformer is trained (`diffusion.timesteps`, `diffusion.flow`).

  Attributes:
    caption_dropout: Share of the captions replaced by "".
    uniform_share: Share of the clips whose timestep is uniform in [0, 1] instead; 1 is
      the control without the law.
    quantiles: Percentiles beyond which the density of timesteps is constant.
    shift_at_most: Bound of the shift of timesteps, which grows with a clip's tokens and
      leaves nothing but noise where they are many; none by default. Above 8192 tokens
      take 2.05 to 3.
  """

  caption_dropout: float = 0.1
  uniform_share: float = 0.0
  quantiles: tuple[float, float] = (0.005, 0.999)
  shift_at_most: float | None = None

  def __post_init__(self):
    shares = dict.fromkeys(("caption_dropout", "uniform_share"), _SHARE)
    bounds = shares | {"shift_at_most": {}}
    check_fields(self, bounds, "flow.{}")
    low, high = self.quantiles
    if not 0 < low < high < 1:
      raise ValueError(
        f"flow.quantiles is {self.quantiles}; it must satisfy 0 < low < high < 1."
      )


@dataclasses.dataclass(frozen=True)
class TransformerRun:
  """Everything `train/transformer.py` needs.

  Attributes:
    name: Written into the checkpoint; a preset of that name gives the recipe.
    vae: Checkpoint of the VAE that makes the latents.
    text_folder: Holds `tokenizer/` and, where it is frozen, `text_encoder/`.
    text_encoder: `trained` jointly with the transformer, or `frozen`.
    remat: What each block keeps for the backward pass: `none` recomputes nothing,
      `full` the whole block, `dots` all but its projections, `attention` all but what
      attention gives, `dots+attention` no product.
    data: Folders of records (`train.precompute`).
    data_weights: How often each of them comes, relative to the others; one number for
      all alike.
    held_out: Number of records of the first of them that are never trained on, where
      the manifest did not say which.
    score: Which records are trained on, by a score that they carry.
    token_dropping: Largest share of a clip's tokens that is dropped, at random, so that
      buckets of about as many tokens share batches; the paper's is 0.2, and 0 keeps
      buckets apart.
    init_from: A checkpoint to start from, or a model's folder (`model.safetensors`, and
      `text_encoder/` where that is trained); empty for random parameters.
    lora: Low-rank updates of the model in `init_from` that are trained in its place.
  """

  transformer: TransformerConfig
  text: TextEncoderConfig
  scheduler: SchedulerConfig
  name: str
  vae: str
  text_folder: str
  stages: tuple[Stage, ...]
  text_encoder: Literal["frozen", "trained"] = "frozen"
  flow: FlowConfig = FlowConfig()
  conditions: ConditionConfig = ConditionConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  mesh: MeshConfig = MeshConfig()
  distributed: DistributedConfig = DistributedConfig()
  remat: Remat | None = None
  output: OutputConfig = OutputConfig()
  data: tuple[str, ...] = ("runs/records",)
  data_weights: tuple[float, ...] = (1.0,)
  held_out: int = 8
  score: ScoreConfig = ScoreConfig()
  token_dropping: float = 0.0
  init_from: str = ""
  lora: LoRAConfig = LoRAConfig()
  fps: float = 24.0
  dtype: Literal["float32", "bfloat16"] = "float32"
  seed: int = 0

  def __post_init__(self):
    _check_run(self)
    check_fields(self, {"token_dropping": {"at_least": 0, "below": 1}})
    check_fps(self.fps)
    if self.lora.rank and not self.init_from:
      raise ValueError(
        f"lora.rank is {self.lora.rank}; name the model to be updated by --init-from."
      )

  @property
  def steps(self) -> int:
    """Optimiser steps of the whole run."""
    return sum(stage.steps for stage in self.stages)


def _check_run(run: VAERun | TransformerRun) -> None:
  """Checks what both runs have, beside their parts."""
  if not run.data or len(run.data_weights) not in (1, len(run.data)):
    raise ValueError(
      f"data names {len(run.data)} source(s) and data_weights has "
      f"{len(run.data_weights)} number(s); give one for each source, or one for all."
    )
  check_fields(
    run, {"data_weights": POSITIVE, "held_out": {"at_least": 0, "whole": True}}
  )
  check_seed(run.seed)
  if not run.stages:
    raise ValueError("A run has no stages; give at least one.")
