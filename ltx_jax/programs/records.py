"""Encoders for a whole data set: each device encodes its own clips.

Every device runs the same program that a single device would run on its clips, so the
result does not depend on the number of devices, to the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import BFloat16, Float, Int, UInt8

from ltx_jax.config import TextEncoderConfig, VAEConfig
from ltx_jax.data.pixels import to_floats
from ltx_jax.models import text_encoder, vae
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Params, TextMask

_AXIS = "devices"


def row_mesh(devices: tuple[jax.Device, ...]) -> Mesh:
  """Returns a mesh whose one axis shards rows."""
  return Mesh(devices, (_AXIS,), axis_types=(AxisType.Auto,))


def replicate(params: Params, mesh: Mesh) -> Params:
  """Replicates parameters on every device of a mesh."""
  return jax.device_put(params, NamedSharding(mesh, PartitionSpec()))


def _on_rows(program: Callable, mesh: Mesh, policy: Policy) -> Callable:
  """Compiles program(params, *rows) so that each device runs it on its own rows."""
  rows = PartitionSpec(_AXIS)

  def split(params: Params, *inputs: jax.Array) -> Any:
    specs = PartitionSpec(), *[rows] * len(inputs)
    local = jax.shard_map(
      program, mesh=mesh, in_specs=specs, out_specs=rows, check_vma=False
    )
    return local(params, *inputs)

  return jax.jit(split, compiler_options=policy.options)


@functools.cache
def encode_clips(config: VAEConfig, policy: Policy, mesh: Mesh) -> Callable:
  """Returns (params, video uint8 [b F H W 3]) -> latents, log-variances.

  The latents [b f h w c] are the posterior's mode, normalised, in bfloat16. The
  log-variances [b f h w 1] (or [b f h w c] if each channel has its own) belong to the
  latents before normalisation.
  """

  def program(
    params: Params, video: UInt8[AnyArray, "b F H W 3"]
  ) -> tuple[BFloat16[AnyArray, "b f h w c"], Float[AnyArray, "b f h w _"]]:
    pixels = to_floats(video)
    mean, logvar = vae.encode_moments(params, config, policy, pixels)
    latents = vae.normalize(params, mean).astype(jnp.bfloat16)
    each = config.latent_log_var == "per_channel"
    return latents, logvar if each else logvar[..., :1]

  return _on_rows(program, mesh, policy)


@functools.cache
def encode_captions(config: TextEncoderConfig, policy: Policy, mesh: Mesh) -> Callable:
  """Returns (params, tokens [b m], mask [b m]) -> text [b m e] in bfloat16."""

  def program(
    params: Params, tokens: Int[AnyArray, "b m"], mask: TextMask
  ) -> BFloat16[AnyArray, "b m e"]:
    text = text_encoder.encode(params, config, policy, tokens, mask)
    return text.astype(jnp.bfloat16)

  return _on_rows(program, mesh, policy)
