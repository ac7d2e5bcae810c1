"""Steps that leave the network out, on velocities and inputs that are known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.diffusion import sampler, schedules, step_cache
from ltx_jax.diffusion.conditioning import Conditioned, EncodedCondition, condition
from ltx_jax.diffusion.draws import clip_keys
from ltx_jax.diffusion.sampling import Sampling
from tests.diffusion.test_sampler import PARAMS, SCHEDULE, affine, masked, run, start

__all__ = ["start"]
PLAIN = Sampling(guidance=1.0)
ALWAYS, NEVER = 1e-9, 1e9


def seen(params, tokens, sigma):
  """Stands for the first block's input."""
  return tokens


@pytest.fixture(scope="module")
def program():
  return step_cache.make_caching_step(affine, seen)


def caching(program, threshold, steps=5):
  return step_cache.Caching(program, threshold, steps=steps, width=4, dtype="float32")


def evaluated(caplog):
  """Of the last run: in how many steps the network was evaluated, and of how many."""
  return caplog.records[-1].args


def test_the_change_is_relative_and_of_each_clip():
  before = jnp.asarray([[[1.0, -3.0]], [[2.0, 2.0]]])
  now = jnp.asarray([[[2.0, -3.0]], [[2.0, -2.0]]])
  np.testing.assert_allclose(step_cache.change(now, before), [0.25, 1.0])


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("strength", [None, 1.0, 0.5])
def test_a_network_that_is_always_evaluated_gives_the_plain_run(
  program, start, strength, stochastic, caplog
):
  noise, coords = start
  given = () if strength is None else [EncodedCondition(noise[:1, :1], 0, strength)]
  begin = condition(noise, coords, given) if given else plain_start(start)
  how, text = dataclasses.replace(PLAIN, stochastic=stochastic), begin.tokens + 1
  plain = run(affine, begin, how, text)
  out = run(affine, begin, how, text, step=caching(program, ALWAYS))
  np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-6)
  assert evaluated(caplog) == (5, 5)


def plain_start(start):
  noise, coords = start
  return Conditioned(noise.reshape(2, 6, 4), coords, None)


def test_between_first_and_last_a_velocity_is_taken_again(program, start, caplog):
  """Steps along one velocity are one longer step: from 1 to 0.2, and then to 0."""
  begin = plain_start(start)
  text, levels = begin.tokens + 1, np.float32([1.0, 0.2])
  out = run(affine, begin, PLAIN, text, step=caching(program, NEVER))
  np.testing.assert_allclose(
    out, run(affine, begin, PLAIN, text, levels), rtol=1e-4, atol=1e-5
  )
  assert evaluated(caplog) == (2, 5)


def test_it_is_evaluated_where_the_input_has_moved_far_enough(program, start, caplog):
  begin = plain_start(start)
  text, counts = begin.tokens + 1, []
  for threshold in (0.0, 0.3, 0.6, 1.2, NEVER):
    run(affine, begin, PLAIN, text, step=caching(program, threshold))
    counts.append(evaluated(caplog)[0])
  assert counts[0] == 5 and counts[-1] == 2
  assert counts == sorted(counts, reverse=True) and len(set(counts)) >= 3


def test_a_clip_does_not_depend_on_its_neighbours(program, start, caplog):
  """The second clip moves far in every step, and the first hardly."""
  begin, counts = plain_start(start), []
  text = begin.tokens * np.float32([-0.9, 9.0])[:, None, None]

  def once(rows):
    alone = begin._replace(tokens=begin.tokens[rows])
    context = sampler.Context(PARAMS, text[rows], begin.coords)
    keys = clip_keys(0, 2)[rows]
    step, levels = caching(program, 1.0), schedules.uniform(5)
    out = sampler.sample(step, context, alone, PLAIN, levels, keys=keys)
    counts.append(evaluated(caplog)[0])
    return out

  both, first, second = (once(rows) for rows in (slice(2), slice(1), slice(1, 2)))
  np.testing.assert_allclose(both, np.concatenate([first, second]), rtol=1e-5)
  assert counts[1] < counts[2] <= counts[0]


def test_other_guidance_is_always_evaluated(start, caplog):
  begin = plain_start(start)
  program = step_cache.make_caching_step(masked, seen)
  text = np.concatenate([begin.tokens[::-1], begin.tokens])
  options = {"layers": 3, "step": caching(program, NEVER)}
  run(masked, begin, Sampling(**SCHEDULE), text, **options)
  assert evaluated(caplog) == (5, 5)


def test_another_threshold_compiles_nothing(program, start, compilations):
  begin = plain_start(start)
  run(affine, begin, PLAIN, begin.tokens, step=caching(program, 0.5))
  with compilations() as count:
    for threshold in (ALWAYS, 0.7, NEVER):
      run(affine, begin, PLAIN, begin.tokens, step=caching(program, threshold))
  assert count == []
