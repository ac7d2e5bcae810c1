"""The VAE's config and names in diffusers (`AutoencoderKLLTXVideo`), in both
directions.

The official config lists blocks one after another; diffusers groups them in levels. A
level is a stage of residual blocks, then the block that changes the size (towards the
latents), then one more residual block if the channels change. The last level is the
stage in the middle:

    encoder   res_x, compress_*, res_x_y   down_blocks.k.{resnets, downsamplers.0, conv_out}
    decoder   res_x, compress_all, res_x_y   up_blocks.k.{resnets, upsamplers.0, conv_in}
    both      res_x   mid_block.resnets

Both lists run from pixels to latents, as in the metadata; the decoder walks its list
backwards, and its block indices do too. Generation C's encoder compresses by
space-to-depth ("0.9.5" in diffusers), which changes the channels itself.

Source: `autoencoder_kl_ltx.py` of diffusers 0.35.2.
"""  # noqa: E501

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.arrays import listed
from ltx_jax.checkpoints.diffusers_configs import check_kinds
from ltx_jax.config import Block, VAEConfig
from ltx_jax.config.metadata import require
from ltx_jax.errors import shown

CLASS = "AutoencoderKLLTXVideo"
_NAME = "The VAE's config in the diffusers layout"
_OLDER, _NEWER = "LTXVideoDownBlock3D", "LTXVideo095DownBlock3D"
_DOWNSAMPLING = {
  "compress_all": "conv",
  "compress_space_res": "spatial",
  "compress_time_res": "temporal",
  "compress_all_res": "spatiotemporal",
}
# Defaults of the class's constructor; early folders leave out options added later.
_DEFAULTS: dict[str, Any] = {
  "in_channels": 3,
  "out_channels": 3,
  "latent_channels": 128,
  "block_out_channels": [128, 256, 512, 512],
  "down_block_types": [_OLDER] * 4,
  "decoder_block_out_channels": [128, 256, 512, 512],
  "layers_per_block": [4, 3, 3, 3, 4],
  "decoder_layers_per_block": [4, 3, 3, 3, 4],
  "spatio_temporal_scaling": [True, True, True, False],
  "decoder_spatio_temporal_scaling": [True, True, True, False],
  "decoder_inject_noise": [False] * 5,
  "downsample_type": ["conv"] * 4,
  "upsample_residual": [False] * 4,
  "upsample_factor": [1] * 4,
  "timestep_conditioning": False,
  "patch_size": 4,
  "patch_size_t": 1,
  "resnet_norm_eps": 1e-6,
  "scaling_factor": 1.0,
  "encoder_causal": True,
  "decoder_causal": False,
  "spatial_compression_ratio": None,
  "temporal_compression_ratio": None,
}
_SAME = (
  "in_channels",
  "out_channels",
  "latent_channels",
  "patch_size",
  "timestep_conditioning",
)
_BLOCK = re.compile(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(.*)")
_RENAMED = (
  ("res_blocks.", "resnets."),
  ("conv_shortcut.", "conv_shortcut.conv."),
  ("norm3.norm.", "norm3."),
)
_STATISTICS = {
  keys.MEAN_OF_MEANS: "latents_mean",
  f"{keys.STATISTICS}std-of-means": "latents_std",
}


class _Level(NamedTuple):
  """A level: the indices of its blocks in the list, from pixels to latents."""

  stage: int
  sampler: int | None = None
  change: int | None = None


def names(config: VAEConfig) -> dict[str, str]:
  """Returns diffusers' name of every tensor, by its official key.

  Raises:
    ValueError: If diffusers' class cannot represent this VAE.
  """
  modules = {}
  for part, blocks, (folder, sampler, change) in (
    ("encoder", config.encoder_blocks, ("down_blocks", "downsamplers.0", "conv_out")),
    ("decoder", config.decoder_blocks, ("up_blocks", "upsamplers.0", "conv_in")),
  ):
    levels = _levels(part, blocks)
    for k, level in enumerate(levels):
      last = len(levels) - 1
      number = k if part == "encoder" else last - 1 - k
      name = f"{part}.mid_block" if k == last else f"{part}.{folder}.{number}"
      places = (name, f"{name}.{sampler}", f"{name}.{change}")
      for index, place in zip(level, places, strict=True):
        if index is not None:
          walked = index if part == "encoder" else len(blocks) - 1 - index
          modules[part, walked] = place
  return {entry.key: _name(entry.key, modules) for entry in keys.vae_entries(config)}


def _name(key: str, modules: Mapping[tuple[str, int], str]) -> str:
  if key in _STATISTICS:
    return _STATISTICS[key]
  found = _BLOCK.fullmatch(key)
  if found is None:
    return key.replace("decoder.last_", "decoder.")
  part, index, rest = found.groups()
  for old, new in _RENAMED:
    rest = rest.replace(old, new)
  return f"{modules[part, int(index)]}.{rest}"


def from_diffusers(metadata: Mapping[str, Any]) -> VAEConfig:
  """Builds the config from `vae/config.json`.

  Raises:
    ValueError: If the class is another one, or an option is unknown.
  """
  given = {k: v for k, v in metadata.items() if not k.startswith("_")}
  require(_NAME, "_class_name", metadata.get("_class_name", CLASS), (CLASS,))
  unknown = sorted(given.keys() - _DEFAULTS.keys())
  if unknown:
    raise ValueError(f"{_NAME} has unknown options: {listed(unknown)}.")
  given = {key: value for key, value in given.items() if value is not None}
  check_kinds(_NAME, given, _DEFAULTS)
  options = _DEFAULTS | given
  for key, only in (("encoder_causal", True), ("patch_size_t", 1)):
    require(_NAME, key, options[key], (only,))
  require(_NAME, "resnet_norm_eps", options["resnet_norm_eps"], (1e-6,))
  try:
    encoder, decoder = _encoder_blocks(options), _decoder_blocks(options)
  except IndexError:
    lists = [f"{k} = {shown(v)}" for k, v in options.items() if isinstance(v, list)]
    raise ValueError(
      f"{_NAME} has lists that are too short: {'; '.join(lists)}."
    ) from None
  return VAEConfig(
    encoder_blocks=encoder,
    decoder_blocks=decoder,
    causal_decoder=options["decoder_causal"],
    encoder_base_channels=options["block_out_channels"][0],
    decoder_base_channels=_widths(options)[0],
    **{key: options[key] for key in _SAME},
  )


def _encoder_blocks(options: Mapping[str, Any]) -> tuple[Block, ...]:
  channels, layers = options["block_out_channels"], options["layers_per_block"]
  types = options["down_block_types"]
  require(
    _NAME, "down_block_types", types, ([_OLDER] * len(types), [_NEWER] * len(types))
  )
  newer = types[0] == _NEWER
  count = len(channels) - newer
  samplers = {kind: name for name, kind in _DOWNSAMPLING.items()}
  blocks = []
  for k in range(count):
    width, out = channels[k], channels[min(k + 1, len(channels) - 1)]
    blocks.append(Block("res_x", layers[k]))
    kind = options["downsample_type"][k] if newer else "conv"
    require(_NAME, "downsample_type", kind, tuple(samplers))
    shuffles = kind != "conv"
    if options["spatio_temporal_scaling"][k]:
      grown = _ratio("block_out_channels", out, width) if shuffles else None
      blocks.append(Block(samplers[kind], multiplier=grown))
    if out != width and not newer:
      grown = _ratio("block_out_channels", out, width)
      blocks.append(Block("res_x_y", multiplier=None if grown == 2 else grown))
  return (*blocks, Block("res_x", layers[-1]))


def _decoder_blocks(options: Mapping[str, Any]) -> tuple[Block, ...]:
  channels, factors = options["decoder_block_out_channels"], options["upsample_factor"]
  layers, noise = options["decoder_layers_per_block"], options["decoder_inject_noise"]
  widths, blocks = _widths(options), []
  for k in range(len(channels)):
    blocks.append(Block("res_x", layers[k], inject_noise=noise[k]))
    if not options["decoder_spatio_temporal_scaling"][k]:
      require(_NAME, "upsample_factor", factors[k], (1,))
    else:
      blocks.append(
        Block(
          "compress_all",
          multiplier=None if factors[k] == 1 else factors[k],
          residual=options["upsample_residual"][k],
        )
      )
    grown = _ratio("decoder_block_out_channels", widths[k + 1], channels[k])
    if grown != 1:
      require(_NAME, "upsample_factor", factors[k], (1,))  # Its channels would not fit.
      multiplier = None if grown == 2 else grown
      blocks.append(Block("res_x_y", multiplier=multiplier, inject_noise=noise[k]))
  last = len(channels)
  return (*blocks, Block("res_x", layers[last], inject_noise=noise[last]))


def _widths(options: Mapping[str, Any]) -> list[int]:
  """Returns the channels of the decoder's stages, from pixels to latents."""
  channels, factors = options["decoder_block_out_channels"], options["upsample_factor"]
  ratios = [_ratio("upsample_factor", c, factors[k]) for k, c in enumerate(channels)]
  return [*ratios, channels[-1]]


def _ratio(key: str, large: int, small: int) -> int:
  if small < 1 or large % small:
    raise ValueError(f"{_NAME} has {key} with {large}, not a multiple of {small}.")
  return large // small


def to_diffusers(config: VAEConfig) -> dict[str, Any]:
  """Returns `vae/config.json` of a VAE.

  Raises:
    ValueError: If diffusers' class cannot represent this VAE.
  """
  for key, only in (
    ("norm_layer", "pixel_norm"),
    ("latent_log_var", "uniform"),
    ("use_quant_conv", False),
    ("normalize_latent_channels", False),
    ("spatial_padding_mode", "zeros"),
  ):
    if getattr(config, key) != only:
      raise _inexpressible(f"{key} = {getattr(config, key)!r} (it has {only!r})")
  options = _DEFAULTS | {key: getattr(config, key) for key in _SAME}
  options |= _encoder_options(config) | _decoder_options(config)
  options |= {
    "decoder_causal": config.causal_decoder,
    "spatial_compression_ratio": config.spatial_factor,
    "temporal_compression_ratio": config.temporal_factor,
  }
  again = from_diffusers(options)
  if keys.vae_entries(again) != keys.vae_entries(config) or _plain(again) != _plain(
    config
  ):
    raise _inexpressible("these block lists")
  return {"_class_name": CLASS} | options


def _encoder_options(config: VAEConfig) -> dict[str, Any]:
  blocks = config.encoder_blocks
  *levels, middle = _levels("encoder", blocks)
  newer = any(block.kind == "shuffle" for block in blocks)
  channels, width, kinds = (
    [config.encoder_base_channels],
    config.encoder_base_channels,
    [],
  )
  for level in levels:
    sampler = None if level.sampler is None else blocks[level.sampler]
    change = None if level.change is None else blocks[level.change]
    kinds.append(_DOWNSAMPLING[sampler.name] if sampler else "conv")
    for block in (sampler, change):
      if block is not None and block.name != "compress_all":
        width *= block.multiplier or 2
    channels.append(width)
  return {
    "block_out_channels": channels if newer else channels[:-1],
    "down_block_types": [_NEWER if newer else _OLDER] * len(levels),
    "layers_per_block": [blocks[level.stage].num_layers for level in (*levels, middle)],
    "spatio_temporal_scaling": [level.sampler is not None for level in levels],
    "downsample_type": kinds,
  }


def _decoder_options(config: VAEConfig) -> dict[str, Any]:
  blocks, width = config.decoder_blocks, config.decoder_base_channels
  *levels, middle = _levels("decoder", blocks)
  stages = [blocks[level.stage] for level in (*levels, middle)]
  channels, factors, residual = [], [], []
  for level in levels:
    sampler = None if level.sampler is None else blocks[level.sampler]
    factors.append((sampler.multiplier or 1) if sampler else 1)
    residual.append(bool(sampler and sampler.residual))
    width *= factors[-1]
    channels.append(width)
    if level.change is not None:
      if config.timestep_conditioning:
        raise _inexpressible("'res_x_y' in a decoder that is told the noise level")
      width *= blocks[level.change].multiplier or 2
  return {
    "decoder_block_out_channels": channels,
    "decoder_layers_per_block": [stage.num_layers for stage in stages],
    "decoder_spatio_temporal_scaling": [level.sampler is not None for level in levels],
    "decoder_inject_noise": [stage.inject_noise for stage in stages],
    "upsample_residual": residual,
    "upsample_factor": factors,
  }


def _levels(part: str, blocks: Sequence[Block]) -> list[_Level]:
  """Splits a list into levels: every `res_x` begins one, and the last one is alone."""
  samplers = _DOWNSAMPLING if part == "encoder" else ("compress_all",)
  levels: list[_Level] = []
  for index, block in enumerate(blocks):
    if block.name == "res_x":
      levels.append(_Level(index))
    elif not levels or levels[-1].change is not None:
      raise _inexpressible(f"the {part}'s block {index} ({block.name!r}) there")
    elif block.name == "res_x_y":
      levels[-1] = levels[-1]._replace(change=index)
    elif block.name in samplers and levels[-1].sampler is None:
      levels[-1] = levels[-1]._replace(sampler=index)
    else:
      raise _inexpressible(f"the {part}'s block {index} ({block.name!r}) there")
  if not levels or levels[-1] != _Level(len(blocks) - 1):
    raise _inexpressible(f"a {part} whose last block at the latents is no 'res_x'")
  return levels


def _plain(config: VAEConfig) -> VAEConfig:
  """Returns the config with multipliers written out, and without foreign keys."""

  def plain(block: Block) -> Block:
    if block.name == "res_x":
      return block
    default = 1 if block.name == "compress_all" else 2
    return dataclasses.replace(block, multiplier=block.multiplier or default)

  return dataclasses.replace(
    config,
    encoder_blocks=tuple(map(plain, config.encoder_blocks)),
    decoder_blocks=tuple(map(plain, config.decoder_blocks)),
    extra=(),
  )


def _inexpressible(what: str) -> ValueError:
  return ValueError(
    f"diffusers' {CLASS} cannot have {what}; write the official single file, "
    "NAME.safetensors, instead."
  )
