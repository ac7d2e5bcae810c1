"""Named draws: independent by name and clip, replaceable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.diffusion.draws import clip_keys, draw, normal


def test_a_clip_draws_the_same_alone_and_in_a_batch():
  alone = draw(clip_keys(7, 1), "initial", (1, 4, 3))
  batch = draw(clip_keys(7, 3), "initial", (3, 4, 3))
  np.testing.assert_array_equal(alone[0], batch[0])
  assert not np.array_equal(batch[0], batch[1])


def test_first_clip_folds_zero_into_the_seed():
  data = jax.random.key_data(clip_keys(7, 2))
  for i in range(2):
    expected = jax.random.fold_in(jax.random.key(7), i)
    np.testing.assert_array_equal(data[i], jax.random.key_data(expected))


def test_a_seed_for_each_clip_gives_what_it_gives_alone():
  batch = draw(clip_keys((7, 3), 2), "initial", (2, 4))
  for row, seed in zip(batch, (7, 3), strict=True):
    np.testing.assert_array_equal(row, draw(clip_keys(seed, 1), "initial", (1, 4))[0])
  with pytest.raises(ValueError, match="2 seeds for 3 clips"):
    clip_keys((7, 3), 3)


def test_seeds_may_be_arrays():
  def data(seed):
    return jax.random.key_data(clip_keys(seed, 2))

  for several in ([7, 3], np.array([7, 3]), jnp.array([7, 3])):
    np.testing.assert_array_equal(data(several), data((7, 3)))
  for one in (np.int64(7), np.uint8(7)):
    np.testing.assert_array_equal(data(one), data(7))


@pytest.mark.parametrize("seed", [2.5, "7", (1.0, 2.0), np.zeros((2, 2), int), None])
def test_seeds_that_are_no_whole_numbers_are_refused(unchecked, seed):
  with pytest.raises(ValueError, match="give one whole number, or one for each clip"):
    clip_keys(seed, 2)


@pytest.mark.parametrize("seed", [-1, 2**32, (0, 2**32)])
def test_seeds_that_jax_would_cut_off_are_refused(seed):
  with pytest.raises(ValueError, match="at least 0, below 4,294,967,296 and whole"):
    clip_keys(seed, 2)


def test_keys_are_one_for_each_clip():
  keys = jax.random.split(jax.random.key(0), 2)
  assert clip_keys(keys, 2) is keys
  for wrong in (keys[0], keys[:1]):
    with pytest.raises(ValueError, match="for 2 clips; give one for each, or a seed"):
      clip_keys(wrong, 2)


def test_names_and_numbers_give_different_noise():
  keys = clip_keys(0, 1)
  draws = [draw(keys, "step", (1, 8), i) for i in range(3)]
  draws += [draw(keys, "step", (1, 8)), draw(keys, "decode", (1, 8))]
  rows = np.concatenate(draws)
  assert len(np.unique(rows, axis=0)) == 5


def test_traced_numbers_draw_what_the_host_draws():
  keys = clip_keys(3, 2)
  inside = jax.jit(lambda keys, i: normal(keys, "step", i, (5,)))(keys, np.int32(4))
  np.testing.assert_array_equal(inside, draw(keys, "step", (2, 5), 4))


def test_replacement_is_called_by_name_and_may_have_another_layout():
  calls = []

  def recorded(name, shape):
    calls.append((name, shape))
    return np.arange(12.0).reshape(3, 4)

  noise = draw(clip_keys(0, 1), "posterior", (1, 2, 6), 0, recorded)
  assert calls == [("posterior/0", (1, 2, 6))]
  np.testing.assert_array_equal(noise.reshape(-1), np.arange(12.0))
  assert noise.dtype == np.float32


def test_replacement_of_another_size_is_refused():
  with pytest.raises(ValueError, match="initial.*does not hold 6 numbers"):
    draw(clip_keys(0, 1), "initial", (1, 6), None, lambda name, shape: np.zeros(5))
