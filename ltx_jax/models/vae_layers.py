"""Building blocks of the Video-VAE.

Residual blocks have pixel norm, an adaptive scale and shift from the noise level, and
injected noise. Down-sampling moves space and time into channels; up-sampling moves them
back. Shapes are b f h w c.

Source: the paper's section on the Video-VAE; the PyTorch original's
`causal_video_autoencoder`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ltx_jax.config import VAEConfig
from ltx_jax.models.convolution import Strides, causal_conv
from ltx_jax.models.sharded import split_frames
from ltx_jax.models.vae_attention import AttentionBlock
from ltx_jax.platforms import Policy
from ltx_jax.typing import Key

_PIXEL_NORM_EPS = 1e-8
_NORM_EPS = 1e-6
_GROUPS = 32

_kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class TilePlace(NamedTuple):
  """The place of a tile in a frame; its noise is cut from that of the whole frame.

  Attributes:
    frame: Rows and columns of the whole frame.
    offset: First row and column of the tile.
  """

  frame: tuple[int, int]
  offset: Int[Array, "2"]

  def doubled(self) -> TilePlace:
    """Returns the same place at twice the resolution."""
    return TilePlace((2 * self.frame[0], 2 * self.frame[1]), 2 * self.offset)


def _noise_image(key: Key, size: tuple[int, int], place: TilePlace | None) -> Array:
  """Draws the noise of a frame; for a tile, cuts it from that of the whole frame."""
  if place is None:
    return jax.random.normal(key, size)
  image = jax.random.normal(key, place.frame)
  return jax.lax.dynamic_slice(image, tuple(place.offset), size)


class CausalConv(nn.Module):
  """A convolution of size 3 with padding and bias (see `models.convolution`)."""

  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  strides: Strides = (1, 1, 1)
  kernel_init: nn.initializers.Initializer = _kernel_init

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f2 h2 w2 o"]:
    shape = (3, 3, 3, x.shape[-1], self.features)
    y = causal_conv(
      x,
      self.param("kernel", self.kernel_init, shape),
      self.param("bias", nn.initializers.zeros, (self.features,)),
      strides=self.strides,
      causal=self.causal,
      padding=self.config.spatial_padding_mode,
      policy=self.policy,
    )
    return split_frames(y, self.policy)


def pixel_norm(x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
  """Returns x / sqrt(mean over channels of x^2), with statistics in float32."""
  mean_square = jnp.mean(jnp.square(x.astype(jnp.float32)), axis=-1, keepdims=True)
  scale = jax.lax.rsqrt(mean_square + _PIXEL_NORM_EPS)
  return (x * scale).astype(x.dtype)


class LayerNorm(nn.Module):
  """Normalises over channels, with scale and bias."""

  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
    c = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (c,))
    bias = self.param("bias", nn.initializers.zeros, (c,))
    h = x.astype(jnp.float32)
    h = h - jnp.mean(h, axis=-1, keepdims=True)
    h = h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + _NORM_EPS)
    return (h * scale + bias).astype(self.policy.dtype)


class GroupNorm(nn.Module):
  """Normalises over time, space and a 32nd of the channels, with scale and bias.

  Raises:
    ValueError: If the channels are not a multiple of 32.
  """

  policy: Policy
  eps: float = _NORM_EPS

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
    b, f, h, w, c = x.shape
    if c % _GROUPS:
      raise ValueError(
        f"'group_norm' meets {c} channels; they must be a multiple of {_GROUPS}."
      )
    scale = self.param("scale", nn.initializers.ones, (c,))
    bias = self.param("bias", nn.initializers.zeros, (c,))
    # Keep rows and columns as separate axes, because they may be sharded.
    g = x.astype(jnp.float32).reshape(b, f, h, w, _GROUPS, c // _GROUPS)
    group = (1, 2, 3, 5)
    g = g - jnp.mean(g, axis=group, keepdims=True)
    g = g * jax.lax.rsqrt(jnp.mean(g * g, axis=group, keepdims=True) + self.eps)
    return (g.reshape(b, f, h, w, c) * scale + bias).astype(self.policy.dtype)


class PixelNorm(nn.Module):
  """`pixel_norm` as a module without parameters."""

  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
    return pixel_norm(x)


NORMS = {"pixel_norm": PixelNorm, "group_norm": GroupNorm, "layer_norm": LayerNorm}


class ResnetBlock(nn.Module):
  """norm, modulate, SiLU, convolve; twice; plus a shortcut.

  Attributes:
    features: Output channels; the shortcut is projected if the input has others.
    conditioned: Whether scale and shift come from the noise level's embedding.
    inject_noise: Whether each convolution is followed by noise: one standard-normal
      image for the whole batch and all frames, times a learned strength per channel.
    attention_head_dim: Head width of the self-attention that follows (`attn_res_x`);
      None means no attention.
  """

  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  conditioned: bool = False
  inject_noise: bool = False
  attention_head_dim: int | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b f h w c"],
    embedding: Float[Array, "b 4*c"] | None = None,
    key: Key | None = None,
    place: TilePlace | None = None,
  ) -> Float[Array, "b f h w o"]:
    norm = NORMS[self.config.norm_layer]
    shift1, scale1, shift2, scale2 = self._modulation(x.shape[-1], embedding)
    key1, key2 = (None, None) if key is None else jax.random.split(key)

    h = norm(self.policy, name="norm1")(x)
    h = nn.silu(h * (1 + scale1) + shift1)
    h = self._conv("conv1", _kernel_init)(h)
    h = self._add_noise("per_channel_scale1", h, key1, place)

    h = norm(self.policy, name="norm2")(h)
    h = nn.silu(h * (1 + scale2) + shift2)
    # Zeros: at the start of training a residual block is the identity.
    h = self._conv("conv2", nn.initializers.zeros)(h)
    h = self._add_noise("per_channel_scale2", h, key2, place)
    h = self._shortcut(x) + h
    if self.attention_head_dim is None:
      return h
    return AttentionBlock(self.attention_head_dim, self.policy, name="attention")(h)

  def _conv(self, name: str, init: nn.initializers.Initializer) -> CausalConv:
    return CausalConv(
      self.features,
      self.config,
      self.policy,
      self.causal,
      kernel_init=init,
      name=name,
    )

  def _modulation(self, c: int, embedding: Array | None) -> tuple[Array | float, ...]:
    """Returns shift and scale of the first and of the second norm, each b 1 1 1 c."""
    if not self.conditioned:
      return 0.0, 0.0, 0.0, 0.0
    init = nn.initializers.normal(1 / math.sqrt(c))
    table = self.param("scale_shift_table", init, (4, c))
    ada = table + embedding.astype(jnp.float32).reshape(-1, 4, c)  # b 4 c
    ada = ada.astype(self.policy.dtype)[:, :, None, None, None]
    return ada[:, 0], ada[:, 1], ada[:, 2], ada[:, 3]

  def _add_noise(
    self, name: str, h: Array, key: Key | None, place: TilePlace | None
  ) -> Array:
    if not self.inject_noise:
      return h
    strength = self.param(name, nn.initializers.zeros, h.shape[-1:])
    if key is None:
      return h
    image = _noise_image(key, h.shape[2:4], place)[..., None]  # h w 1
    return h + (image * strength).astype(h.dtype)

  def _shortcut(self, x: Array) -> Array:
    if x.shape[-1] == self.features:
      return x
    x = LayerNorm(self.policy, name="norm3")(x)
    dense = nn.Conv(
      self.features, (1, 1, 1), dtype=self.policy.dtype, name="conv_shortcut"
    )
    return dense(x)


def pixels_to_patches(
  video: Float[Array, "b F H W c"], p: int
) -> Float[Array, "b F h w k"]:
  """Moves p x p pixels into channels ordered (c, x offset, y offset).

  H and W are multiples of p. The x offset varies slower than the y offset, which is
  unusual but matches the original.
  """
  b, f, height, width, c = video.shape
  x = video.reshape(b, f, height // p, p, width // p, p, c)
  return x.transpose(0, 1, 2, 4, 6, 5, 3).reshape(
    b, f, height // p, width // p, c * p * p
  )


def patches_to_pixels(
  x: Float[Array, "b F h w k"], p: int
) -> Float[Array, "b F H W c"]:
  """Moves channels back to pixels: the inverse of `pixels_to_patches`."""
  b, f, h, w, k = x.shape
  x = x.reshape(b, f, h, w, k // (p * p), p, p)
  return x.transpose(0, 1, 2, 6, 3, 5, 4).reshape(b, f, h * p, w * p, k // (p * p))


def space_to_depth(
  x: Float[Array, "b F H W c"], strides: Strides
) -> Float[Array, "b f h w k"]:
  """Moves blocks of time and space into channels ordered (c, t, y, x).

  F, H and W are multiples of the strides.
  """
  b, f, h, w, c = x.shape
  p, q, r = strides
  x = x.reshape(b, f // p, p, h // q, q, w // r, r, c)
  return x.transpose(0, 1, 3, 5, 7, 2, 4, 6).reshape(
    b, f // p, h // q, w // r, c * p * q * r
  )


def depth_to_space(
  x: Float[Array, "b f h w k"], strides: Strides
) -> Float[Array, "b F H W c"]:
  """Moves channels back to time and space: the inverse of `space_to_depth`."""
  b, f, h, w, k = x.shape
  p, q, r = strides
  c = k // (p * q * r)
  x = x.reshape(b, f, h, w, c, p, q, r)
  return x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, f * p, h * q, w * r, c)


class Downsample(nn.Module):
  """A strided convolution."""

  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  strides: Strides

  @nn.compact
  def __call__(self, x: Float[Array, "b F H W c"]) -> Float[Array, "b f h w o"]:
    conv = CausalConv(
      self.features, self.config, self.policy, self.causal, self.strides, name="conv"
    )
    return conv(x)


class SpaceToDepthDownsample(nn.Module):
  """Convolution and space-to-depth, plus group means of the rearranged input.

  Raises:
    ValueError: If `features` is not a multiple of the block's volume, or the input's
      channels times that volume not a multiple of `features`.
  """

  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  strides: Strides

  @nn.compact
  def __call__(self, x: Float[Array, "b F H W c"]) -> Float[Array, "b f h w o"]:
    volume = math.prod(self.strides)
    if self.features % volume or x.shape[-1] * volume % self.features:
      raise ValueError(
        f"A residual compress block from {x.shape[-1]} to {self.features} channels "
        f"over {volume} positions does not work out; {self.features} must be a "
        f"multiple of {volume} and divide {x.shape[-1] * volume}."
      )
    if self.strides[0] == 2:  # 8k + 1 frames become 8k + 2: the first counts twice.
      x = jnp.concatenate([x[:, :1], x], axis=1)
    skip = space_to_depth(x, self.strides)
    groups = skip.reshape(*skip.shape[:-1], self.features, -1)
    conv = CausalConv(
      self.features // volume, self.config, self.policy, self.causal, name="conv"
    )
    return space_to_depth(conv(x), self.strides) + jnp.mean(groups, axis=-1)


class DepthToSpaceUpsample(nn.Module):
  """Convolution and depth-to-space, optionally plus the rearranged input, tiled.

  Raises:
    ValueError: If the input's channels are not a multiple of the block's volume, or
      cannot be tiled to `features`.
  """

  features: int
  config: VAEConfig
  policy: Policy
  causal: bool
  strides: Strides
  residual: bool

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b F H W o"]:
    volume = math.prod(self.strides)
    features = self.features * volume
    conv = CausalConv(features, self.config, self.policy, self.causal, name="conv")
    y = depth_to_space(conv(x), self.strides)
    if self.residual:
      if x.shape[-1] % volume or features % x.shape[-1]:
        raise ValueError(
          f"A residual compress block from {x.shape[-1]} to {self.features} channels "
          f"over {volume} positions does not work out; {x.shape[-1]} must be a "
          f"multiple of {volume} and divide {features}."
        )
      skip = depth_to_space(x, self.strides)
      y = y + jnp.tile(skip, self.features // skip.shape[-1])
    # The first of the doubled frames stands for nothing: f frames become 2f - 1.
    return y[:, 1:] if self.strides[0] == 2 else y
