"""The latent upsampler: doubles the width and height of latents, or their frames.

    h = SiLU(norm(conv(z)))          width c -> mid
    h = residual blocks(h)
    h = grow(h)                      convolve to 4 (2, 8) mid channels, move into space
    h = residual blocks(h)           (time, both)
    z = conv(h)                      mid -> c

A residual block is SiLU(x + norm(conv(SiLU(norm(conv(x)))))). Convolutions are not
causal and pad with zeros, in time too. Growing in time makes 2 f frames. The first is
dropped, because a causal VAE's first latent frame stands for one frame; 2 f - 1 remain.

The network works on un-normalised latents, as the encoder returns them. The releases
run it in float32. Source: `LatentUpsampler` of the PyTorch original.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config import LatentUpsamplerConfig
from ltx_jax.models.convolution import Strides, convolve
from ltx_jax.models.vae_layers import GroupNorm, depth_to_space
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import Key, Latents, Params

_NORM_EPS = 1e-5
_kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class _Conv(nn.Module):
  """A convolution of size 3 over space, and over time if `in_time`."""

  features: int
  in_time: bool
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w o"]:
    size = (3, 3, 3) if self.in_time else (3, 3)
    shape = (*size, x.shape[-1], self.features)
    kernel = self.param("kernel", _kernel_init, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    t = 1 if self.in_time else 0
    x = jnp.pad(x, ((0, 0), (t, t), (1, 1), (1, 1), (0, 0)))
    kernel = kernel if self.in_time else kernel[None]
    return convolve(x, kernel, bias, (1, 1, 1), self.policy)


class _ResBlock(nn.Module):
  """SiLU(x + norm(conv(SiLU(norm(conv(x))))))."""

  config: LatentUpsamplerConfig
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
    c, in_time = x.shape[-1], self.config.dims == 3
    h = _Conv(c, in_time, self.policy, name="conv1")(x)
    h = nn.silu(GroupNorm(self.policy, _NORM_EPS, name="norm1")(h))
    h = _Conv(c, in_time, self.policy, name="conv2")(h)
    h = GroupNorm(self.policy, _NORM_EPS, name="norm2")(h)
    return nn.silu(x + h)


class LatentUpsampler(nn.Module):
  """The network of the module docstring; latents [b f h w c], un-normalised."""

  config: LatentUpsamplerConfig
  policy: Policy

  @nn.compact
  def __call__(
    self, latents: Float[Array, "b f h w c"]
  ) -> Float[Array, "b f2 h2 w2 c"]:
    config, policy = self.config, self.policy
    mid, in_time = config.mid_channels, config.dims == 3
    x = latents.astype(policy.dtype)
    b, f, h, w, c = x.shape
    if not in_time:  # Every frame is a clip of its own, in the norms too.
      x = x.reshape(b * f, 1, h, w, c)
    x = _Conv(mid, in_time, policy, name="initial_conv")(x)
    x = nn.silu(GroupNorm(policy, _NORM_EPS, name="initial_norm")(x))
    x = self._stage("res_blocks", x)
    x = self._grow(x)
    x = self._stage("post_upsample_res_blocks", x)
    x = _Conv(c, in_time, policy, name="final_conv")(x)
    return x.reshape(b, -1, *x.shape[2:])

  def _stage(self, name: str, x: Array) -> Array:
    depth = self.config.num_blocks_per_stage
    # A scanned function scans only the parameters of a module that it is passed.
    layers = nn.scan(
      lambda layer, x, _: (layer(x), None),
      variable_axes={"params": 0},
      split_rngs={"params": True},
      length=depth,
      unroll=depth if self.policy.unroll else 1,
    )
    return layers(_ResBlock(self.config, self.policy, name=name), x, None)[0]

  def _grow(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f2 h2 w2 c"]:
    t, y, x_ = strides = growth(self.config)
    in_time = self.config.temporal_upsample
    conv = _Conv(t * y * x_ * x.shape[-1], in_time, self.policy, name="upsampler")
    grown = depth_to_space(conv(x), strides)
    return grown[:, 1:] if in_time else grown


def growth(config: LatentUpsamplerConfig) -> Strides:
  """Returns the factors by which an upsampler multiplies (frames, height, width)."""
  space = 2 if config.spatial_upsample else 1
  return (2 if config.temporal_upsample else 1, space, space)


def init_upsampler(key: Key, config: LatentUpsamplerConfig) -> Params:
  """Draws the parameters of an upsampler."""
  latents = jnp.zeros((1, 1, 1, 1, config.in_channels))
  return LatentUpsampler(config, CPU).init(key, latents)["params"]


def upsample(
  params: Params, config: LatentUpsamplerConfig, policy: Policy, latents: Latents
) -> Float[Array, "b f2 h2 w2 c"]:
  """Returns latents with more frames, rows and columns (`growth`), in float32.

  Args:
    latents: Un-normalised latents, as the encoder returns them.

  Raises:
    ValueError: If the number of channels differs from the upsampler's.
  """
  c = latents.shape[-1]
  if c != config.in_channels:
    raise ValueError(
      f"The latents have {c} channels, but the upsampler takes {config.in_channels}; "
      "use the upsampler of the same release as the VAE."
    )
  variables = {"params": params}
  out = LatentUpsampler(config, policy).apply(variables, jnp.asarray(latents))
  return jax.lax.convert_element_type(out, jnp.float32)
