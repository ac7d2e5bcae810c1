"""Frozen configurations of the VAE and of the latent upsampler.

As in `networks`, fields have the names of the checkpoint metadata's keys, and the
defaults are those of VAE generation C.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from ltx_jax.config.metadata import LAYERS, SIZE, Metadata, checked, freeze, require
from ltx_jax.errors import check_fields, shown

Kind = Literal["stage", "resnet", "compress", "shuffle"]
"""Kind of a block: residual blocks of equal channels, one that changes the channels, a
strided convolution (in decoders depth to space), or space to depth (only in
encoders)."""

# By name: kind, and strides over (time, height, width). The original's own factors omit
# `compress_all_x_y`, although it halves all three sides; no release has one.
_BLOCKS: dict[str, tuple[Kind, tuple[int, int, int]]] = {
  "res_x": ("stage", (1, 1, 1)),
  "attn_res_x": ("stage", (1, 1, 1)),
  "res_x_y": ("resnet", (1, 1, 1)),
  "compress_time": ("compress", (2, 1, 1)),
  "compress_space": ("compress", (1, 2, 2)),
  "compress_all": ("compress", (2, 2, 2)),
  "compress_all_x_y": ("compress", (2, 2, 2)),
  "compress_time_res": ("shuffle", (2, 1, 1)),
  "compress_space_res": ("shuffle", (1, 2, 2)),
  "compress_all_res": ("shuffle", (2, 2, 2)),
}
BLOCK_NAMES = tuple(_BLOCKS)
_MOST_BLOCKS = 100
_IN_DECODERS = ("res_x_y", "compress_time", "compress_space", "compress_all")


@dataclasses.dataclass(frozen=True)
class Block:
  """One entry of a VAE's block list: `[name, {...}]` in the metadata.

  Attributes:
    name: One of `BLOCK_NAMES`.
    num_layers: Number of residual blocks of a `res_x` or `attn_res_x` stage.
    multiplier: Growth of the channels in the encoder, and their shrinkage in the
      decoder; None is the original's default for the kind (2 in the encoder and for
      `res_x_y`, 1 for the decoder's compress blocks).
    residual: Whether a decoder's compress block adds its shuffled input.
    inject_noise: Whether residual blocks add noise of learned strength (decoder only).
    attention_head_dim: Head width of `attn_res_x`.
  """

  name: str
  num_layers: int = 1
  multiplier: int | None = None
  residual: bool = False
  inject_noise: bool = False
  attention_head_dim: int | None = None

  def __post_init__(self):
    require("A VAE block", "name", self.name, BLOCK_NAMES)
    bounds = {"num_layers": LAYERS, "multiplier": SIZE, "attention_head_dim": SIZE}
    check_fields(self, bounds, "{} of a VAE block")
    if (self.name == "attn_res_x") != (self.attention_head_dim is not None):
      raise ValueError(
        f"VAE block {self.name!r} has attention_head_dim = {self.attention_head_dim}; "
        "only 'attn_res_x' blocks take one, and they need it."
      )

  @property
  def kind(self) -> Kind:
    """Kind of the block."""
    return _BLOCKS[self.name][0]

  @property
  def strides(self) -> tuple[int, int, int]:
    """Factors by which it changes frames, height and width, in either direction."""
    return _BLOCKS[self.name][1]

  @property
  def resizes(self) -> bool:
    """Whether it changes the size: smaller in an encoder, larger in a decoder."""
    return self.kind in ("compress", "shuffle")

  @property
  def resnets(self) -> int:
    """Number of its residual blocks."""
    return {"stage": self.num_layers, "resnet": 1}.get(self.kind, 0)

  def channels_down(self, channels: int) -> int:
    """Returns the output channels of an encoder's block from its input channels."""
    keeps = self.kind == "stage" or (
      self.kind == "compress" and self.name != "compress_all_x_y"
    )
    return channels if keeps else channels * (self.multiplier or 2)

  @property
  def growth(self) -> int:
    """Factor by which it multiplies the channels at a decoder's latent end."""
    if self.kind == "resnet":
      return self.multiplier or 2
    return (self.multiplier or 1) if self.resizes else 1

  def channels_up(self, channels: int) -> int:
    """Returns the output channels of a decoder's block for a number of input channels.

    The original shrinks them only in `compress_all`, whatever `growth` says.
    """
    shrinks = self.kind == "resnet" or self.name == "compress_all"
    return channels // self.growth if shrinks else channels

  def check_decoder(self) -> None:
    """Refuses a block that no decoder has, or whose options the original ignores.

    Raises:
      ValueError: If it is such a block; the message names it.
    """
    if self.kind == "stage":
      return
    if self.name not in _IN_DECODERS:
      raise ValueError(
        f"A decoder has no {self.name!r} blocks; use 'compress_time', "
        "'compress_space' or 'compress_all'."
      )
    if self.residual and self.name != "compress_all":
      raise ValueError(
        f"The decoder's block {self.name!r} has residual = True; the PyTorch original "
        "ignores it except in 'compress_all' and would decode other videos."
      )
    if self.name == "res_x_y" and self.inject_noise and self.multiplier != 1:
      raise ValueError(
        f"The decoder's block 'res_x_y' has inject_noise = True and multiplier = "
        f"{self.multiplier or 2}; the PyTorch original fails there. Noise needs "
        "multiplier = 1."
      )

  @classmethod
  def from_metadata(cls, entry: Any) -> Block:
    """Reads `[name, int or dict]`; an int n stands for {"num_layers": n}."""
    pair = isinstance(entry, list | tuple) and len(entry) == 2
    if not pair or not isinstance(entry[1], int | Mapping):
      raise ValueError(
        f"A VAE block is {shown(entry)}; it must be [name, number of layers] or "
        "[name, {parameters}]."
      )
    name, params = entry
    if isinstance(params, int):
      params = {"num_layers": params}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(params) - hints.keys())
    if unknown:
      raise ValueError(f"VAE block {name!r} has unknown parameters {shown(unknown)}.")
    require("A VAE block", "name", name, BLOCK_NAMES)
    return cls(
      name,
      **{
        key: checked(f"{key} of a VAE block", freeze(value), hints[key])
        for key, value in params.items()
      },
    )

  def to_metadata(self) -> list:
    """Writes `[name, {...}]` with num_layers and values that are not defaults."""
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

  CALLED: ClassVar[str] = "vae"

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
    check_fields(self, dict.fromkeys(counts, SIZE), "vae.{}")
    if self.use_quant_conv and self.latent_log_var in ("uniform", "constant"):
      raise ValueError(
        f"{name} has use_quant_conv with latent_log_var = {self.latent_log_var!r}; "
        "a quant conv goes with 'per_channel' or 'none'."
      )

  @classmethod
  def from_metadata(cls, metadata: Mapping[str, Any]) -> VAEConfig:
    """Builds the config from the `vae` object of a checkpoint's metadata.

    Raises:
      ValueError: If the class is another one, or an option is unknown.
    """
    metadata = dict(metadata)
    class_name = metadata.pop("_class_name", "CausalVideoAutoencoder")
    if class_name != "CausalVideoAutoencoder":
      raise ValueError(
        f"The VAE's config has _class_name = {shown(class_name)}; this code runs "
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
      if not isinstance(entries, list | tuple) or len(entries) > _MOST_BLOCKS:
        raise ValueError(
          f"The VAE's config has {key} = {shown(entries)}; it must be a list of at "
          f"most {_MOST_BLOCKS} blocks."
        )
      metadata[key] = tuple(Block.from_metadata(entry) for entry in entries)
    lists = {name: metadata.pop(name) for name in ("encoder_blocks", "decoder_blocks")}
    plain = super().from_metadata(metadata)
    return dataclasses.replace(plain, **lists)

  def to_metadata(self) -> dict[str, Any]:
    metadata = super().to_metadata()
    for key in ("encoder_blocks", "decoder_blocks"):
      metadata[key] = [block.to_metadata() for block in getattr(self, key)]
    return {"_class_name": "CausalVideoAutoencoder"} | metadata

  @property
  def spatial_factor(self) -> int:
    """Pixels per side of a latent position (32 in the releases)."""
    return self.patch_size * math.prod(b.strides[1] for b in self.encoder_blocks)

  @property
  def temporal_factor(self) -> int:
    """Frames per latent position after the first (8 in the releases)."""
    return math.prod(block.strides[0] for block in self.encoder_blocks)

  @property
  def decoder_channels(self) -> int:
    """Channels of the decoder's first block, at the latent end."""
    growth = math.prod(block.growth for block in self.decoder_blocks)
    return self.decoder_base_channels * growth

  @property
  def moment_channels(self) -> int:
    """Channels of the encoder's last convolution."""
    extra = {"uniform": 1, "constant": 1, "none": 0}
    return self.latent_channels + extra.get(self.latent_log_var, self.latent_channels)

  def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
    """Returns (f, h, w) of a clip; partial positions are rounded up."""
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

  With `dims` 2 every frame is processed on its own.
  """

  in_channels: int = 128
  mid_channels: int = 512
  num_blocks_per_stage: int = 4
  dims: int = 3
  spatial_upsample: bool = True
  temporal_upsample: bool = False
  extra: tuple[tuple[str, Any], ...] = ()

  CALLED: ClassVar[str] = "upsampler"
  DEFAULTS: ClassVar[dict[str, Any]] = {
    "in_channels": 4,
    "mid_channels": 128,
    "dims": 2,
  }

  def __post_init__(self):
    name = "The latent upsampler's config"
    require(name, "dims", self.dims, (2, 3))
    bounds = {"in_channels": SIZE, "mid_channels": SIZE}
    check_fields(self, bounds | {"num_blocks_per_stage": LAYERS}, "upsampler.{}")
    if not (self.spatial_upsample or self.temporal_upsample):
      raise ValueError(f"{name} has neither spatial_ nor temporal_upsample; set one.")
    if self.temporal_upsample and self.dims == 2:
      raise ValueError(f"{name} has temporal_upsample, which needs dims = 3, not 2.")
    if self.mid_channels % 32:
      raise ValueError(f"mid_channels is {self.mid_channels}; take a multiple of 32.")
