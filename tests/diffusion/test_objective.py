"""The objective: noise levels of clips and given frames, and what the loss counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.config.runs import FlowConfig
from ltx_jax.data.token_dropping import as_tokens, drop
from ltx_jax.diffusion import objective, timesteps
from ltx_jax.typing import NoiseLevels


def laid_out(latents, kept=None):
  """(layout, grids) of clips that keep some of their tokens, or all."""
  batch = as_tokens({"latents": latents, "seed": np.arange(len(latents))})
  batch = batch if kept is None else drop(batch, kept)
  tokens, places, grids = (batch[name] for name in ("latents", "places", "grid"))
  coords = places.astype(np.float32)
  return objective.first_frame(tokens, coords, places, grids), grids


def levels_of(key, clips, grid, config):
  """(levels, given) of clips of a grid of latents."""
  layout, grids = laid_out(np.zeros((clips, *grid, 1), np.float32))
  return objective.draw_levels(key, layout, grids, config)


def test_noise_levels_of_clips_and_given_first_frames():
  config = FlowConfig(first_frame_probability=0.3, first_frame_max_sigma=0.15)
  grid, count = (3, 2, 4), 2000
  levels, given = levels_of(jax.random.key(1), count, grid, config)
  sigma, index = np.asarray(levels.sigma), np.asarray(levels.index)
  assert sigma.shape == (count, 2) and index.shape == given.shape == (count, 24)
  np.testing.assert_array_equal(index, given)
  # A clip's first frame is given whole, 8 tokens, or not at all.
  with_first = np.asarray(given)[:, 0]
  np.testing.assert_array_equal(given[:, :8], np.repeat(with_first[:, None], 8, 1))
  assert not np.asarray(given)[:, 8:].any()
  assert abs(with_first.mean() - 0.3) < 0.04
  assert (sigma[:, 1] <= sigma[:, 0]).all() and (sigma[:, 1] <= 0.15).all()
  assert sigma.min() >= 0 and sigma.max() <= 1
  high = sigma[:, 0] > 0.15
  assert abs(sigma[high, 1].mean() - 0.075) < 0.01  # U[0, 0.15] where it may be.
  # The levels of clips have the law of their number of tokens.
  mu = timesteps.token_shift(24)
  uniform = np.linspace(0.01, 0.99, 50, dtype=np.float32)
  quantiles = np.quantile(sigma[:, 0], uniform)
  np.testing.assert_allclose(
    quantiles, timesteps.inverse_cdf(uniform, mu, config.quantiles), atol=0.05
  )


def test_an_image_is_never_given():
  config = FlowConfig(first_frame_probability=1.0)
  levels, given = levels_of(jax.random.key(1), 50, (1, 2, 2), config)
  assert not np.asarray(given).any() and not np.asarray(levels.index).any()
  _, given = levels_of(jax.random.key(1), 50, (2, 2, 2), config)
  assert np.asarray(given)[:, :4].all()


def test_given_tokens_do_not_count():
  rng = np.random.default_rng(3)
  x0 = rng.standard_normal((64, 2, 2, 2, 8), np.float32)
  config = FlowConfig(first_frame_probability=0.5)
  tokens = x0.reshape(64, 8, 8)
  layout, grids = laid_out(x0)
  seen = []

  def network(xt, coords, levels, *, on_given, elsewhere):
    """The true velocity, found from xt, and an error."""
    assert isinstance(levels, NoiseLevels) and coords is layout.coords
    sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)[..., None]
    noise = (xt - (1 - sigma) * tokens) / sigma
    given = levels.index[..., None] == 1
    seen.append(given)
    return noise - tokens + jnp.where(given, on_given, elsewhere)

  def loss(on_given, elsewhere):
    wrong = functools.partial(network, on_given=on_given, elsewhere=elsewhere)
    losses = objective.loss(wrong, layout, grids, jax.random.key(0), config)
    assert losses.loss.shape == losses.sigma.shape == (64,)
    return float(losses.loss.mean())

  assert loss(1000.0, 0.0) < 1e-3
  assert 0.2 < np.asarray(seen[0])[:, 0].mean() < 0.8
  np.testing.assert_allclose(loss(1000.0, 2.0), 4.0, rtol=1e-2)


def test_losses_at_a_noise_level_are_each_clips_own():
  x0 = np.random.default_rng(4).standard_normal((4, 2, 2, 2, 8), np.float32)
  layout, _ = laid_out(x0)
  sigma = jnp.float32([0.1, 0.4, 0.7, 1.0])

  def network(xt, coords, levels):
    """Takes all of xt to be noise, which it is at level 1."""
    np.testing.assert_array_equal(levels.sigma[:, 0], sigma)
    assert not np.asarray(levels.index).any()  # Nothing is given.
    return xt - layout.tokens

  losses = objective.loss_at(network, layout, sigma, jax.random.key(0))
  np.testing.assert_array_equal(losses.sigma, sigma)
  # xt - noise = (1 - sigma)(x0 - noise), of variance 2.
  np.testing.assert_allclose(losses.loss, 2 * (1 - sigma) ** 2, rtol=0.4, atol=1e-6)
  again = objective.loss_at(network, layout, sigma, jax.random.key(0))
  np.testing.assert_array_equal(losses.loss, again.loss)


def test_a_share_of_the_levels_can_be_uniform():
  config = FlowConfig(uniform_share=1.0)
  levels, _ = levels_of(jax.random.key(0), 2000, (4, 32, 32), config)
  quantiles = np.linspace(0.1, 0.9, 9)
  found = np.quantile(levels.sigma[:, 0], quantiles)
  np.testing.assert_allclose(found, quantiles, atol=0.04)


def test_the_shift_of_long_clips_can_be_bounded():
  """A long clip's law is then that of a shorter one."""

  def levels(frames, **options):
    config = FlowConfig(**options)
    return levels_of(jax.random.key(0), 500, (frames, 64, 64), config)[0].sigma[:, 0]

  bounded = levels(6, shift_at_most=2.05)
  np.testing.assert_allclose(bounded, levels(1), rtol=1e-6)
  assert np.abs(levels(6) - bounded).max() > 0.1


def test_the_law_of_the_levels_is_that_of_the_whole_clip():
  config, key = FlowConfig(), jax.random.key(0)
  latents = np.zeros((500, 4, 8, 8, 1), np.float32)
  levels = [
    objective.draw_levels(key, *laid_out(latents, kept), config)[0].sigma[:, 0]
    for kept in (None, 205)
  ]
  np.testing.assert_array_equal(*levels)
  shorter = levels_of(key, 500, (4, 8, 6), config)[0].sigma[:, 0]
  assert np.abs(shorter - levels[0]).max() > 1e-3


def test_a_given_frame_is_given_where_its_tokens_are_kept():
  layout, grids = laid_out(np.zeros((50, 2, 2, 4, 1), np.float32), 13)
  config = FlowConfig(first_frame_probability=1.0)
  _, given = objective.draw_levels(jax.random.key(0), layout, grids, config)
  np.testing.assert_array_equal(given, layout.coords[..., 0] == 0)
  assert len(set(np.asarray(given).sum(axis=1))) > 1  # Of 8 some are dropped.


def test_dropping_does_not_bias_the_loss_of_a_network_that_sees_tokens_alone():
  """Nor its gradient; what a transformer loses is attention to what is dropped."""
  clips = 6000
  x0 = np.random.default_rng(5).standard_normal((1, 2, 2, 3, 2), np.float32)
  x0 = np.repeat(x0, clips, axis=0)
  config = FlowConfig(first_frame_probability=0.3)

  def found(kept, key):
    layout, grids = laid_out(x0, kept)

    @jax.jit
    def losses(w):
      def alone(xt, coords, levels):
        """Wrong by an amount of its own at every place."""
        return w[0] * xt + w[1] * coords[..., :2] + w[2] * coords[..., 2:] ** 2

      return objective.loss(alone, layout, grids, key, config).loss

    w = jnp.float32([0.5, 0.7, -0.3])
    return np.array([losses(w), *jax.jacfwd(losses)(w).T], np.float64)  # 4 clips

  whole, part = found(None, jax.random.key(1)), found(8, jax.random.key(2))
  error = np.sqrt((whole.var(axis=1) + part.var(axis=1)) / clips)
  assert (np.abs(whole.mean(axis=1) - part.mean(axis=1)) < 4 * error).all()
  assert (error < 0.06 * np.abs(whole.mean(axis=1))).all()  # It could be seen.
