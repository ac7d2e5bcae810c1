"""The Euler sampler on known velocities, and its compilations."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.diffusion import sampler, schedules
from ltx_jax.diffusion.conditioning import Conditioned, EncodedCondition, condition
from ltx_jax.diffusion.draws import clip_keys
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.typing import PLAIN, NoiseLevels

SCALE = np.float32(1.5)
PARAMS = {"scale": SCALE}


def per_token(sigma):
  """Noise levels as [b 1 1] or [b n 1]."""
  if isinstance(sigma, NoiseLevels):
    return jnp.take_along_axis(sigma.sigma, sigma.index, axis=1)[..., None]
  return sigma[:, None, None]


def straight(params, text, tokens, positions, sigma, branches=PLAIN):
  """The velocity of the path that ends at `text`: v = (x - x0) / sigma."""
  return params["scale"] * (tokens - text) / per_token(sigma)


def affine(params, text, tokens, positions, sigma, branches=PLAIN):
  """A velocity that shows which level and text every token was given."""
  return params["scale"] * (text + per_token(sigma) + 0.1 * tokens)


def masked(params, text, tokens, positions, sigma, branches=PLAIN):
  """A velocity that also shows the perturbation of each row."""
  text = text if branches.text is None else text[branches.text]
  out = affine(params, text, tokens, positions, sigma)
  if branches.perturbation is None:
    return out
  parts = [mask.sum(0)[:, None, None] for mask in branches.perturbation]
  return out + parts[0] + 10 * parts[1] + 100 * parts[2]


@pytest.fixture
def start():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 3, 1, 2, 4)).astype(np.float32)
  return noise, np.zeros((1, 6, 3), np.float32)


def run(velocity_fn, start, sampling, text, levels=None, **kwargs):
  levels = schedules.uniform(5) if levels is None else levels
  step = kwargs.pop("step", None) or sampler.make_step(velocity_fn)
  keys = clip_keys(kwargs.pop("seed", 0), 2)
  context = sampler.Context(PARAMS, text, start.coords)
  return sampler.sample(step, context, start, sampling, levels, keys=keys, **kwargs)


def test_straight_paths_are_followed_exactly(start):
  noise, coords = start
  x0 = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)

  def unit(params, text, tokens, positions, sigma, branches=PLAIN):
    return straight({"scale": 1.0}, text, tokens, positions, sigma)

  plain = Sampling(guidance=1.0)
  out = run(unit, Conditioned(noise.reshape(2, 6, 4), coords, None), plain, x0)
  np.testing.assert_allclose(out, x0, atol=1e-5)


def reference(begin, text, levels, guidance, condition_noise, draws):
  """The original's loop in NumPy: its own search for the next lower level included."""
  x = initial = np.asarray(begin.tokens)
  mask = np.tile(begin.strengths.per_token(), (2, 1))
  ends = np.append(levels, 0).astype(np.float32)
  for i, t in enumerate(levels):
    level = np.minimum(t, 1 - mask)
    hard = (mask > 1 - 1e-6)[..., None]
    x = np.where(hard, initial + condition_noise * draws(i) * t**2, x)
    velocities = [SCALE * (c + level[..., None] + 0.1 * x) for c in text]
    v = velocities[-1]
    if guidance > 1:
      v = velocities[0] + guidance * (v - velocities[0])
    below = np.where(ends < level[..., None] - 1e-6, ends, 0).max(-1)
    moved = x - (level - below)[..., None] * v
    x = np.where((t - 1e-6 < 1 - mask)[..., None], moved, x)
  return x


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("strength", [1.0, 0.35, 0.0])
def test_conditions_and_guidance_follow_the_original_rule(start, guidance, strength):
  noise, coords = start
  rng = np.random.default_rng(2)
  image = rng.normal(size=(1, 1, 1, 2, 4)).astype(np.float32)
  begin = condition(noise, coords, [EncodedCondition(image, 0, strength)])
  text = rng.normal(size=(2, 2, 6, 4)).astype(np.float32)
  recorded = rng.normal(size=(5, 2, 6, 4)).astype(np.float32)
  state = text.reshape(4, 6, 4) if guidance > 1 else text[1]
  out = run(
    affine,
    begin,
    Sampling(guidance=guidance),
    state,
    draws=lambda name, shape: recorded[int(name.removeprefix("step/"))],
  )
  levels = schedules.uniform(5)
  expected = reference(begin, text, levels, guidance, 0.15, lambda i: recorded[i])
  np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_given_tokens_keep_only_the_noise_of_the_last_step(start):
  noise, coords = start
  begin = condition(noise, coords, [EncodedCondition(noise[:1, :1] * 0, 0, 1.0)])
  out = run(affine, begin, Sampling(guidance=1.0), noise.reshape(2, 6, 4))
  kept = np.asarray(out[:, :2])
  assert 0 < np.abs(kept).max() < 0.15 * 0.2**2 * 5
  still = run(
    affine, begin, Sampling(guidance=1.0, condition_noise=0.0), noise.reshape(2, 6, 4)
  )
  np.testing.assert_array_equal(still[:, :2], begin.tokens[:, :2])


def test_another_call_compiles_nothing(start, compilations):
  noise, coords = start
  step = sampler.make_step(affine)
  text = noise.reshape(2, 6, 4)

  def call(guidance, strength, seed, levels, text):
    begin = condition(noise, coords, [EncodedCondition(noise[:1, :1], 0, strength)])
    for given in (begin, Conditioned(begin.tokens, coords, None)):
      for scale in (guidance, 1.0):
        state = np.concatenate([text, text]) if scale > 1 else text
        run(
          affine, given, Sampling(guidance=scale), state, levels, step=step, seed=seed
        )

  with compilations() as count:
    call(3.0, 1.0, 0, schedules.uniform(5), text)
  assert len(count) >= 4
  assert step._cache_size() == 4
  with compilations() as count:
    call(7.5, 0.4, 1, schedules.linear_quadratic(3), text + 1)
  assert count == []
  assert step._cache_size() == 4


def test_progress_is_reported_and_a_caller_may_stop(start):
  noise, coords = start
  begin = Conditioned(noise.reshape(2, 6, 4), coords, None)
  seen = []

  def watch(i, steps, tokens):
    seen.append((i, steps, tokens.shape))
    if i == 2:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    run(affine, begin, Sampling(guidance=1.0), begin.tokens, on_step=watch)
  assert seen == [(i, 5, (2, 6, 4)) for i in range(3)]


def test_extra_tokens_in_front_are_dropped(start):
  noise, coords = start
  begin = Conditioned(noise.reshape(2, 6, 4), coords, None, extra=2)
  out = run(affine, begin, Sampling(guidance=1.0), begin.tokens)
  assert out.shape == (2, 4, 4)


def test_first_clip_does_not_depend_on_its_neighbours(start):
  noise, coords = start
  begin = condition(noise, coords, [EncodedCondition(noise[:1, :1], 0, 1.0)])
  both = run(affine, begin, Sampling(guidance=1.0), begin.tokens)
  alone = begin._replace(tokens=begin.tokens[:1])
  step = sampler.make_step(affine)
  out = sampler.sample(
    step,
    sampler.Context(PARAMS, alone.tokens, alone.coords),
    alone,
    Sampling(guidance=1.0),
    schedules.uniform(5),
    keys=clip_keys(0, 1),
  )
  np.testing.assert_allclose(out[0], both[0], rtol=1e-6)


SCHEDULE = {
  "guidance_sigmas": (1.0, 0.8, 0.6, 0.4, 0.2),
  "guidance": (1.0, 3.0, 3.0, 1.0, 5.0),
  "stg": (0.0, 0.0, 2.0, 2.0, 1.0),
  "stg_blocks": ((), (), (0,), (1,), (1, 2)),
}


def test_each_step_evaluates_the_branches_that_it_needs(start):
  noise, coords = start
  begin = Conditioned(noise.reshape(2, 6, 4), coords, None)
  rows = []

  def counted(params, text, tokens, positions, sigma, branches=PLAIN):
    rows.append(len(tokens))
    text = text if branches.text is None else text[branches.text]
    return affine(params, text, tokens, positions, sigma)

  step = functools.partial(sampler.denoising_step, counted)
  text = np.concatenate([begin.tokens, begin.tokens])
  run(affine, begin, Sampling(**SCHEDULE), text, step=step, layers=3)
  assert rows == [2, 4, 6, 4, 6]


def test_another_schedule_compiles_nothing(start, compilations):
  noise, coords = start
  begin = Conditioned(noise.reshape(2, 6, 4), coords, None)

  step = sampler.make_step(masked)
  text = np.concatenate([begin.tokens[::-1], begin.tokens])

  def call(levels=None, **changes):
    how = Sampling(**SCHEDULE | changes)
    return run(affine, begin, how, text, levels, step=step, layers=3)

  with compilations():
    first = call()
  assert step._cache_size() == 4
  with compilations() as count:
    others = [
      call(cfg_star=True),
      call(rescale=0.5),
      call(stg_mode="attention_skip"),
      call(stg_mode="transformer_block", stg_blocks=(0, 1, 2)),
      call(schedules.linear_quadratic(5), guidance=7.0, stg=0.5, stg_blocks=(2,)),
    ]
  assert count == []
  for other in others:
    assert np.abs(other - first).max() > 1e-3


def test_a_stochastic_step_points_at_the_clip_and_adds_fresh_noise(start):
  noise, coords = start
  begin = Conditioned(noise.reshape(2, 6, 4), coords, None)
  recorded = np.random.default_rng(1).normal(size=(5, 2, 6, 4)).astype(np.float32)
  plain = Sampling(guidance=1.0, stochastic=True)
  text = begin.tokens + 1
  out = run(
    affine,
    begin,
    plain,
    text,
    draws=lambda name, shape: recorded[int(name.removeprefix("stochastic/"))],
  )
  x, levels = begin.tokens, np.append(schedules.uniform(5), 0)
  for i, (now, then) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
    x0 = x - now * SCALE * (text + now + 0.1 * x)
    x = (1 - then) * x0 + then * recorded[i]
  np.testing.assert_allclose(out, x, rtol=1e-4, atol=1e-5)


def test_fresh_noise_differs_by_step_and_clip_and_comes_from_the_seed(start):
  noise, coords = start
  begin = Conditioned(np.zeros((2, 6, 4), np.float32), coords, None)
  plain = Sampling(guidance=1.0, stochastic=True)
  seen = []

  def still(params, text, tokens, positions, sigma, branches=PLAIN):
    return tokens / sigma[:, None, None]  # Points at 0, so that only the noise is left.

  def once(seed, watch=None):
    return run(still, begin, plain, begin.tokens, seed=seed, on_step=watch)

  once(0, lambda i, steps, x: seen.append(np.array(x)))
  same = []
  once(0, lambda i, steps, x: same.append(np.array(x)))
  np.testing.assert_array_equal(seen, same)
  first = seen[0] / 0.8
  assert 0.7 < first.std() < 1.3
  assert np.abs(first[0] - first[1]).max() > 0.1
  assert np.abs(first - seen[1] / 0.6).max() > 0.1
  np.testing.assert_allclose(seen[-1], 0, atol=1e-6)
  other = []
  once(1, lambda i, steps, x: other.append(np.array(x)))
  assert np.abs(other[0] - seen[0]).max() > 0.1


def test_a_clip_to_start_from_is_noised_to_the_first_level(start):
  noise, _ = start
  clip = np.random.default_rng(3).normal(size=noise.shape).astype(np.float32)
  levels = schedules.uniform(5)[1:]
  skipping = Sampling(skip_initial=1)
  out = sampler.begin_from(clip, noise, skipping, levels)
  np.testing.assert_allclose(out, 0.2 * clip + 0.8 * noise, rtol=1e-5, atol=1e-6)
  one = sampler.begin_from(clip[:1], noise, skipping, levels)
  np.testing.assert_allclose(one[1], 0.2 * clip[0] + 0.8 * noise[1], atol=1e-6)
  assert sampler.begin_from(None, noise, Sampling(), levels) is noise
  for given, how, from_levels, message in (
    (None, skipping, levels, "skip_initial is 1, but there is no clip"),
    (clip, Sampling(), schedules.uniform(5), "The first noise level is 1"),
    (clip[:, :2], skipping, levels, "have shape"),
  ):
    with pytest.raises(ValueError, match=message):
      sampler.begin_from(given, noise, how, from_levels)
