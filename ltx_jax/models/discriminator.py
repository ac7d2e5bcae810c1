"""The discriminator of the Video-VAE: one logit per patch of a clip, or of two.

    pixels [b F H W k] -> patches -> conv -> [conv of strides 2] x layers -> logits

In the paper's reconstruction GAN it reads the original and the reconstruction of one
clip, k = 6, in either order (`losses.adversarial`). Convolutions see both directions of
time, since it judges whole clips.

Source: the paper's section on the Video-VAE, which names no layers. These are the
patches of PatchGAN (Isola et al. 2017) in three dimensions, with the pixel norm of the
VAE, and optionally spectral normalisation (Miyato et al. 2018).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.models.convolution import Strides, causal_conv
from ltx_jax.models.sharded import split_frames
from ltx_jax.models.vae_layers import pixel_norm, pixels_to_patches
from ltx_jax.platforms import CPU, Policy
from ltx_jax.typing import AnyArray, Key, Params

_SLOPE = 0.2
_POWER_STEPS = 8
_HALVES = (2, 2, 2)

_kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


def spectral_normalize(
  kernel: Float[Array, "t y x c o"],
) -> Float[Array, "t y x c o"]:
  """Divides a kernel by its largest singular value, as a matrix (t y x c, o).

  The power iteration starts from the same vector every time, so that nothing besides
  the parameters has to be kept. Gradients flow through the kernel, not the vectors.
  """
  matrix = kernel.reshape(-1, kernel.shape[-1])
  fixed = jax.lax.stop_gradient(matrix)
  v = jnp.full(matrix.shape[1], matrix.shape[1] ** -0.5)
  for _ in range(_POWER_STEPS):
    u = _unit(fixed @ v)
    v = _unit(fixed.T @ u)
  return kernel / (u @ matrix @ v)


def _unit(x: Array) -> Array:
  return x / (jnp.linalg.norm(x) + 1e-12)


class Conv(nn.Module):
  """A convolution of size 3 that sees both directions of time."""

  features: int
  config: AdversarialConfig
  policy: Policy
  strides: Strides = (1, 1, 1)

  @nn.compact
  def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f2 h2 w2 o"]:
    shape = (3, 3, 3, x.shape[-1], self.features)
    kernel = self.param("kernel", _kernel_init, shape)
    if self.config.spectral_norm:
      kernel = spectral_normalize(kernel)
    y = causal_conv(
      x,
      kernel,
      self.param("bias", nn.initializers.zeros, (self.features,)),
      strides=self.strides,
      causal=False,
      padding="zeros",
      policy=self.policy,
    )
    return split_frames(y, self.policy)


class Discriminator(nn.Module):
  """Maps pixels in [-1, 1] to one logit per patch."""

  config: AdversarialConfig
  policy: Policy

  @nn.compact
  def __call__(self, video: Float[AnyArray, "b F H W k"]) -> Float[Array, "b f h w 1"]:
    config, policy = self.config, self.policy
    x = pixels_to_patches(
      jnp.asarray(video, policy.dtype), config.patch_size
    )  # b F h w kpp
    x = Conv(config.channels, config, policy, name="conv_in")(x)
    x = nn.leaky_relu(x, _SLOPE)
    for i in range(config.layers):
      width = config.width(i + 1)
      x = Conv(width, config, policy, _HALVES, name=f"down_{i}")(x)
      x = nn.leaky_relu(pixel_norm(x), _SLOPE)
    return Conv(1, config, policy, name="conv_out")(x)


def init_discriminator(key: Key, config: AdversarialConfig) -> Params:
  """Draws the parameters of a discriminator."""
  side = config.patch_size * 2**config.layers
  video = jnp.zeros((1, 2**config.layers + 1, side, side, config.inputs))
  return Discriminator(config, CPU).init(key, video)["params"]


def discriminate(
  params: Params,
  config: AdversarialConfig,
  policy: Policy,
  video: Float[AnyArray, "b F H W k"],
) -> Float[Array, "b f h w"]:
  """Returns the logits of a clip's patches, or of a pair's, in float32."""
  logits = Discriminator(config, policy).apply({"params": params}, video)
  return logits[..., 0].astype(jnp.float32)
