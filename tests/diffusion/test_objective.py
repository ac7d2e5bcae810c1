"""The objective: noise levels of clips and given frames, and the tokens that count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import FlowConfig
from ltx_jax.data.token_dropping import as_tokens, drop
from ltx_jax.diffusion import objective, timesteps
from ltx_jax.diffusion.conditioning import Beside, Keyframe, condition, noise_levels
from ltx_jax.diffusion.latents import coordinates
from ltx_jax.typing import NoiseLevels

FLOW, CONDITIONS = FlowConfig(), ConditionConfig()


def clips_of(latents, kept=None, beside=()):
  """Clips that keep some of their tokens, or all."""
  batch = as_tokens({"latents": latents, "seed": np.arange(len(latents))})
  batch = batch if kept is None else drop(batch, kept, kept)
  tokens, places, grids = (batch[name] for name in ("latents", "places", "grid"))
  return objective.Clips(tokens, places.astype(np.float32), places, grids, beside)


def levels_of(key, count, grid, flow=FLOW, conditions=CONDITIONS):
  """Returns (levels, what is given) for clips with a grid of latents."""
  clips = clips_of(np.zeros((count, *grid, 1), np.float32))
  layout, levels = objective.draw_levels(key, clips, flow, conditions)
  return levels, layout.source > 0


def test_noise_levels_of_clips_and_given_first_frames():
  given_often = ConditionConfig(first_frame=0.3, max_sigma=0.15)
  grid, count = (3, 2, 4), 2000
  levels, given = levels_of(jax.random.key(1), count, grid, conditions=given_often)
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
  assert abs(sigma[high, 1].mean() - 0.075) < 0.01  # U[0, 0.15] if sigma is above it.
  # The levels of clips have the law of their number of tokens.
  mu = timesteps.token_shift(24)
  uniform = np.linspace(0.01, 0.99, 50, dtype=np.float32)
  quantiles = np.quantile(sigma[:, 0], uniform)
  np.testing.assert_allclose(
    quantiles, timesteps.inverse_cdf(uniform, mu, FLOW.quantiles), atol=0.05
  )


def test_an_image_is_never_given():
  always = ConditionConfig(first_frame=1.0)
  levels, given = levels_of(jax.random.key(1), 50, (1, 2, 2), conditions=always)
  assert not np.asarray(given).any() and not np.asarray(levels.index).any()
  _, given = levels_of(jax.random.key(1), 50, (2, 2, 2), conditions=always)
  assert np.asarray(given)[:, :4].all()


def test_given_tokens_do_not_count():
  rng = np.random.default_rng(3)
  x0 = rng.standard_normal((64, 2, 2, 2, 8), np.float32)
  conditions = ConditionConfig(first_frame=0.5)
  tokens = x0.reshape(64, 8, 8)
  clips = clips_of(x0)
  seen = []

  def network(xt, coords, levels, *, on_given, elsewhere):
    """The true velocity, found from xt, and an error."""
    assert isinstance(levels, NoiseLevels) and coords is clips.coords
    sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)[..., None]
    noise = (xt - (1 - sigma) * tokens) / sigma
    given = levels.index[..., None] == 1
    seen.append(given)
    return noise - tokens + jnp.where(given, on_given, elsewhere)

  def loss(on_given, elsewhere):
    wrong = functools.partial(network, on_given=on_given, elsewhere=elsewhere)
    losses = objective.loss(wrong, clips, jax.random.key(0), FLOW, conditions)
    assert losses.loss.shape == losses.sigma.shape == (64,)
    return float(losses.loss.mean())

  assert loss(1000.0, 0.0) < 1e-3
  assert 0.2 < np.asarray(seen[0])[:, 0].mean() < 0.8
  np.testing.assert_allclose(loss(1000.0, 2.0), 4.0, rtol=1e-2)


def test_losses_at_a_noise_level_are_each_clips_own():
  x0 = np.random.default_rng(4).standard_normal((4, 2, 2, 2, 8), np.float32)
  clips = clips_of(x0)
  sigma = jnp.float32([0.1, 0.4, 0.7, 1.0])

  def network(xt, coords, levels):
    """Takes all of xt to be noise, which it is at level 1."""
    np.testing.assert_array_equal(levels.sigma[:, 0], sigma)
    assert not np.asarray(levels.index).any()  # Nothing is given.
    return xt - clips.tokens

  losses = objective.loss_at(network, clips, sigma, jax.random.key(0))
  np.testing.assert_array_equal(losses.sigma, sigma)
  # xt - noise = (1 - sigma)(x0 - noise), of variance 2.
  np.testing.assert_allclose(losses.loss, 2 * (1 - sigma) ** 2, rtol=0.4, atol=1e-6)
  again = objective.loss_at(network, clips, sigma, jax.random.key(0))
  np.testing.assert_array_equal(losses.loss, again.loss)


def test_a_share_of_the_levels_can_be_uniform():
  flow = FlowConfig(uniform_share=1.0)
  levels, _ = levels_of(jax.random.key(0), 2000, (4, 32, 32), flow)
  quantiles = np.linspace(0.1, 0.9, 9)
  found = np.quantile(levels.sigma[:, 0], quantiles)
  np.testing.assert_allclose(found, quantiles, atol=0.04)


def test_the_shift_of_long_clips_can_be_bounded():
  """A long clip's law is then that of a shorter one."""

  def levels(frames, **options):
    flow = FlowConfig(**options)
    return levels_of(jax.random.key(0), 500, (frames, 64, 64), flow)[0].sigma[:, 0]

  bounded = levels(6, shift_at_most=2.05)
  np.testing.assert_allclose(bounded, levels(1), rtol=1e-6)
  assert np.abs(levels(6) - bounded).max() > 0.1


def test_the_law_of_the_levels_is_that_of_the_whole_clip():
  key = jax.random.key(0)
  latents = np.zeros((500, 4, 8, 8, 1), np.float32)
  levels = [
    objective.draw_levels(key, clips_of(latents, kept), FLOW, CONDITIONS)[1].sigma[:, 0]
    for kept in (None, 205)
  ]
  np.testing.assert_array_equal(*levels)
  shorter = levels_of(key, 500, (4, 8, 6))[0].sigma[:, 0]
  assert np.abs(shorter - levels[0]).max() > 1e-3


def test_a_given_frame_is_given_where_its_tokens_are_kept():
  clips = clips_of(np.zeros((50, 2, 2, 4, 1), np.float32), 13)
  always = ConditionConfig(first_frame=1.0)
  layout, _ = objective.draw_levels(jax.random.key(0), clips, FLOW, always)
  np.testing.assert_array_equal(layout.source, clips.coords[..., 0] == 0)
  assert len(set(np.asarray(layout.source).sum(axis=1))) > 1  # Of 8 some are dropped.


def test_dropping_does_not_bias_the_loss_of_a_network_that_sees_tokens_alone():
  """Nor its gradient; what a transformer loses is attention to what is dropped."""
  clips = 6000
  x0 = np.random.default_rng(5).standard_normal((1, 2, 2, 3, 2), np.float32)
  x0 = np.repeat(x0, clips, axis=0)
  conditions = ConditionConfig(first_frame=0.3)

  def found(kept, key):
    laid = clips_of(x0, kept)

    @jax.jit
    def losses(w):
      def alone(xt, coords, levels):
        """Wrong by a different amount at every place."""
        return w[0] * xt + w[1] * coords[..., :2] + w[2] * coords[..., 2:] ** 2

      return objective.loss(alone, laid, key, FLOW, conditions).loss

    w = jnp.float32([0.5, 0.7, -0.3])
    return np.array([losses(w), *jax.jacfwd(losses)(w).T], np.float64)  # 4 clips

  whole, part = found(None, jax.random.key(1)), found(8, jax.random.key(2))
  error = np.sqrt((whole.var(axis=1) + part.var(axis=1)) / clips)
  assert (np.abs(whole.mean(axis=1) - part.mean(axis=1)) < 4 * error).all()
  assert (error < 0.06 * np.abs(whole.mean(axis=1))).all()  # It could be seen.


def test_several_first_frames_are_given_and_never_all_of_a_clip():
  several = ConditionConfig(first_frame=0.2, first_frames=0.5, first_frames_at_most=4)
  _, given = levels_of(jax.random.key(2), 4000, (6, 1, 2), conditions=several)
  frames = np.asarray(given).sum(axis=1) // 2
  np.testing.assert_array_equal(
    given, np.arange(12)[None] // 2 < frames[:, None]
  )  # The first ones, whole.
  shares = np.bincount(frames, minlength=6) / 4000
  expected = [0.3, 0.2, 0.5 / 3, 0.5 / 3, 0.5 / 3, 0]
  np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.2 / 4000))
  always = ConditionConfig(first_frame=0.0, first_frames=1.0)
  _, given = levels_of(jax.random.key(2), 200, (3, 1, 1), conditions=always)
  assert set(np.asarray(given).sum(axis=1)) == {2}
  _, given = levels_of(jax.random.key(2), 200, (1, 1, 1), conditions=always)
  assert not np.asarray(given).any()


def beside_of(count, *tokens, channels=1):
  """Extra items with these numbers of tokens, at places of their own."""
  return tuple(
    Beside(
      np.full((count, n, channels), 10.0 * k, np.float32),
      np.full((count, n, 3), -float(k), np.float32),
    )
    for k, n in enumerate(tokens, 1)
  )


def test_what_is_shown_beside_has_low_levels_of_its_own():
  clips = clips_of(np.zeros((500, 2, 2, 2, 1), np.float32))
  clips = clips._replace(beside=beside_of(500, 3, 2))
  conditions = ConditionConfig(first_frame=0.5, max_sigma=0.1)
  layout, levels = objective.draw_levels(jax.random.key(0), clips, FLOW, conditions)
  assert layout.extra == 5 and levels.sigma.shape == (500, 4)
  np.testing.assert_array_equal(levels.index, layout.source)
  source = np.asarray(layout.source)
  np.testing.assert_array_equal(source[:, :5], np.tile([2, 2, 2, 3, 3], (500, 1)))
  assert set(source[:, 5:].ravel()) == {0, 1}
  sigma = np.asarray(levels.sigma)
  assert (sigma[:, 1:] <= np.minimum(sigma[:, :1], 0.1)).all()
  for a, b in ((1, 2), (1, 3), (2, 3)):
    assert abs(np.corrcoef(sigma[:, a], sigma[:, b])[0, 1]) < 0.3
  # The extra item changes no level of the clips.
  alone = clips._replace(beside=())
  _, expected = objective.draw_levels(jax.random.key(0), alone, FLOW, conditions)
  np.testing.assert_array_equal(sigma[:, :2], expected.sigma)


def test_what_is_shown_beside_does_not_count_and_is_mixed_with_its_noise():
  x0 = np.random.default_rng(3).standard_normal((256, 2, 2, 2, 8), np.float32)
  clips = clips_of(x0)._replace(beside=beside_of(256, 4, channels=8))
  conditions = ConditionConfig(max_sigma=0.2)
  seen = []

  def network(xt, coords, levels):
    sigma = np.take_along_axis(np.asarray(levels.sigma), np.asarray(levels.index), 1)
    shown, own = np.asarray(xt[:, :4]), np.asarray(xt[:, 4:])
    seen.append((sigma[:, :4, None], shown, coords))
    noise = (own - (1 - sigma[:, 4:, None]) * clips.tokens) / sigma[:, 4:, None]
    velocity = noise - clips.tokens
    return jnp.concatenate([np.full_like(shown, 1000.0), velocity], axis=1)

  losses = objective.loss(network, clips, jax.random.key(0), FLOW, conditions)
  assert float(losses.loss.max()) < 1e-3
  ((sigma, shown, coords),) = seen
  noise = (shown - (1 - sigma) * 10) / sigma
  assert abs(noise.std() - 1) < 0.05 and abs(noise.mean()) < 0.05
  np.testing.assert_array_equal(coords[:, :4], clips.beside[0].coords)
  np.testing.assert_array_equal(coords[:, 4:], clips.coords)


def test_held_out_clips_are_shown_their_reference_without_noise():
  clips = clips_of(np.ones((4, 2, 2, 2, 1), np.float32))
  clips = clips._replace(beside=beside_of(4, 3))
  seen = []

  def network(xt, coords, levels):
    seen.append((xt, levels))
    return xt

  sigma = jnp.float32([0.1, 0.4, 0.7, 1.0])
  losses = objective.loss_at(network, clips, sigma, jax.random.key(0))
  np.testing.assert_array_equal(losses.sigma, sigma)
  ((xt, levels),) = seen
  np.testing.assert_array_equal(xt[:, :3], clips.beside[0].tokens)
  per_token = np.take_along_axis(np.asarray(levels.sigma), levels.index, axis=1)
  expected = np.broadcast_to(np.asarray(sigma)[:, None], (4, 8))
  np.testing.assert_array_equal(per_token[:, :3], 0)
  np.testing.assert_array_equal(per_token[:, 3:], expected)


def test_training_shows_a_reference_as_sampling_does():
  """The network sees in both the same tokens, places and levels."""
  rng = np.random.default_rng(0)
  latents = rng.standard_normal((2, 2, 2, 3, 4), np.float32)
  shown = rng.standard_normal((2, 2, 2, 3, 4), np.float32)
  where = {"temporal_factor": 8, "spatial_factor": 32, "causal": True}
  coords = coordinates((2, 2, 3), 24.0, **where)
  clips = clips_of(latents)._replace(coords=coords[None])
  clips = clips._replace(beside=(Beside(shown.reshape(2, 12, 4), coords[None]),))
  conditions = ConditionConfig(first_frame=0.0, max_sigma=0.0)
  layout, levels = objective.draw_levels(jax.random.key(0), clips, FLOW, conditions)

  keyframe = Keyframe(shown, np.zeros_like(shown), coords, 1.0)
  expected = condition(latents, coords[None], [], [keyframe])
  np.testing.assert_array_equal(layout.tokens, expected.tokens)
  np.testing.assert_array_equal(layout.coords, expected.coords)
  assert layout.extra == expected.extra == 12
  for clip, sigma in enumerate(levels.sigma[:, 0]):
    told = noise_levels(sigma, expected.strengths, 1)
    rows = (
      jnp.take_along_axis(x.sigma, jnp.asarray(x.index), axis=1) for x in (levels, told)
    )
    ours, theirs = rows
    np.testing.assert_array_equal(ours[clip], theirs[0])
