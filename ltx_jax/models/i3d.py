"""I3D: Inception with kernels over time as well, whose logits FVD compares.

    conv 7x7x7 / 2, max pool 1x3x3 / 2, conv 1x1x1, conv 3x3x3, max pool 1x3x3 / 2
    blocks 3b, 3c, max pool 3x3x3 / 2, blocks 4b to 4f, max pool 2x2x2 / 2, 5b, 5c
    mean over space and two frames, dense, mean over time             400 logits

A block puts four branches side by side: 1x1x1; 1x1x1 then 3x3x3, twice; and max pool
3x3x3 then 1x1x1. Each convolution is followed by batch norm, which is part of its
kernel and bias here (`checkpoints.i3d`), and by ReLU. Where a stride does not divide a
size, the greater part of the zeros is at the end, as in TensorFlow.

Source: Carreira and Zisserman, arXiv:1705.07750.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from ltx_jax.config import i3d as sizes
from ltx_jax.config.i3d import LEAST_FRAMES, POOLS, SIDE, Branches, I3DConfig
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Params

LogitsFn = Callable[[Params, UInt8[AnyArray, "b F H W 3"]], Float[Array, "b _"]]
"""(params, frames) -> logits."""


class _Unit(nn.Module):
  """ReLU(conv(x)), with batch norm in the kernel and the bias."""

  features: int
  size: int
  policy: Policy
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b _ _ _ o"]:
    size, stride = (self.size,) * 3, (self.stride,) * 3
    conv = nn.Conv(self.features, size, stride, dtype=self.policy.dtype, name="conv")
    return nn.relu(conv(x))


def _pool(x: Array, size: int, stride: int, time: bool = True) -> Array:
  window, strides = (size,) * 3, (stride,) * 3
  if not time:
    window, strides = (1, *window[1:]), (1, *strides[1:])
  return nn.max_pool(x, window, strides, padding="SAME")


class _Block(nn.Module):
  """Four branches side by side."""

  channels: Branches
  policy: Policy

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w o"]:
    b0, b1a, b1b, b2a, b2b, b3b = self.channels
    unit = self._unit
    branches = [
      unit("b0", b0, 1)(x),
      unit("b1b", b1b, 3)(unit("b1a", b1a, 1)(x)),
      unit("b2b", b2b, 3)(unit("b2a", b2a, 1)(x)),
      unit("b3b", b3b, 1)(_pool(x, 3, 1)),
    ]
    return jnp.concatenate(branches, axis=-1)

  def _unit(self, name: str, features: int, size: int) -> _Unit:
    return _Unit(features, size, self.policy, name=name)


class I3D(nn.Module):
  """The network of the module docstring."""

  config: I3DConfig
  policy: Policy

  @nn.compact
  def __call__(self, video: Float[Array, "b F H W 3"]) -> Float[Array, "b classes"]:
    first, second, third = self.config.stem
    x = video.astype(self.policy.dtype)
    x = _Unit(first, 7, self.policy, 2, name="stem1")(x)  # b F/2 H/2 W/2 c
    x = _pool(x, 3, 2, time=False)  # b F/2 H/4 W/4 c
    x = _Unit(second, 1, self.policy, name="stem2")(x)
    x = _Unit(third, 3, self.policy, name="stem3")(x)
    x = _pool(x, 3, 2, time=False)  # b F/2 H/8 W/8 c
    for name, channels in self.config.blocks:
      if name in POOLS:
        x = _pool(x, *POOLS[name])
      x = _Block(channels, self.policy, name=f"block{name}")(x)
    x = jnp.mean(x.astype(jnp.float32), axis=(2, 3))  # b f c
    x = (x[:, 1:] + x[:, :-1]) / 2
    return jnp.mean(nn.Dense(self.config.classes, name="logits")(x), axis=1)


def logits_fn(policy: Policy, config: I3DConfig = sizes.I3D) -> LogitsFn:
  """Returns logits(params, frames), which stretches frames to 224x224.

  Args:
    policy: Policy whose dtype is used.
    config: Sizes of the network.
  """
  module = I3D(config, policy)

  @jax.jit
  def run(params: Params, frames: Array) -> Array:
    b, count = frames.shape[:2]
    video = jnp.asarray(frames, jnp.float32) / 127.5 - 1
    # Without smoothing before, as the networks of published figures saw their frames.
    size = (b, count, SIDE, SIDE, 3)
    video = jax.image.resize(video, size, "bilinear", antialias=False)
    return module.apply({"params": params}, video)

  def logits(
    params: Params, frames: UInt8[AnyArray, "b F H W 3"]
  ) -> Float[Array, "b _"]:
    if frames.shape[1] < LEAST_FRAMES:
      raise ValueError(
        f"Clips of {frames.shape[1]} frames are too short for I3D; give at least "
        f"{LEAST_FRAMES}, and 16 for figures like those of others."
      )
    return run(params, jnp.asarray(frames))

  return logits
