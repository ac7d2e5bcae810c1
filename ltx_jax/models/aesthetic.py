"""The aesthetic network: EfficientNet-Lite0, frozen, and a head that gives one score.

    x0 = relu6(conv(u8 - 127) / 128)                           3 x 3, stride 2
    block: y = conv1(relu6(depthwise(relu6(conv1(x)))));  y + x if the shapes agree
    features = mean over positions of relu6(conv1(x))          1280 numbers
    labels   = dense(features)                                 logits of ImageNet
    pooled   = mean and deviation of the maps at strides 2 to 32, and the features
    score    = dense1(dropout(gelu(dense256(layer_norm((pooled - m) / d)))))

A network that was trained to name things ignores blur and noise, so its last layer is
half blind to them; means and deviations of its early maps are not. m and d are mean and
deviation of each number over the pictures that the head is trained on: without them the
largest of several thousand would drown the others.

Batch norm is folded into the convolution before it, so every convolution has a bias.
Convolutions pad with zeros as TensorFlow does. The head may sit on any backbone.

Source: the Lite variants of EfficientNet (arXiv:1905.11946); the Siamese network of the
paper (arXiv:2501.00103), whose backbone is not known.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from ltx_jax.config.aesthetic import EfficientNetConfig
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import AnyArray, Backbone, Key, Params

LITE0 = EfficientNetConfig()
SIDE = 224
"""Height and width of the pictures that Lite0 was trained on."""

HIDDEN, DROPPED = 256, 0.2
_MEAN, _SCALE = 127.0, 128.0


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


class _Conv(nn.Module):
  """A convolution with zeros around the picture, and a bias."""

  features: int
  size: int
  stride: int
  depthwise: bool
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
    groups = x.shape[-1] if self.depthwise else 1
    shape = (self.size, self.size, x.shape[-1] // groups, self.features)
    init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
    kernel = self.param("kernel", init, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    y = jax.lax.conv_general_dilated(
      x,
      kernel.astype(self.policy.dtype),
      (self.stride, self.stride),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=groups,
    )
    return y + bias.astype(self.policy.dtype)


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
      y = nn.relu6(_Conv(wide, 1, 1, False, self.policy, name="expand")(y))
    depthwise = _Conv(wide, self.size, self.stride, True, self.policy, name="depthwise")
    y = nn.relu6(depthwise(y))
    y = _Conv(self.channels, 1, 1, False, self.policy, name="project")(y)
    return y + x if y.shape == x.shape else y


class EfficientNet(nn.Module):
  """The backbone of the module docstring."""

  config: EfficientNetConfig
  policy: Policy

  @nn.compact
  def __call__(self, pictures: UInt8[AnyArray, "b H W 3"]) -> Seen:
    config, policy = self.config, self.policy
    x = ((jnp.float32(pictures) - _MEAN) / _SCALE).astype(policy.dtype)
    x = nn.relu6(_Conv(config.stem, 3, 2, False, policy, name="stem")(x))
    maps, number = [], 0
    for i, (blocks, size, stride, expansion, channels) in enumerate(config.stages):
      for k in range(blocks):
        name, step = f"block{number}", stride if k == 0 else 1
        x = _Block(size, step, expansion, channels, policy, name=name)(x)
        number += 1
      if i in config.maps:
        maps.append(x)
    x = nn.relu6(_Conv(config.features, 1, 1, False, policy, name="head")(x))
    features = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    labels = nn.Dense(config.labels, name="labels")(features)
    return Seen(maps, features, labels)


def pooled(seen: Seen) -> Float[Array, "b d"]:
  """Returns mean and deviation of every channel of every map, and the features."""
  maps = [x.astype(jnp.float32) for x in seen.maps]
  means = [jnp.mean(x, axis=(1, 2)) for x in maps]
  deviations = [jnp.std(x, axis=(1, 2)) for x in maps]
  return jnp.concatenate([*means, *deviations, seen.features], axis=-1)


def init_backbone(key: Key, config: EfficientNetConfig = LITE0) -> Params:
  """Draws a random backbone."""
  pictures = jnp.zeros((1, 32, 32, 3), jnp.uint8)
  return EfficientNet(config, CPU).init(key, pictures)["params"]


def backbone_fn(
  params: Params, policy: Policy, config: EfficientNetConfig = LITE0
) -> Backbone:
  """Returns a backbone that gives `pooled` and the labels, compiled for each shape."""
  module = EfficientNet(config, policy)

  @jax.jit
  def apply(params: Params, pictures: Array) -> tuple[Array, Array]:
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
  key: Key, mean: Float[AnyArray, "d"], deviation: Float[AnyArray, "d"]
) -> Params:
  """Draws a head.

  Args:
    key: Random key.
    mean: Mean of each feature over the pictures that it will be trained on.
    deviation: The same of their deviation; a feature that never changes counts as 0.

  Returns:
    `layers`, which are trained, and `statistics`, which are not.
  """
  mean = jnp.asarray(mean, jnp.float32)
  deviation = jnp.asarray(deviation, jnp.float32)
  scale = jnp.where(deviation > 1e-6, 1 / jnp.maximum(deviation, 1e-6), 0.0)
  layers = _Head().init(key, mean, jnp.ones(HIDDEN))["params"]
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
