"""VGG16, whose features LPIPS compares.

    x = (video - shift) / scale                                colours of [-1, 1]
    features 1:           2 convolutions to  64 channels       relu1_2
    features 2: max pool, 2 convolutions to 128 channels       relu2_2
    features 3: max pool, 3 convolutions to 256 channels       relu3_3
    features 4: max pool, 3 convolutions to 512 channels       relu4_3
    features 5: max pool, 3 convolutions to 512 channels       relu5_3

Convolutions are 3 x 3 with zeros around the frame, each followed by ReLU; pooling
halves height and width. Every frame stands alone. The last pooling and the dense layers
of the classifier are left out.

Without trained weights a random VGG16 is of use too: it compares frames over patches of
several sizes. Its heads (`losses.perceptual`) weigh all channels equally.

Source: Simonyan and Zisserman, arXiv:1409.1556; the layers and the constants of the
colours are those of LPIPS (arXiv:1801.03924).
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config.perceptual import LAYERS
from ltx_jax.models.convolution import convolve
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import FeaturesFn, Key, Params, Video

SMALLEST = 16
"""Least height and width of a frame, which is then pooled to a single position."""

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_POOL = (1, 2, 2)

# ReLU halves the mean square, so kernels double it.
_kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class _Conv(nn.Module):
  """ReLU(conv(x)) of size 3 over each frame."""

  features: int
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b F h w c"]) -> Float[Array, "b F h w o"]:
    kernel = self.param("kernel", _kernel_init, (3, 3, x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    return nn.relu(convolve(x, kernel[None], bias, (1, 1, 1), self.policy))


class VGG16(nn.Module):
  """The network of the module docstring."""

  policy: Policy

  @nn.compact
  def __call__(
    self, video: Float[Array, "b F H W 3"]
  ) -> list[Float[Array, "b F _ _ _"]]:
    features = []
    x = (video - jnp.array(_SHIFT)) / jnp.array(_SCALE)
    x = x.astype(self.policy.dtype)
    for block, (convolutions, channels) in enumerate(LAYERS, start=1):
      if block > 1:
        x = nn.max_pool(x, _POOL, _POOL)  # b F h/2 w/2 c
      for i in range(1, convolutions + 1):
        x = _Conv(channels, self.policy, name=f"conv{block}_{i}")(x)
      features.append(x)
    return features


def init_perceptual(key: Key) -> Params:
  """Draws a random VGG16, `vgg`, with heads that weigh all channels equally, `heads`.

  Drawn once and kept, it is a fixed measure that needs no file.
  """
  frame = jnp.zeros((1, 1, SMALLEST, SMALLEST, 3))
  vgg = VGG16(CPU).init(key, frame)["params"]
  heads = {f"lin{i}": jnp.ones(channels) for i, (_, channels) in enumerate(LAYERS)}
  return {"vgg": vgg, "heads": heads}


def features_fn(policy: Policy) -> FeaturesFn:
  """Returns features(params, video), the five features of every frame.

  Args:
    policy: Policy whose dtype and form of convolution are used.
  """
  module = VGG16(policy)

  def features(params: Params, video: Video) -> list[Float[Array, "b F _ _ _"]]:
    height, width = video.shape[2:4]
    if min(height, width) < SMALLEST:
      raise ValueError(
        f"Frames of {width}x{height} pixels are too small for LPIPS, which pools them "
        f"four times; give at least {SMALLEST}x{SMALLEST}."
      )
    return module.apply({"params": params["vgg"]}, jnp.asarray(video))

  return features
