"""Each network of a model alone."""

import jax
import numpy as np
import pytest

import ltx_jax
from tests import pipeline_case as case
from tests.models import vae_case
from tests.models.transformer_case import network
from tests.policies import QUICK


def test_encode_takes_the_mode_or_a_sample_and_decode_draws_only_with_a_key(model):
  video = np.tanh(np.random.default_rng(0).normal(size=(2, 3, 16, 8, 3)))
  mode = model.encode(video.astype(np.float32))
  assert mode.shape == (2, 2, 2, 1, 6)
  sample = model.encode(video.astype(np.float32), jax.random.key(0))
  assert 0 < np.abs(sample - mode).max()
  plain = model.decode(mode)
  assert plain.shape == (2, 3, 16, 8, 3)
  assert np.abs(plain).max() <= 1
  np.testing.assert_array_equal(plain, model.decode(mode, noise_scale=0.9))
  noisy = model.decode(mode, noise_scale=0.9, key=jax.random.key(0))
  assert not np.array_equal(plain, noisy)
  assert not np.array_equal(plain, model.decode(mode, sigma=0.9))


def test_a_sample_has_the_shape_of_the_mode_whatever_the_blocks():
  config = case.ModelConfig(None, vae_case.OPTIONS, case.SchedulerConfig())
  params = {"vae": vae_case.random_params(vae_case.OPTIONS)}
  model = ltx_jax.LTXVideo(config, params, QUICK)
  video, _ = vae_case.inputs(vae_case.OPTIONS)
  mode, sample = model.encode(video), model.encode(video, jax.random.key(0))
  assert mode.shape == sample.shape == (2, 2, 2, 3, 6)
  assert np.abs(sample - mode).max() > 0


def test_velocity_is_the_transformers(model):
  rng = np.random.default_rng(0)
  tokens, coords = rng.normal(size=(2, 6, 6)), rng.uniform(size=(2, 6, 3))
  inputs = [x.astype(np.float32) for x in (tokens, coords)]
  (text, mask), _ = case.texts()
  sigma = np.float32([0.3, 0.8])
  expected = network(case.params()["transformer"], case.TRANSFORMER)
  np.testing.assert_allclose(
    model.velocity(*inputs, text, mask, sigma),
    expected(*inputs, text, mask, sigma),
    rtol=1e-4,
    atol=1e-5,
  )


def test_videos_of_whole_numbers_are_refused(model, unchecked):
  with pytest.raises(ValueError, match=r"The video is uint8; .* video / 127.5 - 1"):
    model.encode(np.zeros((1, 5, 32, 40, 3), np.uint8))


def test_a_replayed_draw_of_another_size_is_refused(model):
  latents = np.zeros((1, 3, 4, 5, 6), np.float32)
  with pytest.raises(ValueError, match="decode.*does not hold 360 numbers"):
    model.decode(latents, draws=lambda name, shape: np.zeros(5))


def test_a_lone_string_is_no_list_of_prompts(model):
  with pytest.raises(ValueError, match="prompts are 'a red circle'; give a list"):
    model.encode_text("a red circle")
