import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ltx_jax.losses.wavelet import band_l1, haar_bands, wavelet_l1
from tests import tolerance


def clip(frames=4, seed=0):
  shape = (2, frames, 6, 8, 3)
  return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def test_energy_is_kept():
  video = clip()
  bands = haar_bands(video)
  assert bands.shape == (8, 2, 2, 3, 4, 3)
  allowed = tolerance.of_sums(video.size)
  np.testing.assert_allclose((bands**2).sum(), (video**2).sum(), rtol=allowed)


def test_bands_of_a_constant_are_zero_but_the_lowest():
  bands = haar_bands(jnp.full((1, 4, 4, 4, 3), 0.5))
  np.testing.assert_allclose(bands[0], 0.5 * 2**1.5, rtol=1e-6)
  np.testing.assert_array_equal(bands[1:], 0)


def test_bands_are_ordered_time_height_width():
  # Alternation along some axes alone lives in one band alone.
  sign = jnp.array([1.0, -1.0, 1.0, -1.0])
  for number, axes in enumerate(itertools.product((0, 1), repeat=3)):
    video = jnp.ones((1, 4, 4, 4, 3))
    for axis, high in enumerate(axes, start=1):
      if high:
        video = video * jnp.expand_dims(sign, [a for a in range(5) if a != axis])
    energy = (haar_bands(video) ** 2).sum(axis=(1, 2, 3, 4, 5))
    np.testing.assert_allclose(energy, 192 * (np.arange(8) == number), atol=1e-4)


@pytest.mark.parametrize("frames", [1, 5])
def test_an_odd_clip_is_led_by_a_copy_of_its_first_frame(frames):
  video = clip(frames)
  even = jnp.concatenate([video[:, :1], video], axis=1)
  np.testing.assert_array_equal(haar_bands(video), haar_bands(even))
  # The first two frames are equal: nothing is high in time there.
  np.testing.assert_array_equal(haar_bands(video)[4:, :, 0], 0)


def test_the_loss_is_the_mean_absolute_band_of_each_clip():
  a, b = clip(5, 1), clip(5, 2)
  expected = np.abs(haar_bands(a) - haar_bands(b)).mean(axis=(0, 2, 3, 4, 5))
  loss = wavelet_l1(a, b)
  assert loss.shape == (2,)
  allowed = tolerance.of_sums(a[0].size)
  np.testing.assert_allclose(loss, expected, rtol=allowed)
  np.testing.assert_allclose(wavelet_l1(b, a), loss, rtol=allowed)
  np.testing.assert_array_equal(wavelet_l1(a, a), 0)
  changed = b.at[1].add(0.3)
  assert wavelet_l1(a, changed)[0] == loss[0] and wavelet_l1(a, changed)[1] != loss[1]


def test_each_band_has_its_weight():
  a, b = clip(4, 1), clip(4, 2)
  errors = band_l1(a, b)  # 8 b
  np.testing.assert_allclose(wavelet_l1(a, b), errors.mean(0), rtol=1e-6)
  for k in range(8):
    weights = [float(k == i) for i in range(8)]
    np.testing.assert_allclose(wavelet_l1(a, b, weights), errors[k] / 8, rtol=1e-5)


def test_gradients_are_those_of_finite_differences():
  a, b = clip(4, 1), clip(4, 2)
  # No band is near 0, where an absolute value has no slope.
  assert np.abs(haar_bands(a - b)).min() > 1e-5
  check_grads(
    lambda x: wavelet_l1(x, b), (a,), order=1, modes=["rev"], atol=1e-3, rtol=1e-2
  )


def test_odd_frames_are_refused():
  with pytest.raises(ValueError, match="8x5 pixels .* even"):
    haar_bands(jnp.zeros((1, 4, 5, 8, 3)))
