"""Identities of classifier-free guidance."""

import jax.numpy as jnp
import numpy as np

from ltx_jax.diffusion import guidance


def test_scales_zero_one_and_beyond():
  rng = np.random.default_rng(0)
  cond, uncond = rng.normal(size=(2, 2, 3, 4)).astype(np.float32)
  guide = guidance.classifier_free
  np.testing.assert_allclose(guide(cond, uncond, 0.0), uncond, rtol=1e-6)
  np.testing.assert_allclose(guide(cond, uncond, 1.0), cond, rtol=1e-5, atol=1e-6)
  expected = uncond + 3 * (cond - uncond)
  np.testing.assert_allclose(guide(cond, uncond, 3.0), expected, rtol=1e-6)


def test_arithmetic_is_float32_for_bfloat16_predictions():
  cond = jnp.full((1, 1, 1), 1.0078125, jnp.bfloat16)
  uncond = jnp.ones((1, 1, 1), jnp.bfloat16)
  guided = guidance.classifier_free(cond, uncond, 1.5)
  assert guided.dtype == jnp.float32
  assert guided[0, 0, 0] == 1 + 1.5 * 0.0078125


def test_only_scales_above_one_need_the_unconditional_prediction():
  assert not guidance.needs_unconditional(0.0)
  assert not guidance.needs_unconditional(1.0)
  assert guidance.needs_unconditional(1.01)
