"""The aesthetic network: EfficientNet-Lite0, frozen, and a head that gives one score.

    x0 = relu6(conv(u8 - 127) / 128)                           3 x 3, stride 2
    block: y = conv1(relu6(depthwise(relu6(conv1(x)))));  y + x if the shapes agree
    features = mean over positions of relu6(conv1(x))          1280 numbers
    labels   = dense(features)                                 logits of ImageNet
    pooled   = mean and log deviation of the maps at strides 2 to 32, and the features
    score    = dense1(dropout(gelu(dense256(layer_norm(w (pooled - m) / d)))))

A network that was trained to name things ignores blur and noise, so its last layer is
half blind to them; means and deviations of its early maps are not. A blur divides a
deviation, whatever is shown, so its logarithm is taken. m and d are mean and deviation
of each number over the pictures that the head is trained on, and w is the inverse root
of the size of its group, the mean of a map, say. So 16 numbers of an early map count as
much as 1280 of the last one, which would drown them.

Batch norm is folded into the convolution before it, so every convolution has a bias.
Convolutions pad with zeros as TensorFlow does. The head may sit on any backbone.

Source: the Lite variants of EfficientNet (arXiv:1905.11946); the Siamese network of the
paper (arXiv:2501.00103), whose backbone is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from ltx_jax.config.aesthetic import EfficientNetConfig
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import AnyArray, Backbone, Key, Params

LITE0 = EfficientNetConfig()
SIDE = 224
"""Height and width of the pictures that Lite0 was trained on."""

HIDDEN, DROPPED = 256, 0.2
_MEAN, _SCALE = 127.0, 128.0
_LEAST = 0.01  # Deviation of a channel that hardly changes.


class Seen(NamedTuple):
  """What the backbone makes of pictures.

  Attributes:
    maps: The last map of each stride, from 2 on.
    features: What labels are read from.
    labels: Their logits.
  """

  maps: list[Float[Array, "b _ _ _"]]
  features: Float[Array, "b e"]
  labels: Float[Array, "b k"]


_init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class _Conv(nn.Module):
  """A convolution with zeros around the picture, and a bias."""

  features: int
  size: int
  stride: int
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", _init, shape).astype(self.policy.dtype)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
    convolve = jax.lax.conv_general_dilated
    y = convolve(x, kernel, strides, "SAME", dimension_numbers=layout)
    return y + bias.astype(self.policy.dtype)


class _Depthwise(nn.Module):
  """A convolution of each channel by itself, with zeros around the picture.

  It is a sum of shifted pictures, each times one number a channel.
  """

  size: int
  stride: int
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    channels = x.shape[-1]
    kernel = self.param("kernel", _init, (self.size, self.size, 1, channels))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    kernel, bias = kernel.astype(self.policy.dtype), bias.astype(self.policy.dtype)
    step, pads = self.stride, [(0, 0)]
    for side in x.shape[1:3]:
      total = max((-(-side // step) - 1) * step + self.size - side, 0)
      pads.append((total // 2, total - total // 2))
    height, width = (-(-side // step) for side in x.shape[1:3])
    x = jax.lax.optimization_barrier(jnp.pad(x, [*pads, (0, 0)]))
    y = bias
    for i in range(self.size):
      for k in range(self.size):
        rows, columns = slice(i, i + step * height, step), slice(k, None, step)
        y = y + x[:, rows, columns][:, :height, :width] * kernel[i, k, 0]
    return y


class _Block(nn.Module):
  """An inverted bottleneck: wider, along each channel, and narrow again."""

  size: int
  stride: int
  expansion: int
  channels: int
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
    wide = x.shape[-1] * self.expansion
    y = x
    if self.expansion > 1:
      y = nn.relu6(_Conv(wide, 1, 1, self.policy, name="expand")(y))
    depthwise = _Depthwise(self.size, self.stride, self.policy, name="depthwise")
    y = nn.relu6(depthwise(y))
    y = _Conv(self.channels, 1, 1, self.policy, name="project")(y)
    return y + x if y.shape == x.shape else y


class EfficientNet(nn.Module):
  """The backbone of the module docstring."""

  config: EfficientNetConfig
  policy: Policy

  @nn.compact
  def __call__(self, pictures: UInt8[AnyArray, "b H W 3"]) -> Seen:
    config, policy = self.config, self.policy
    x = ((jnp.float32(pictures) - _MEAN) / _SCALE).astype(policy.dtype)
    x = nn.relu6(_Conv(config.stem, 3, 2, policy, name="stem")(x))
    maps, number = [], 0
    for i, (blocks, size, stride, expansion, channels) in enumerate(config.stages):
      for k in range(blocks):
        name, step = f"block{number}", stride if k == 0 else 1
        x = _Block(size, step, expansion, channels, policy, name=name)(x)
        number += 1
      if i in config.maps:
        maps.append(x)
    x = nn.relu6(_Conv(config.features, 1, 1, policy, name="head")(x))
    features = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    labels = nn.Dense(config.labels, name="labels")(features)
    return Seen(maps, features, labels)


def pooled(seen: Seen) -> list[Float[Array, "b _"]]:
  """Returns mean and log deviation of each map's channels, and the features."""
  groups = []
  for x in seen.maps:
    x = x.astype(jnp.float32)
    deviation = jnp.std(x, axis=(1, 2))
    groups += [jnp.mean(x, axis=(1, 2)), jnp.log(deviation + _LEAST)]
  return [*groups, seen.features]


def init_backbone(key: Key, config: EfficientNetConfig = LITE0) -> Params:
  """Draws a random backbone."""
  pictures = jnp.zeros((1, 32, 32, 3), jnp.uint8)
  return jax.jit(EfficientNet(config, CPU).init)(key, pictures)["params"]


def backbone_fn(
  params: Params, policy: Policy, config: EfficientNetConfig = LITE0
) -> Backbone:
  """Returns a backbone that gives `pooled` and the labels, compiled for each shape."""
  module = EfficientNet(config, policy)

  @jax.jit
  def apply(params: Params, pictures: Array) -> tuple[list[Array], Array]:
    seen = module.apply({"params": params}, pictures)
    return pooled(seen), seen.labels

  return lambda pictures: apply(params, pictures)


class _Head(nn.Module):
  """Features that are standardised, to one score."""

  @nn.compact
  def __call__(
    self, x: Float[Array, "*n d"], keep: Float[Array, "*n h"]
  ) -> Float[Array, "*n"]:
    x = nn.LayerNorm(name="norm")(x)
    x = nn.gelu(nn.Dense(HIDDEN, name="dense1")(x)) * keep
    return nn.Dense(1, name="dense2")(x)[..., 0]


def init_head(
  key: Key,
  mean: Float[AnyArray, "d"],
  deviation: Float[AnyArray, "d"],
  groups: Sequence[int],
) -> Params:
  """Draws a head.

  Args:
    key: Random key.
    mean: Mean of each feature over the pictures that it will be trained on.
    deviation: The same of their deviation; a feature that never changes counts as 0.
    groups: Sizes of the groups of features, which count alike.

  Returns:
    `layers`, which are trained, and `statistics`, which are not.
  """
  mean = jnp.asarray(mean, jnp.float32)
  deviation = jnp.asarray(deviation, jnp.float32)
  scale = jnp.where(deviation > 1e-6, 1 / jnp.maximum(deviation, 1e-6), 0.0)
  sizes = np.repeat(groups, groups)
  scale = scale * np.float32(np.sqrt(len(sizes) / len(groups) / sizes))
  layers = jax.jit(_Head().init)(key, mean, jnp.ones(HIDDEN))["params"]
  return {"layers": layers, "statistics": {"mean": mean, "scale": scale}}


def scores(
  params: Params, features: Float[AnyArray, "*n d"], key: Key | None = None
) -> Float[Array, "*n"]:
  """Returns the score of each picture.

  Args:
    params: A head of `init_head`.
    features: What the backbone gives for the pictures.
    key: Random key of dropout in training; None drops nothing.
  """
  statistics = params["statistics"]
  x = (jnp.asarray(features) - statistics["mean"]) * statistics["scale"]
  shape = (*x.shape[:-1], HIDDEN)
  keep = jnp.ones(shape)
  if key is not None:
    keep = jax.random.bernoulli(key, 1 - DROPPED, shape) / (1 - DROPPED)
  return _Head().apply({"params": params["layers"]}, x, keep)
