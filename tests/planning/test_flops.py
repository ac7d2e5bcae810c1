"""Counts by formula, against hand counts and against the traced programs."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from ltx_jax.config import TRANSFORMER_2B, VAE_C, Block, TransformerConfig, VAEConfig
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.models import transformer, vae
from ltx_jax.planning import flops
from ltx_jax.platforms import CPU
from tests.models.transformer_case import network

DIRECT = dataclasses.replace(CPU, convolution="direct")
SMALL = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=12,
  num_layers=3,
  in_channels=8,
  out_channels=8,
  cross_attention_dim=24,
  caption_channels=16,
)
# Padding without zeros, so that an implementation computes exactly what counts.
DEMO = VAEConfig(
  latent_channels=8,
  patch_size=2,
  encoder_base_channels=8,
  decoder_base_channels=8,
  spatial_padding_mode="replicate",
  encoder_blocks=(
    Block("res_x", 2),
    Block("compress_all"),
    Block("res_x_y"),
    Block("compress_space_res"),
    Block("compress_time_res", multiplier=1),
    Block("compress_all_x_y", multiplier=2),
  ),
  decoder_blocks=(
    Block("res_x", 2),
    Block("compress_all", multiplier=2, residual=True),
    Block("attn_res_x", 2, attention_head_dim=8),
    Block("compress_space"),
    Block("res_x_y"),
    Block("compress_time"),
  ),
)


def traced(function, *args):
  """Counts the matrix products and convolutions of a function as it is traced."""
  return sum(_count(e) for e in jax.make_jaxpr(function)(*args).jaxpr.eqns)


def _count(equation):
  inputs = [v.aval.shape for v in equation.invars if hasattr(v.aval, "shape")]
  outputs = [v.aval.shape for v in equation.outvars]
  if equation.primitive.name == "dot_general":
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2 * math.prod(outputs[0]) * math.prod(inputs[0][i] for i in contracted)
  if equation.primitive.name == "conv_general_dilated":
    return 2 * math.prod(outputs[0]) * math.prod(inputs[1][:-1])
  times = equation.params.get("length", 1)
  inner = [getattr(v, "jaxpr", v) for v in equation.params.values()]
  inner = [jaxpr for jaxpr in inner if hasattr(jaxpr, "eqns")]
  return times * sum(_count(e) for jaxpr in inner for e in jaxpr.eqns)


def test_figures_of_the_releases():
  assert flops.velocity(TRANSFORMER_2B, 256, 128) == pytest.approx(0.93e12, rel=0.005)
  assert flops.decoder(VAE_C, 4, 8, 8) == pytest.approx(2.05e12, rel=0.005)
  assert flops.encoder(VAE_C, 25, 256, 256) == pytest.approx(4.74e12, rel=0.005)


def test_velocity_is_what_is_traced():
  params = jax.eval_shape(lambda: transformer.init(SMALL, jax.random.key(0)))
  n, m = 10, 7
  inputs = np.zeros((1, n, 8)), np.zeros((1, n, 3)), np.zeros((1, m, 16))
  inputs = tuple(x.astype(np.float32) for x in inputs)

  def velocity(params, mask, sigma):
    return network(params, SMALL)(*inputs, mask, sigma)

  mask, sigma = np.ones((1, m), bool), np.ones(1, np.float32)
  assert traced(velocity, params, mask, sigma) == flops.velocity(SMALL, n, m)


@pytest.mark.parametrize("frames", [1, 9])
def test_encoding_and_decoding_are_what_is_traced(frames):
  params = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), DEMO))
  video = np.zeros((1, frames, 32, 48, 3), np.float32)

  def encode(params):
    return vae.encode_moments(params, DEMO, DIRECT, video)[0]

  assert traced(encode, params) == flops.encoder(DEMO, *video.shape[1:4])
  latents = np.zeros((1, *DEMO.latent_shape(*video.shape[1:4]), 8), np.float32)

  def decode(params):
    return vae.decode(params, DEMO, DIRECT, latents, np.zeros(1, np.float32))

  assert traced(decode, params) == flops.decoder(DEMO, *latents.shape[1:4])


def test_products_with_padding_do_not_count():
  """One convolution of 2 frames of 4 x 3 pixels, pixel by pixel."""
  config = dataclasses.replace(
    DEMO, encoder_blocks=(), patch_size=1, spatial_padding_mode="zeros"
  )
  inside = np.pad(np.ones((4, 3)), 1)
  taps = sum(inside[y : y + 3, x : x + 3].sum() for y in range(4) for x in range(3))
  first = 2 * 2 * 3 * taps * 3 * config.encoder_base_channels
  last = 2 * 2 * 3 * taps * config.encoder_base_channels * config.moment_channels
  assert flops.encoder(config, 2, 4, 3) == first + last


def test_judging_and_comparing_are_counted_by_hand():
  """A side of n meets 3 n - 2 pixels; with strides of 2, of 8 pixels, 11."""
  gan = AdversarialConfig(weight=1.0, channels=8, layers=1)  # Patches of 4: 9 x 8 x 8.
  into = 2 * (3 * 9) * 22**2 * (6 * 16) * 8
  down = 2 * (3 * 5) * 11**2 * 8 * 16
  out = 2 * (3 * 5) * 10**2 * 16 * 1
  size = (9, 32, 32)

  def added(**changes):
    changed = dataclasses.replace(gan, **changes)
    arguments = (VAE_C, changed, size)
    off = (VAE_C, AdversarialConfig(), size)
    count = functools.partial(flops.vae_training, encoder_trained=True)
    return count(*arguments) - count(*off)

  # Forwards, weights, and two gradients of the inputs, of which one ends early.
  assert added() == 4 * (into + down + out) - into
  assert added(sees="both-orders") == 2 * added()
  half = 2 * (3 * 9) * 22**2 * (3 * 16) * 8
  assert added(sees="clip") == 2 * (4 * (half + down + out) - half)
  compared = flops.vae_training(
    VAE_C, AdversarialConfig(), size, encoder_trained=True, compared_frames=20
  ) - flops.vae_training(VAE_C, AdversarialConfig(), size, encoder_trained=True)
  assert compared == 3 * flops.perceptual(9, 32, 32)
  # Thirteen convolutions, at sides of 32, 16, 8, 4 and 2.
  channels = ((94, 3 * 64 + 64**2), (46, 64 * 128 + 128**2))
  channels += ((22, 128 * 256 + 2 * 256**2), (10, 256 * 512 + 2 * 512**2))
  channels += ((4, 3 * 512**2),)
  by_hand = 2 * sum(side**2 * products for side, products in channels)
  assert flops.perceptual(1, 32, 32) == by_hand


def test_training_counts_each_pass_once():
  size = (9, 32, 32)
  encoding, latents = flops.encoder(VAE_C, *size), VAE_C.latent_shape(*size)
  decoding = flops.decoder(VAE_C, *latents)
  first = 2 * (3 * 9) * 22**2 * (3 * 16) * 128  # No gradient is needed at the pixels.
  off = (VAE_C, AdversarialConfig(), size)
  whole = flops.vae_training(*off, encoder_trained=True)
  assert whole == 3 * (encoding + decoding) - first
  assert flops.vae_training(*off, encoder_trained=False) == encoding + 3 * decoding
