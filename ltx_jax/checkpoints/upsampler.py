"""The file of a latent upsampler: its tensors without a prefix, its config flat.

    res_blocks.2.conv1.weight (out, in, t, h, w)
      = res_blocks/conv1/kernel[2] (t, h, w, in, out)

Source: `LatentUpsampler.from_pretrained` of the PyTorch original.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.arrays import Place
from ltx_jax.checkpoints.keys import (
  CONV,
  FRAME_CONV,
  Entry,
  Shape,
  stacked,
  tree_shapes,
)
from ltx_jax.checkpoints.networks import check
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import LatentUpsamplerConfig
from ltx_jax.files import NotJSON, parse_json
from ltx_jax.typing import Params

_CLASS = {"_class_name": "LatentUpsampler"}
_STAGES = ("res_blocks", "post_upsample_res_blocks")


def upsampler_entries(config: LatentUpsamplerConfig) -> list[Entry]:
  """Returns the tensors of an upsampler, as the original names them."""
  return list(_entries(config))


def _entries(config: LatentUpsamplerConfig) -> Iterator[Entry]:
  c, mid, in_time = config.in_channels, config.mid_channels, config.dims == 3
  volume = (4 if config.spatial_upsample else 1) * (
    2 if config.temporal_upsample else 1
  )
  yield from _conv("initial_conv", "initial_conv", c, mid, in_time)
  yield from _norm("initial_norm", mid)
  block = [
    *_conv("conv1", "conv1", mid, mid, in_time),
    *_norm("norm1", mid),
    *_conv("conv2", "conv2", mid, mid, in_time),
    *_norm("norm2", mid),
  ]
  for stage in _STAGES:
    yield from stacked(block, config.num_blocks_per_stage, stage, stage)
  grows_time = config.temporal_upsample
  yield from _conv("upsampler.0", "upsampler", mid, volume * mid, grows_time)
  yield from _conv("final_conv", "final_conv", mid, c, in_time)


def _conv(key: str, path: str, n_in: int, n_out: int, in_time: bool) -> Iterator[Entry]:
  size, layout = ((3, 3, 3), CONV) if in_time else ((3, 3), FRAME_CONV)
  yield Entry(f"{key}.weight", f"{path}/kernel", (n_out, n_in, *size), layout)
  yield Entry(f"{key}.bias", f"{path}/bias", (n_out,))


def _norm(key: str, channels: int) -> Iterator[Entry]:
  yield Entry(f"{key}.weight", f"{key}/scale", (channels,))
  yield Entry(f"{key}.bias", f"{key}/bias", (channels,))


def load_upsampler(
  path: str | os.PathLike[str],
  dtype: str | None = "float32",
  place: Place | None = None,
) -> tuple[LatentUpsamplerConfig, Params]:
  """Reads a latent upsampler, spatial, temporal or both.

  Args:
    path: A file such as `ltxv-spatial-upscaler-0.9.8.safetensors`.
    dtype: Dtype to cast weights to; None keeps the file's. The releases run upsamplers
      in float32.
    place: Function that places each array as soon as it is complete; None uses the
      default device.

  Raises:
    ValueError: If the file is not an upsampler, is truncated, or has other tensors than
      its config needs; the message names the file and what was found.
  """
  with open_safetensors(path) as reader:
    config = _read_config(reader)
    entries = upsampler_entries(config)
    _check_tensors(reader, config, entries)
    return config, arrays.read_network(reader, entries, dtype, place)


def save_upsampler(
  path: str | os.PathLike[str], config: LatentUpsamplerConfig, params: Params
) -> None:
  """Writes a latent upsampler that the PyTorch original reads.

  Raises:
    ValueError: If `params` do not have the arrays that `config` needs.
  """
  entries = upsampler_entries(config)
  found = {name: tuple(array.shape) for name, array in flatten(params).items()}
  check(f"The parameters of {path}", describe(config), tree_shapes(entries), found)
  tensors = arrays.network_to_write(entries, params, None)
  metadata = _CLASS | config.to_metadata()
  write_safetensors(path, tensors, {"config": json.dumps(metadata)})


def describe(config: LatentUpsamplerConfig) -> str:
  """Describes an upsampler by its kind and sizes."""
  grown = {
    (True, False): "spatial",
    (False, True): "temporal",
    (True, True): "spatial and temporal",
  }[config.spatial_upsample, config.temporal_upsample]
  return (
    f"a {grown} latent upsampler of width {config.mid_channels} and "
    f"{config.num_blocks_per_stage} blocks a stage"
  )


def _read_config(reader: Reader) -> LatentUpsamplerConfig:
  """Reads the flat JSON object under the metadata key `config`."""
  try:
    metadata: Any = parse_json(reader.metadata.get("config", "null"))
  except NotJSON as error:
    raise ValueError(
      f"{reader.path} cannot be read. Its metadata config is not JSON ({error})."
    ) from None
  if not isinstance(metadata, Mapping) or "spatial_upsample" not in metadata:
    raise ValueError(
      f"{reader.path} is not a latent upsampler: its metadata config has no "
      "spatial_upsample; give a file such as ltxv-spatial-upscaler-0.9.8.safetensors."
    )
  try:
    return LatentUpsamplerConfig.from_metadata(metadata)
  except ValueError as error:
    raise ValueError(f"{reader.path} cannot be read. {error}") from None


def _check_tensors(
  reader: Reader, config: LatentUpsamplerConfig, entries: list[Entry]
) -> None:
  expected: dict[str, Shape] = {entry.key: entry.shape for entry in entries}
  found = {name: reader.shape(name) for name in reader.names}
  check(str(reader.path), describe(config), expected, found)
  for name in expected:
    if not jnp.issubdtype(reader.dtype(name), jnp.floating):
      raise ValueError(
        f"{reader.path} has {name} as {reader.dtype(name)}; weights are floating-point "
        "numbers; save them as bfloat16 or float32."
      )
