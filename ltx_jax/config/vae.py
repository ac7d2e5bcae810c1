"""Frozen configurations of the VAE and of what enlarges its latents.

As in `networks`, fields carry the names of the checkpoint metadata's keys, and the
defaults are those of VAE generation C.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ltx_jax.config.metadata import COUNT, Metadata, require
from ltx_jax.errors import check_fields

# The original's own factors leave `compress_all_x_y` out, though it halves all three
# sides; no release has one.
SPATIAL_DOWN = (
  "compress_space",
  "compress_all",
  "compress_all_x_y",
  "compress_space_res",
  "compress_all_res",
)
TEMPORAL_DOWN = (
  "compress_time",
  "compress_all",
  "compress_all_x_y",
  "compress_time_res",
  "compress_all_res",
)
BLOCK_NAMES = (
  "res_x",
  "attn_res_x",
  "res_x_y",
  "compress_time",
  "compress_space",
  "compress_all",
  "compress_all_x_y",
  "compress_time_res",
  "compress_space_res",
  "compress_all_res",
)


@dataclasses.dataclass(frozen=True)
class Block:
  """One entry of a VAE's block list: `[name, {...}]` in the metadata.

  Attributes:
    name: One of `BLOCK_NAMES`.
    num_layers: Residual blocks of a `res_x` or `attn_res_x` stage.
    multiplier: How channels grow downwards and shrink upwards; None is the original's
      default for the kind (2 in the encoder and for `res_x_y`, 1 for the decoder's
      compress blocks).
    residual: Whether a decoder's compress block adds its shuffled input.
    inject_noise: Whether residual blocks add noise of learned strength (decoder only).
    attention_head_dim: Width of a head of `attn_res_x`.
  """

  name: str
  num_layers: int = 1
  multiplier: int | None = None
  residual: bool = False
  inject_noise: bool = False
  attention_head_dim: int | None = None

  def __post_init__(self):
    require("A VAE block", "name", self.name, BLOCK_NAMES)
    counts = "num_layers", "multiplier", "attention_head_dim"
    check_fields(self, dict.fromkeys(counts, COUNT), "{} of a VAE block")
    if (self.name == "attn_res_x") != (self.attention_head_dim is not None):
      raise ValueError(
        f"VAE block {self.name!r} has attention_head_dim = {self.attention_head_dim}; "
        "'attn_res_x' blocks, and no others, take one."
      )

  @classmethod
  def from_metadata(cls, entry: Any) -> Block:
    """Reads `[name, int or dict]`; an int n stands for {"num_layers": n}."""
    name, params = entry
    if isinstance(params, int):
      params = {"num_layers": params}
    names = {f.name for f in dataclasses.fields(cls)} - {"name"}
    unknown = sorted(set(params) - names)
    if unknown:
      raise ValueError(f"VAE block {name!r} has unknown parameters {unknown}.")
    return cls(name, **params)

  def to_metadata(self) -> list:
    """Writes `[name, {...}]` with what differs from the defaults, and num_layers."""
    params = {
      f.name: getattr(self, f.name)
      for f in dataclasses.fields(self)
      if f.name != "name" and getattr(self, f.name) != f.default
    }
    if self.name in ("res_x", "attn_res_x"):
      params["num_layers"] = self.num_layers
    return [self.name, params]


def _res(num_layers: int, inject_noise: bool = False) -> Block:
  return Block("res_x", num_layers, inject_noise=inject_noise)


def _up() -> Block:
  return Block("compress_all", multiplier=2, residual=True)


ENCODER_A = (
  _res(4),
  Block("compress_all"),
  Block("res_x_y"),
  _res(3),
  Block("compress_all"),
  Block("res_x_y"),
  _res(3),
  Block("compress_all"),
  _res(3),
  _res(4),
)
DECODER_B = (
  _res(5, True),
  _up(),
  _res(6, True),
  _up(),
  _res(7, True),
  _up(),
  _res(8),
)
ENCODER_C = (
  _res(4),
  Block("compress_space_res", multiplier=2),
  _res(6),
  Block("compress_time_res", multiplier=2),
  _res(6),
  Block("compress_all_res", multiplier=2),
  _res(2),
  Block("compress_all_res", multiplier=2),
  _res(2),
)
DECODER_C = (_res(5), _up(), _res(5), _up(), _res(5), _up(), _res(5))


@dataclasses.dataclass(frozen=True)
class VAEConfig(Metadata):
  """The Video-VAE (the original's `CausalVideoAutoencoder`).

  `decoder_blocks` is listed as in the metadata, from pixels to latents; the decoder
  walks it backwards.
  """

  dims: int = 3
  in_channels: int = 3
  out_channels: int = 3
  latent_channels: int = 128
  encoder_blocks: tuple[Block, ...] = ENCODER_C
  decoder_blocks: tuple[Block, ...] = DECODER_C
  patch_size: int = 4
  latent_log_var: str = "uniform"
  norm_layer: str = "pixel_norm"
  use_quant_conv: bool = False
  normalize_latent_channels: bool = False
  causal_decoder: bool = False
  timestep_conditioning: bool = True
  encoder_base_channels: int = 128
  decoder_base_channels: int = 128
  spatial_padding_mode: str = "zeros"
  extra: tuple[tuple[str, Any], ...] = ()

  def __post_init__(self):
    name = "The VAE's config"
    require(name, "dims", self.dims, (3,))
    log_vars = ("uniform", "per_channel", "constant", "none")
    require(name, "latent_log_var", self.latent_log_var, log_vars)
    norms = ("pixel_norm", "group_norm", "layer_norm")
    require(name, "norm_layer", self.norm_layer, norms)
    paddings = ("zeros", "replicate", "reflect")
    require(name, "spatial_padding_mode", self.spatial_padding_mode, paddings)
    counts = "in_channels", "out_channels", "latent_channels", "patch_size"
    counts += "encoder_base_channels", "decoder_base_channels"
    check_fields(self, dict.fromkeys(counts, COUNT), "vae.{}")
    if self.use_quant_conv and self.latent_log_var in ("uniform", "constant"):
      raise ValueError(
        f"{name} has use_quant_conv with latent_log_var = {self.latent_log_var!r}; "
        "a quant conv goes with 'per_channel' or 'none'."
      )

  @classmethod
  def from_metadata(cls, metadata: Mapping[str, Any]) -> VAEConfig:
    """Builds the config from the `vae` object of a checkpoint's metadata.

    Raises:
      ValueError: where the class is another one, or an option is not known.
    """
    metadata = dict(metadata)
    class_name = metadata.pop("_class_name", "CausalVideoAutoencoder")
    if class_name != "CausalVideoAutoencoder":
      raise ValueError(
        f"The VAE's config has _class_name = {class_name!r}; this code runs "
        "'CausalVideoAutoencoder'."
      )
    blocks = metadata.pop("blocks", None)
    double_z = metadata.get("double_z", True)
    defaults = {
      "patch_size": 1,
      "latent_log_var": "per_channel" if double_z else "none",
      "norm_layer": "group_norm",
      "use_quant_conv": True,
      "timestep_conditioning": False,
    }
    metadata = defaults | metadata
    for key in ("encoder_blocks", "decoder_blocks"):
      entries = metadata.pop(key, None) or blocks
      if not entries:
        raise ValueError(f"The VAE's config has neither {key!r} nor 'blocks'.")
      metadata[key] = tuple(Block.from_metadata(entry) for entry in entries)
    return super().from_metadata(metadata)

  def to_metadata(self) -> dict[str, Any]:
    metadata = super().to_metadata()
    for key in ("encoder_blocks", "decoder_blocks"):
      metadata[key] = [block.to_metadata() for block in getattr(self, key)]
    return {"_class_name": "CausalVideoAutoencoder"} | metadata

  @property
  def spatial_factor(self) -> int:
    """Pixels a side of one latent position (32 in the releases)."""
    halvings = sum(block.name in SPATIAL_DOWN for block in self.encoder_blocks)
    return self.patch_size * 2**halvings

  @property
  def temporal_factor(self) -> int:
    """Frames of one latent position after the first (8 in the releases)."""
    return 2 ** sum(block.name in TEMPORAL_DOWN for block in self.encoder_blocks)

  @property
  def moment_channels(self) -> int:
    """Channels of the encoder's last convolution."""
    extra = {"uniform": 1, "constant": 1, "none": 0}
    return self.latent_channels + extra.get(self.latent_log_var, self.latent_channels)

  def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
    """(f, h, w) of a clip; partial positions are rounded up."""
    return (
      math.ceil((frames - 1) / self.temporal_factor) + 1,
      math.ceil(height / self.spatial_factor),
      math.ceil(width / self.spatial_factor),
    )


VAE_A = VAEConfig(
  encoder_blocks=ENCODER_A, decoder_blocks=ENCODER_A, timestep_conditioning=False
)
VAE_B = VAEConfig(encoder_blocks=ENCODER_A, decoder_blocks=DECODER_B)
VAE_C = VAEConfig()


@dataclasses.dataclass(frozen=True)
class LatentUpsamplerConfig(Metadata):
  """A latent upsampler, with the key names of its file's metadata (`models.upsampler`).

  With `dims` 2 every frame is on its own.
  """

  in_channels: int = 128
  mid_channels: int = 512
  num_blocks_per_stage: int = 4
  dims: int = 3
  spatial_upsample: bool = True
  temporal_upsample: bool = False
  extra: tuple[tuple[str, Any], ...] = ()

  DEFAULTS: ClassVar[dict[str, Any]] = {
    "in_channels": 4,
    "mid_channels": 128,
    "dims": 2,
  }

  def __post_init__(self):
    name = "The latent upsampler's config"
    require(name, "dims", self.dims, (2, 3))
    if not (self.spatial_upsample or self.temporal_upsample):
      raise ValueError(f"{name} has neither spatial_ nor temporal_upsample; set one.")
    if self.temporal_upsample and self.dims == 2:
      raise ValueError(f"{name} has temporal_upsample, which needs dims = 3, not 2.")
    if self.mid_channels % 32:
      raise ValueError(f"mid_channels is {self.mid_channels}; take a multiple of 32.")
