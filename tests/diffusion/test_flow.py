"""The path, its target and the loss that counts tokens per clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.diffusion import flow
from tests import tolerance


@pytest.fixture
def pair():
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, 2, 6, 4)).astype(np.float32)


def test_path_ends_at_data_and_noise(pair):
  x0, noise = pair
  np.testing.assert_array_equal(flow.interpolate(x0, noise, jnp.zeros(2)), x0)
  np.testing.assert_array_equal(flow.interpolate(x0, noise, jnp.ones(2)), noise)


def test_velocity_is_the_derivative_of_the_path(pair):
  x0, noise = pair
  path = lambda s: flow.interpolate(x0, noise, s)  # noqa: E731
  _, slope = jax.jvp(path, (jnp.float32(0.3),), (jnp.float32(1),))
  np.testing.assert_allclose(flow.velocity(x0, noise), slope, rtol=1e-6)


def test_levels_per_clip_and_per_token_agree(pair):
  x0, noise = pair
  per_clip = np.array([0.2, 0.7], np.float32)
  per_token = np.repeat(per_clip[:, None], 6, axis=1)
  np.testing.assert_array_equal(
    flow.interpolate(x0, noise, per_clip), flow.interpolate(x0, noise, per_token)
  )


def test_loss_averages_over_counted_tokens_then_over_clips(pair):
  prediction, target = pair
  weights = np.zeros((2, 6), np.float32)
  weights[0, :5] = 1
  weights[1, 0] = 2
  error = (prediction - target) ** 2
  expected = (error[0, :5].mean() + error[1, 0].mean()) / 2
  keep, allowed = weights > 0, tolerance.of_sums(error.size)
  for count in (weights, keep):
    loss = flow.loss(prediction, target, count)
    np.testing.assert_allclose(loss, expected, rtol=allowed)
  loss = flow.loss(prediction, target)
  np.testing.assert_allclose(loss, error.mean(), rtol=allowed)


def test_a_clip_without_counted_tokens_has_no_loss_and_no_gradient(pair):
  prediction, target = pair
  weights = np.ones((2, 6), np.float32)
  weights[1] = 0
  value, gradient = jax.value_and_grad(flow.loss)(prediction, target, weights)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()
  assert (gradient[1] == 0).all()
  assert (gradient[0] != 0).all()
