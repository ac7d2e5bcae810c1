import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.losses.perceptual import lpips
from ltx_jax.models.perceptual import features_fn, init_perceptual
from ltx_jax.platforms import CPU
from tests.models import perceptual_case as case
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "perceptual.npz"
FEATURES = jax.jit(features_fn(CPU))


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


def of_frames(params):
  """Returns the distance of every frame, each a clip of its own [b F]."""
  videos = (v.reshape(-1, 1, *case.SHAPE[2:]) for v in case.videos())
  video, noisy = videos
  return lpips(FEATURES, params, noisy, video).reshape(case.SHAPE[:2])


@pytest.mark.parametrize(
  ("name", "params"),
  [("distances", case.params), ("equal", case.equal_params)],
)
def test_distances_are_those_of_the_original(golden, name, params):
  np.testing.assert_allclose(of_frames(params()), golden[name], rtol=1e-4)


def test_the_gradient_is_that_of_the_original(golden):
  video, noisy = (clips[:1, :1] for clips in case.videos())

  @jax.jit
  def gradient(params, pixels):
    return jax.grad(lambda x: lpips(FEATURES, params, x, video).sum())(pixels)

  grads = gradient(case.params(), noisy)
  largest = np.abs(golden["gradient"]).max()
  np.testing.assert_allclose(grads, golden["gradient"], atol=1e-4 * largest, rtol=0)


def test_features_halve_their_size_and_end_in_relu():
  video, _ = case.videos()
  features = FEATURES(case.params(), video)
  sizes = [(24, 36, 64), (12, 18, 128), (6, 9, 256), (3, 4, 512), (1, 2, 512)]
  assert [x.shape for x in features] == [(2, 2, *size) for size in sizes]
  for x in features:
    assert x.min() == 0 and 0.2 < np.mean(x == 0) < 0.8


def test_frames_stand_alone():
  video, _ = case.videos()
  whole = FEATURES(case.params(), video)
  alone = FEATURES(case.params(), video[1:, 1:])
  for x, y in zip(whole, alone, strict=True):
    np.testing.assert_allclose(x[1:, 1:], y, atol=1e-4 * np.abs(y).max())


def test_the_forms_of_a_convolution_agree():
  video, _ = case.videos()
  direct = jax.jit(features_fn(QUICK))(case.params(), video)
  for x, y in zip(FEATURES(case.params(), video), direct, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-4 * np.abs(y).max())


def test_half_precision_stays_near():
  video, _ = case.videos()
  half = jax.jit(features_fn(dataclasses.replace(QUICK, dtype="bfloat16")))
  for x, y in zip(
    half(case.params(), video), FEATURES(case.params(), video), strict=True
  ):
    assert x.dtype == jnp.bfloat16
    error = np.linalg.norm(np.float32(x) - y) / np.linalg.norm(y)
    assert 1e-4 < error < 0.05


def test_a_random_network_keeps_the_size_of_its_features():
  params = jax.jit(init_perceptual)(jax.random.key(0))
  sizes = [float(jnp.std(x)) for x in FEATURES(params, case.videos()[0])]
  assert all(0.1 < size < 2 for size in sizes), sizes
  for i, head in enumerate(params["heads"].values()):
    assert head.shape == ((64, 128, 256, 512, 512)[i],) and np.all(head == 1)


def test_frames_that_pooling_would_use_up_are_refused():
  with pytest.raises(ValueError, match="Frames of 40x15 pixels .* at least 16x16"):
    FEATURES(case.params(), np.zeros((1, 1, 15, 40, 3), np.float32))


def test_another_key_draws_another_network():
  first = jax.jit(lambda key: init_perceptual(key)["vgg"]["conv1_1"]["kernel"])
  kernels = [first(jax.random.key(seed)) for seed in (0, 0, 1)]
  np.testing.assert_array_equal(kernels[0], kernels[1])
  assert np.abs(kernels[0] - kernels[2]).max() > 0.1
