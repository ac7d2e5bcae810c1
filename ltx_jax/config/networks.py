"""Frozen configurations of the transformer, its text encoder and a whole model.

Fields have the names of the keys in a released checkpoint's metadata, so that reading
and writing that metadata is mechanical. Keys that this code does not use are kept in
`extra` and written back. The dataclasses' defaults are those of the released 2B model
and of VAE generation C. `from_metadata` applies the defaults of the PyTorch original to
absent keys; these sometimes differ.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from ltx_jax.config.metadata import COUNT, LAYERS, POSITIVE, SIZE, Metadata, require
from ltx_jax.config.vae import VAEConfig
from ltx_jax.errors import check_fields, check_fps, shown


@dataclasses.dataclass(frozen=True)
class TransformerConfig(Metadata):
  """The denoising transformer (specification of the original: `Transformer3DModel`).

  Attributes:
    positional_embedding_max_pos: Position (seconds, y pixels, x pixels) that maps to 1.
    causal_temporal_positioning: Latent frame 0 as a single pixel frame when positions
      are computed (0.9.5 and later).
    rope_spacing: Spacing of the RoPE frequencies: `exponential` in every release;
      `inverse_exponential` is the control of the paper's ablation, written to the
      metadata only if chosen.
  """

  num_attention_heads: int = 32
  attention_head_dim: int = 64
  num_layers: int = 28
  in_channels: int = 128
  out_channels: int = 128
  cross_attention_dim: int = 2048
  caption_channels: int = 4096
  attention_bias: bool = True
  activation_fn: str = "gelu-approximate"
  norm_elementwise_affine: bool = False
  norm_eps: float = 1e-6
  standardization_norm: str = "rms_norm"
  qk_norm: str | None = "rms_norm"
  adaptive_norm: str = "single_scale_shift"
  positional_embedding_type: str = "rope"
  positional_embedding_theta: float = 10000.0
  positional_embedding_max_pos: tuple[int, ...] = (20, 2048, 2048)
  timestep_scale_multiplier: float = 1000.0
  causal_temporal_positioning: bool = False
  rope_spacing: str = "exponential"
  extra: tuple[tuple[str, Any], ...] = ()

  CALLED: ClassVar[str] = "transformer"
  DEFAULTS: ClassVar[dict[str, Any]] = {
    "num_attention_heads": 16,
    "attention_head_dim": 88,
    "num_layers": 1,
    "attention_bias": False,
    "activation_fn": "geglu",
    "norm_elementwise_affine": True,
    "norm_eps": 1e-5,
    "standardization_norm": "layer_norm",
    "qk_norm": None,
    "timestep_scale_multiplier": 1.0,
  }

  def __post_init__(self):
    name = "The transformer's config"
    require(name, "activation_fn", self.activation_fn, ("gelu-approximate",))
    require(name, "standardization_norm", self.standardization_norm, ("rms_norm",))
    require(name, "adaptive_norm", self.adaptive_norm, ("single_scale_shift",))
    require(name, "norm_elementwise_affine", self.norm_elementwise_affine, (False,))
    require(name, "qk_norm", self.qk_norm, ("rms_norm", None))
    positional = self.positional_embedding_type
    require(name, "positional_embedding_type", positional, ("rope",))
    spacings = ("exponential", "inverse_exponential")
    require(name, "rope_spacing", self.rope_spacing, spacings)
    counts = "num_attention_heads", "attention_head_dim", "in_channels"
    counts += "out_channels", "cross_attention_dim", "caption_channels"
    positive = "norm_eps", "positional_embedding_theta", "positional_embedding_max_pos"
    bounds = dict.fromkeys(counts, SIZE) | dict.fromkeys(positive, POSITIVE)
    bounds |= {"timestep_scale_multiplier": {}, "num_layers": LAYERS}
    check_fields(self, bounds, "transformer.{}")

  @property
  def width(self) -> int:
    """d, the width of the residual stream."""
    return self.num_attention_heads * self.attention_head_dim

  def to_metadata(self) -> dict[str, Any]:
    metadata = super().to_metadata()
    if self.rope_spacing == "exponential":
      metadata.pop("rope_spacing")
    return metadata


TRANSFORMER_2B = TransformerConfig()
TRANSFORMER_13B = TransformerConfig(
  attention_head_dim=128,
  num_layers=48,
  cross_attention_dim=4096,
  causal_temporal_positioning=True,
)


@dataclasses.dataclass(frozen=True)
class SchedulerConfig(Metadata):
  """The rectified-flow scheduler of a checkpoint (`diffusion.schedules`)."""

  num_train_timesteps: int = 1000
  shifting: str | None = None
  base_resolution: int | None = 1024
  target_shift_terminal: float | None = None
  sampler: str = "Uniform"
  shift: float | None = None
  extra: tuple[tuple[str, Any], ...] = ()

  CALLED: ClassVar[str] = "scheduler"

  def __post_init__(self):
    name = "The scheduler's config"
    require(name, "shifting", self.shifting, (None, "SD3", "SimpleDiffusion"))
    samplers = ("Uniform", "LinearQuadratic", "Constant")
    require(name, "sampler", self.sampler, samplers)
    bounds = {
      "num_train_timesteps": COUNT,
      "base_resolution": POSITIVE,
      "shift": POSITIVE,
      "target_shift_terminal": {},
    }
    check_fields(self, bounds, "scheduler.{}")


@dataclasses.dataclass(frozen=True)
class TextEncoderConfig(Metadata):
  """A T5 v1.1 encoder, with the key names of its Hugging Face `config.json`.

  Attributes:
    max_text_tokens: Number of tokens that prompts are padded or cut to. The key is this
      project's own, written only if it differs from the releases.
  """

  vocab_size: int = 32128
  d_model: int = 4096
  d_kv: int = 64
  d_ff: int = 10240
  num_layers: int = 24
  num_heads: int = 64
  relative_attention_num_buckets: int = 32
  relative_attention_max_distance: int = 128
  layer_norm_epsilon: float = 1e-6
  feed_forward_proj: str = "gated-gelu"
  max_text_tokens: int = 256
  extra: tuple[tuple[str, Any], ...] = ()

  CALLED: ClassVar[str] = "text"
  DEFAULTS: ClassVar[dict[str, Any]] = {
    "d_model": 512,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "feed_forward_proj": "relu",
  }

  def __post_init__(self):
    name = "The text encoder's config"
    require(name, "feed_forward_proj", self.feed_forward_proj, ("gated-gelu",))
    counts = "vocab_size", "d_model", "d_kv", "d_ff", "num_heads"
    counts += "relative_attention_num_buckets", "relative_attention_max_distance"
    bounds = dict.fromkeys((*counts, "max_text_tokens"), SIZE)
    bounds |= {"layer_norm_epsilon": POSITIVE, "num_layers": LAYERS}
    check_fields(self, bounds, "text.{}")

  def to_metadata(self) -> dict[str, Any]:
    metadata = super().to_metadata()
    if self.max_text_tokens == TextEncoderConfig.max_text_tokens:
      metadata.pop("max_text_tokens")
    return metadata


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The configs of a whole model; None for an absent part.

  Attributes:
    allowed_inference_steps: The noise levels that a distilled model was trained for,
      rounded to four decimals; None allows any.
    default_size: (frames, height, width) that the model samples unless told otherwise;
      None in the releases.
    default_fps: Frames per second, likewise.
    extra: Other keys next to the parts in a checkpoint's metadata, written back.
  """

  transformer: TransformerConfig | None
  vae: VAEConfig | None
  scheduler: SchedulerConfig
  text_encoder: TextEncoderConfig | None = None
  name: str | None = None
  allowed_inference_steps: tuple[float, ...] | None = None
  default_size: tuple[int, ...] | None = None
  default_fps: float | None = None
  extra: tuple[tuple[str, Any], ...] = ()

  def __post_init__(self):
    check_fields(self, {"default_size": SIZE})
    if self.default_size is not None and len(self.default_size) != 3:
      raise ValueError(
        f"default_size is {shown(self.default_size)}; it must be three numbers: "
        "frames, height and width."
      )
    if self.default_fps is not None:
      check_fps(self.default_fps)
