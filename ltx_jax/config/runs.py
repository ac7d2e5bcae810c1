"""Frozen configurations of training runs: what `configs/*.py` return.

Every number has a range, which is checked when the config is made, both on the command
line and in recipes, before anything is compiled.

A recipe is a plain dataclass built in Python and overridden on the command line. The
resolved config is saved as JSON with every run and checkpoint.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from ltx_jax.config import (
  SchedulerConfig,
  TextEncoderConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.config.adversarial import DISCRIMINATOR, AdversarialConfig
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.data import ScoreConfig, VideoConfig
from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.metadata import COUNT, POSITIVE
from ltx_jax.config.optimizer import OptimizerConfig
from ltx_jax.config.output import OutputConfig
from ltx_jax.errors import check_fields, check_fps, check_seed

_NOT_NEGATIVE = {"at_least": 0}
_SHARE = {"at_least": 0, "at_most": 1}
_DECAY = {"at_least": 0, "below": 1}


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices per axis of the mesh; one axis may be -1, which takes all devices left.

  Attributes:
    data: Number of devices that shard the rows of a batch and replicate the parameters.
    fsdp: Number of devices that shard both rows and parameters.
    context: Number of devices that shard the tokens of a clip, or its pixels.
    tensor: Number of devices that shard attention heads and hidden layers.
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
  """Buckets chosen from the sizes of the clips.

  Attributes:
    clip_tokens: Largest number of latent positions per clip.
    pixels: Largest number of pixels per frame.
    shapes: Number of frame sizes.
    lengths: Number of clip lengths for each frame size.
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
  """A part of a run: its number of steps, its buckets and its batch size.

  Attributes:
    buckets: Sizes of clips, named or found from the data.
    tokens: Token budget of a batch over all devices, in latent positions. The batch
      size of a bucket is the budget divided by the bucket's tokens, rounded down, at
      least one.
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
    wavelet: Weight of the L1 loss over 3-D wavelet bands. It grows linearly between the
      two steps of `wavelet_ramp`.
    wavelet_bands: Weights of the eight bands relative to each other, in the order of
      `losses.wavelet.BANDS`.
    perceptual: Weight of LPIPS; without `perceptual_weights` the loss is left out.
    perceptual_weights: File of LPIPS, from `train.perceptual_weights`; empty for none.
    perceptual_frames: Number of frames of each clip that LPIPS compares, at random.
    kl: Weight of the KL divergence, per latent element.
    max_sigma: Largest noise level of the latents that the decoder gets; each level is
      uniform in [0, max_sigma].
    statistics_decay: Decay of the running mean and standard deviation of the encoder's
      means.
  """

  mse: float = 1.0
  wavelet: float = 0.1
  wavelet_ramp: tuple[int, int] = (0, 1)
  wavelet_bands: tuple[float, ...] = (1.0,) * 8
  perceptual: float = 0.0
  perceptual_weights: str = ""
  perceptual_frames: int = 4
  kl: float = 1e-4
  max_sigma: float = 0.2
  statistics_decay: float = 0.99

  def __post_init__(self):
    bounds = {
      "mse": _NOT_NEGATIVE,
      "wavelet": _NOT_NEGATIVE,
      "wavelet_ramp": {"at_least": 0, "whole": True},
      "wavelet_bands": _NOT_NEGATIVE,
      "perceptual": _NOT_NEGATIVE,
      "perceptual_frames": COUNT,
      "kl": _NOT_NEGATIVE,
      "max_sigma": _SHARE,
      "statistics_decay": _DECAY,
    }
    check_fields(self, bounds, "loss.{}")
    if self.wavelet_ramp[0] > self.wavelet_ramp[1]:
      raise ValueError(
        f"loss.wavelet_ramp is {self.wavelet_ramp}; it must begin before it ends."
      )
    if len(self.wavelet_bands) != 8:
      raise ValueError(
        f"loss.wavelet_bands has {len(self.wavelet_bands)} numbers; give one for each "
        "of the eight bands."
      )

  @property
  def compares_features(self) -> bool:
    """Whether LPIPS is among the losses."""
    return self.perceptual > 0 and bool(self.perceptual_weights)


@dataclasses.dataclass(frozen=True)
class VAERun:
  """Everything `train/trainers/vae.py` needs.

  Attributes:
    data: Manifests or folders of clips, or small worlds: `moving-shapes`, with fine
      texture `moving-shapes-textured`, in other colours `moving-shapes-tinted`, of
      little contrast `moving-shapes-faint`.
    data_weights: Relative frequency of each source in `data`; one number makes all
      equal.
    held_out: Number of clips from the first source that are never trained on, unless
      the manifest marks them; at most a quarter of the source, or one clip.
    remat: Recomputation in the backward pass, which saves memory: `none` recomputes
      nothing, `full` the residual blocks. Default: `none` if it fits.
    trained: Part that is trained: the whole `vae`, or its `decoder` alone. With
      `decoder` the encoder and the statistics stay unchanged, so that a transformer
      trained on its latents stays valid.
    init_from: Checkpoint with the VAE that the run starts from; empty for random
      parameters.
  """

  vae: VAEConfig
  stages: tuple[Stage, ...]
  data: tuple[str, ...] = ("moving-shapes",)
  data_weights: tuple[float, ...] = (1.0,)
  held_out: int = 8
  video: VideoConfig = VideoConfig()
  trained: Literal["vae", "decoder"] = "vae"
  remat: Literal["none", "full"] | None = None
  loss: VAELossConfig = VAELossConfig()
  adversarial: AdversarialConfig = AdversarialConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  mesh: MeshConfig = MeshConfig()
  distributed: DistributedConfig = DistributedConfig()
  output: OutputConfig = OutputConfig()
  init_from: str = ""
  dtype: Literal["float32", "bfloat16"] = "float32"
  seed: int = 0

  token_dropping: ClassVar[float] = 0.0
  """Its clips are never trimmed."""

  def __post_init__(self):
    _check_run(self)
    patch, side = self.adversarial.patch_size, self.vae.spatial_factor
    if self.adversarial.weight and side % patch:
      raise ValueError(
        f"adversarial.patch_size is {patch}; it must divide {side}, because the sides "
        "of this VAE's clips are multiples of that."
      )

  @property
  def steps(self) -> int:
    """Optimiser steps of the whole run."""
    return sum(stage.steps for stage in self.stages)

  @property
  def networks(self) -> dict[str, Any]:
    """What makes the arrays of a training state, by name."""
    rival = {DISCRIMINATOR: self.adversarial.network} if self.adversarial.weight else {}
    return {"vae": dataclasses.asdict(self.vae)} | rival


@dataclasses.dataclass(frozen=True)
class FlowConfig:
  """Captions and noise levels in training (`diffusion.timesteps`, `diffusion.flow`).

  Attributes:
    caption_dropout: Share of captions that are replaced by "".
    uniform_share: Share of clips whose timestep is uniform in [0, 1] instead of shifted
      log-normal; 1 is the control experiment without that law.
    quantiles: Lower and upper percentile, as fractions, beyond which the density of
      timesteps is constant.
    shift_at_most: Largest shift of timesteps; default: no limit. The shift grows with a
      clip's tokens, and for very many tokens it leaves nothing but noise. Above 8192
      tokens take 2.05 to 3.
    shift: Fixed mean of the normal whose sigmoid is the timestep; default: by the
      clip's tokens, as in the paper.
    spread: Standard deviation of that normal; the paper's is 1.
  """

  caption_dropout: float = 0.1
  uniform_share: float = 0.0
  quantiles: tuple[float, float] = (0.005, 0.999)
  shift_at_most: float | None = None
  shift: float | None = None
  spread: float = 1.0

  def __post_init__(self):
    shares = dict.fromkeys(("caption_dropout", "uniform_share"), _SHARE)
    bounds = shares | {"shift_at_most": {}, "shift": {}, "spread": POSITIVE}
    check_fields(self, bounds, "flow.{}")
    low, high = self.quantiles
    if not 0 < low < high < 1:
      raise ValueError(
        f"flow.quantiles is {self.quantiles}; it must satisfy 0 < low < high < 1."
      )


@dataclasses.dataclass(frozen=True)
class TransformerRun:
  """Everything `train/trainers/transformer.py` needs.

  Attributes:
    name: Name of the model, written into the checkpoint; a preset of that name gives
      the recipe.
    vae: Checkpoint with the VAE that makes the latents.
    text_folder: Folder with `tokenizer/` and, if the text encoder is frozen,
      `text_encoder/`.
    text_encoder: Text encoder: `trained` together with the transformer, or `frozen`.
    remat: Recomputation in the backward pass, which saves memory: `none` recomputes
      nothing, `full` the whole block, `dots` all except its projections, `attention`
      all except the output of attention, `dots+attention` all except matrix products.
      Default: the one that fits and recomputes least.
    data: Folders of records, as written by `train.precompute`.
    data_weights: Relative frequency of each folder in `data`; one number makes all
      equal.
    held_out: Number of records from the first folder that are never trained on, unless
      the manifest marked them; at most a quarter of the folder.
    score: Filter on records by one of their scores.
    token_dropping: Largest share of a clip's tokens that is dropped at random, so that
      buckets with similar numbers of tokens share batches. The paper uses 0.2; 0 keeps
      buckets apart.
    init_from: Checkpoint or model folder to start from; empty for random parameters. A
      model folder has `model.safetensors` and, if the text encoder is trained,
      `text_encoder/`.
    lora: Low-rank updates that are trained instead of the model in `init_from`.
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
        f"lora.rank is {self.lora.rank}; name the model to update with --init-from."
      )

  @property
  def steps(self) -> int:
    """Optimiser steps of the whole run."""
    return sum(stage.steps for stage in self.stages)

  @property
  def networks(self) -> dict[str, Any]:
    """What makes the arrays of a training state, by name."""
    parts = {"transformer": self.transformer, "text": self.text}
    configs = {name: dataclasses.asdict(part) for name, part in parts.items()}
    return configs | {"text_encoder": self.text_encoder}


def _check_run(run: VAERun | TransformerRun) -> None:
  """Checks the fields that both kinds of run have."""
  if not run.data or len(run.data_weights) not in (1, len(run.data)):
    raise ValueError(
      f"data names {len(run.data)} source(s), but data_weights has "
      f"{len(run.data_weights)} number(s); give one for each source, or one for all."
    )
  check_fields(
    run, {"data_weights": POSITIVE, "held_out": {"at_least": 0, "whole": True}}
  )
  check_seed(run.seed)
  if not run.stages:
    raise ValueError("A run has no stages; give at least one.")
