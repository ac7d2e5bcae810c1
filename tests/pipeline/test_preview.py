"""Small images of the expected clip while it is denoised."""

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax import Sampling
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.pipeline import preview as previews
from ltx_jax.pipeline.preview import Preview, after_each_step, block_means, fit
from tests import pipeline_case as case
from tests.policies import QUICK

SIX = Preview(np.eye(6, 3, dtype=np.float32), np.zeros(3, np.float32))
SHAPE = (2, 2, 3, 4, 6)


class Passes:
  """A way with some passes, on a model that does nothing."""

  model = ltx_jax.LTXVideo(ModelConfig(None, None, SchedulerConfig()), {}, QUICK)

  def __init__(self, *samplings):
    self.samplings = samplings

  def plan(self, request):
    raise AssertionError("Nothing is planned.")

  def denoise(self, texts, request, *, negative, start, on_step):
    raise AssertionError("Nothing is made.")


def trajectory(sampling, x0, noise):
  """The latents after each step if the network knows the clip."""
  levels = sampling.levels(SchedulerConfig(), int(np.prod(x0.shape[1:4])))
  return [(1 - s) * x0 + s * noise for s in [*levels[1:], 0.0]]


def shown(latents, steps, on_step, begin=0):
  for i, x in enumerate(latents):
    on_step(begin + i, steps, jax.numpy.asarray(x))


@pytest.fixture
def clips():
  x0 = np.float32(0.4) * case.draws("clip", SHAPE).clip(-1, 1)
  return x0, case.draws("noise", SHAPE)


def test_a_preview_shows_the_clip_that_the_network_sees_through_the_noise(clips):
  sampling, seen = Sampling(steps=4), {}
  show = lambda i, steps, pictures: seen.update({i: pictures})  # noqa: E731
  shown(trajectory(sampling, *clips), 4, after_each_step(Passes(sampling), SIX, show))
  assert list(seen) == [1, 2]  # A step late; the last one is the video itself.
  expected = np.rint(127.5 * (clips[0][..., :3] + 1))
  for pictures in seen.values():
    assert np.abs(pictures - expected).max() <= 1 and pictures.dtype == np.uint8


def test_windows_and_passes_begin_anew(clips):
  first, second = Sampling(steps=3), Sampling(sigmas=(0.8, 0.5, 0.2))
  small = [x[:, :, :2, :2] for x in clips]
  seen = []
  show = lambda i, steps, pictures: seen.append((i, pictures.shape))  # noqa: E731
  on_step = after_each_step(Passes(first, second), SIX, show)
  shown(trajectory(first, *small), 3, on_step)
  shown(trajectory(second, *clips), 3, on_step)
  assert seen == [(1, (2, 2, 2, 2, 3)), (2, (2, 2, 2, 2, 3)), (1, (*SHAPE[:4], 3))]
  seen.clear()
  on_step = after_each_step(Passes(first), SIX, show)
  for window in range(2):
    shown(trajectory(first, *clips), 6, on_step, begin=3 * window)
  assert [i for i, _ in seen] == [1, 2, 4]


def test_fresh_noise_hides_the_velocity_and_the_best_guess_is_shown(clips):
  sampling, seen = Sampling(steps=3, stochastic=True), []
  show = lambda i, steps, pictures: seen.append(pictures)  # noqa: E731
  x, (_, end, _) = clips[1], sampling.levels(SchedulerConfig(), 24)
  shown([x, x], 3, after_each_step(Passes(sampling), SIX, show))
  weight = (1 - end) / ((1 - end) ** 2 + end**2)
  expected = np.rint(127.5 * ((weight * x[..., :3]).clip(-1, 1) + 1))
  assert np.abs(seen[0] - expected).max() <= 1


def test_colors_that_are_linear_in_the_latents_are_found(monkeypatch):
  model = ltx_jax.LTXVideo(case.config(), case.params(), QUICK)
  mixed = case.draws("mix", (3, 6))

  def encode(self, video):
    grid = case.VAE.latent_shape(*video.shape[1:4])
    return (block_means(np.asarray(video), grid) + 0.3) @ mixed

  monkeypatch.setattr(ltx_jax.LTXVideo, "encode", encode)
  monkeypatch.setattr(previews, "_RIDGE", 1e-6)
  video = case.draws("video", (1, 5, 16, 24, 3)).clip(-1, 1)
  colors = previews.colors_of(fit(model), encode(model, video))
  means = block_means(video, case.VAE.latent_shape(5, 16, 24))
  np.testing.assert_allclose(colors, means, atol=1e-3)


def test_means_are_of_the_pixels_of_a_position():
  video = np.zeros((1, 5, 4, 6, 3), np.float32)
  video[0, 0, :2, :2], video[0, 2:, 2:, 4:] = 1.0, 0.5
  means = block_means(video, (3, 2, 3))[0, ..., 0]
  assert means[0].tolist() == [[1, 0, 0], [0, 0, 0]]
  assert means[1].tolist() == [[0, 0, 0], [0, 0, 0.25]]
  assert means[2].tolist() == [[0, 0, 0], [0, 0, 0.5]]
  assert block_means(video[:, :1], (1, 2, 3)).shape == (1, 1, 2, 3, 3)


def test_a_preview_needs_a_vae():
  with pytest.raises(ValueError, match="needs a VAE"):
    fit(Passes.model)


@pytest.mark.slow
def test_previews_of_the_small_model_have_the_colors_of_its_clips():
  from ltx_jax.data.pixels import to_floats
  from ltx_jax.moving_shapes import world

  model = ltx_jax.load("moving-shapes", text_encoder=False)
  captions = world.held_out_captions()[:16]
  clips = np.stack([to_floats(world.clip(c, 0, 17, 128, 128)) for c in captions])
  latents = model.encode(clips)
  means = block_means(clips, latents.shape[1:4])
  error = np.square(previews.colors_of(fit(model), latents) - means).mean()
  assert error < 0.6 * means.var()
