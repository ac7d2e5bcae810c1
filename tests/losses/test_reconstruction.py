import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ltx_jax.losses.reconstruction import kl_divergence, mse, psnr
from tests import tolerance


def videos():
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.uniform(-1, 1, (2, 3, 4, 6, 3)), jnp.float32) for _ in "ab"]


def test_the_error_is_of_each_clip():
  a, b = videos()
  difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
  expected = [np.mean(clip**2) for clip in difference]
  allowed = tolerance.of_sums(a[0].size)
  np.testing.assert_allclose(mse(a, b), expected, rtol=allowed)
  np.testing.assert_array_equal(mse(a, a), 0)


def test_gradients_are_those_of_finite_differences():
  a, b = videos()
  check_grads(lambda x: mse(x, b), (a,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)
  rng = np.random.default_rng(1)
  mean, logvar = (
    jnp.asarray(rng.normal(0, 1, (2, 1, 2, 2, 3)), jnp.float32) for _ in "ab"
  )
  pair = mean, logvar
  check_grads(kl_divergence, pair, order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_psnr_of_pixels_from_minus_one_to_one():
  # 255 levels over a width of 2: an error of 0.2 is a tenth of the peak.
  np.testing.assert_allclose(psnr(jnp.array([0.04, 4.0])), [20.0, 0.0], atol=1e-4)
  assert psnr(jnp.float32(0.04)).shape == ()
  assert np.isfinite(psnr(jnp.float32(0.0)))


def numeric_kl(mean, logvar):
  """Integral of q log(q / p) over a fine grid."""
  std = np.exp(logvar / 2)
  z = np.linspace(mean - 12 * std, mean + 12 * std, 20001)
  log_q = -0.5 * ((z - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
  log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
  return np.trapezoid(np.exp(log_q) * (log_q - log_p), z)


@pytest.mark.parametrize("mean, logvar", [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_kl_is_the_integral(mean, logvar):
  shape = (1, 1, 2, 2, 3)
  out = kl_divergence(jnp.full(shape, mean), jnp.full(shape, logvar))
  np.testing.assert_allclose(out, [numeric_kl(mean, logvar)], atol=1e-5)


def test_kl_is_a_mean_over_the_elements_of_a_clip():
  mean = jnp.zeros((2, 1, 1, 2, 3)).at[1, 0, 0, 0, 0].set(2.0)
  out = kl_divergence(mean, jnp.zeros_like(mean))
  np.testing.assert_allclose(out, [0, numeric_kl(2.0, 0.0) / 6], atol=1e-6)
  at_rest = jax.grad(lambda m: kl_divergence(m, 0 * m).sum())(jnp.zeros_like(mean))
  np.testing.assert_array_equal(at_rest, 0)
