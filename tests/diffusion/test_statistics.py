"""Running statistics of latents, and the noise that a decoder learns under."""

import jax
import numpy as np

from ltx_jax.diffusion import statistics

CHANNELS = 8


def test_noisy_latents_are_mixed_about_the_mean():
  rng = np.random.default_rng(0)
  z, noise = rng.standard_normal((2, 3, 2, 1, 2, 4), np.float32)
  stats = {"mean": np.arange(4.0, dtype=np.float32), "std": np.float32([1, 2, 3, 0.5])}
  sigma = np.float32([0, 0.2, 1])
  out = statistics.noisy_latents(z, stats, sigma, noise)
  np.testing.assert_allclose(out[0], z[0], rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(out[2], stats["mean"] + stats["std"] * noise[2], rtol=1e-5)
  b, f, h, w, c = 1, 1, 0, 1, 2
  by_hand = 2 + 0.8 * (z[b, f, h, w, c] - 2) + 0.2 * 3 * noise[b, f, h, w, c]
  np.testing.assert_allclose(out[b, f, h, w, c], by_hand, rtol=1e-5)


def test_statistics_converge_to_those_of_the_means():
  rng = np.random.default_rng(1)
  mean = np.linspace(-2, 2, CHANNELS).astype(np.float32)
  std = np.linspace(0.3, 3, CHANNELS).astype(np.float32)
  extra = statistics.initial(CHANNELS)

  @jax.jit
  def update(extra, latents, step):
    decay = statistics.early_decay(0.99, step)
    return statistics.update(extra, statistics.moments(latents), decay)

  for step in range(200):
    latents = mean + std * rng.standard_normal((4, 2, 4, 4, CHANNELS), np.float32)
    extra = update(extra, latents, step)
    if step == 0:  # The initial value is forgotten at once.
      np.testing.assert_allclose(
        extra["mean"], 0.9 * statistics.moments(latents)["mean"]
      )
  found = statistics.statistics(extra)
  np.testing.assert_allclose(found["mean"], mean, atol=0.1)
  np.testing.assert_allclose(found["std"], std, rtol=0.02)


def test_moments_are_found_back_from_statistics():
  moments = {"mean": np.float32([1, -2]), "mean_square": np.float32([5, 4.25])}
  found = statistics.moments_of(statistics.statistics(moments))
  for name, value in moments.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-6)
