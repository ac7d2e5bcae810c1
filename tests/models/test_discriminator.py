import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.losses import adversarial
from ltx_jax.models import discriminator
from tests.policies import QUICK

CONFIG = AdversarialConfig(weight=1.0, channels=8, layers=2)


def clip(seed, frames=5, side=32):
  shape = (2, frames, side, side, 3)
  return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("frames, patches", [(1, 1), (5, 2), (9, 3)])
def test_there_is_a_logit_for_each_patch(frames, patches):
  params = discriminator.init_discriminator(jax.random.key(0), CONFIG)
  pair = np.concatenate([clip(0, frames), clip(1, frames)], -1)
  logits = discriminator.discriminate(params, CONFIG, QUICK, pair)
  # A patch of 4 pixels, then two halvings.
  assert logits.shape == (2, patches, 2, 2) and logits.dtype == jnp.float32
  assert np.isfinite(logits).all() and np.std(logits) > 0


def test_spectral_norm_divides_by_the_largest_singular_value():
  kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 2, 8)).astype(np.float32)
  kernel[..., 0] *= 3  # One direction stands out, as in trained kernels.
  found = discriminator.spectral_normalize(jnp.asarray(kernel))
  largest = np.linalg.svd(kernel.reshape(-1, 8), compute_uv=False)[0]
  np.testing.assert_allclose(found, kernel / largest, rtol=1e-3)
  config = dataclasses.replace(CONFIG, spectral_norm=True)
  params = discriminator.init_discriminator(jax.random.key(0), config)
  pair = np.concatenate([clip(0), clip(1)], -1)
  one = discriminator.discriminate(params, config, QUICK, pair)
  params["conv_in"]["kernel"] *= 7.0
  more = discriminator.discriminate(params, config, QUICK, pair)
  np.testing.assert_allclose(one, more, rtol=1e-4, atol=1e-5)


def trained(original, made, steps=40):
  """The accuracy in the last steps of training on one pair in random order."""
  params = discriminator.init_discriminator(jax.random.key(0), CONFIG)
  optimizer = optax.adam(1e-3)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state, key):
    swapped = jax.random.bernoulli(key, shape=(len(original),))
    seen = adversarial.pairs(original, made, swapped)

    def loss(params):
      logits = discriminator.discriminate(params, CONFIG, QUICK, seen.video)
      form = adversarial.FORMS["logistic"]
      right = adversarial.accuracy(logits, seen.target)
      return adversarial.discriminator_loss(form, logits, seen.target), right

    grads, right = jax.grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, right

  found = []
  for key in jax.random.split(jax.random.key(1), steps):
    params, state, right = step(params, state, key)
    found.append(float(right))
  return found


def test_the_order_of_a_pair_that_differs_is_learned():
  original = clip(0)
  smooth = np.broadcast_to(original.mean((2, 3), keepdims=True), original.shape)
  assert np.mean(trained(original, smooth)[-10:]) > 0.95


def test_the_order_of_identical_clips_stays_at_chance():
  found = trained(clip(0), clip(0), steps=30)
  # With one clip in either order, as many patches are told right as wrong; with two in
  # the same order, all or none, by luck.
  assert 0.3 < np.mean(found) < 0.7
