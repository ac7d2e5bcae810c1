"""The round trip of a clip through a VAE, whole and in windows."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.pipeline.round_trip import round_trip

RNG = np.random.default_rng(0)


def clip(*size):
  """Smooth noise that changes slowly: the coarse pattern of each frame, enlarged."""
  frames, height, width = size
  coarse = RNG.integers(0, 256, (frames, height // 8 + 1, width // 8 + 1, 3), np.uint8)
  return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]


def test_any_size_comes_back_as_it_would_whole(model):
  video = clip(4, 19, 27)
  made = round_trip(model, video)
  assert made.video.shape == video.shape and made.video.dtype == np.uint8
  pad = ((0, 1), (2, 3), (2, 3), (0, 0))  # To 5 frames of 32x24.
  whole = to_floats(np.pad(video, pad, mode="edge"))[None]
  latents = model.encode(whole)
  assert made.latents.shape == latents.shape == (1, 3, 3, 4, 6)
  np.testing.assert_allclose(made.latents, latents, atol=1e-5)
  pixels = to_uint8(np.asarray(model.decode(latents, 0.0, 0.0)))[0]
  assert np.abs(made.video - pixels[:4, 2:21, 2:29].astype(int)).max() <= 1


def test_windows_come_close_to_the_whole(model, caplog):
  video = clip(29, 8, 8)
  whole = round_trip(model, video, window=29)
  parts = round_trip(model, video, window=17)
  error = np.abs(parts.latents - whole.latents).max((0, 2, 3, 4))
  assert error[:8].max() < 1e-5  # The first window misses nothing.
  assert 0 < error.max() < 0.3 * whole.latents.std()
  difference = np.abs(parts.video.astype(int) - whole.video)
  assert 0 < difference.mean() < 1
  assert "2 windows" not in caplog.text and "3 windows of 15 frames" in caplog.text


def test_noise_is_as_strong_as_sigma_and_follows_the_seed(model):
  video = clip(3, 8, 8)
  plain, noisy, again, other = (
    round_trip(model, video, sigma=sigma, seed=seed).video.astype(int)
    for sigma, seed in ((0, 0), (0.5, 0), (0.5, 0), (0.5, 1))
  )
  np.testing.assert_array_equal(noisy, again)
  assert np.abs(noisy - plain).mean() > 1
  assert not np.array_equal(noisy, other)


def test_the_noise_of_windows_is_that_of_the_whole(model):
  video = np.full((29, 8, 8, 3), 90, np.uint8)
  whole, parts = (
    round_trip(model, video, sigma=1.0, window=window).video.astype(int)
    for window in (29, 17)
  )
  assert np.abs(whole - parts).mean() < 0.2 * np.abs(whole - whole.mean()).mean()


def test_progress_grows_from_nothing_to_all(model):
  seen = []
  round_trip(model, clip(29, 8, 8), window=17, on_work=lambda *work: seen.append(work))
  doing, done, total = zip(*seen, strict=True)
  assert list(doing) == ["encode"] * doing.count("encode") + ["decode"] * (
    len(doing) - doing.count("encode")
  )
  assert done[0] == 0 and list(done) == sorted(done) and done[-1] == total[-1]
  assert len(set(total)) == 1


def test_what_is_wrong_is_refused_in_words(model):
  video = clip(3, 8, 8)
  with pytest.raises(ValueError, match="sigma is 2; it must be at least 0"):
    round_trip(model, video, sigma=2)
  with pytest.raises(ValueError, match="seed is -1"):
    round_trip(model, video, seed=-1)
  alone = dataclasses.replace(model, config=dataclasses.replace(model.config, vae=None))
  with pytest.raises(ValueError, match="This model has no VAE; load"):
    round_trip(alone, video)
