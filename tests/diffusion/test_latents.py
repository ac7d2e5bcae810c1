"""Order and positions of tokens, decode noise, tone mapping."""

import numpy as np
import pytest

from ltx_jax.diffusion import latents


def test_tokens_are_frames_then_rows_then_columns():
  x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
  tokens = latents.patchify(x)
  np.testing.assert_array_equal(tokens[:, (1 * 4 + 2) * 5 + 3], x[:, 1, 2, 3])
  np.testing.assert_array_equal(latents.unpatchify(tokens, (3, 4, 5)), x)


@pytest.mark.parametrize(
  ("causal", "start", "frames"),
  [
    (True, 0, [0, 1, 9, 17]),
    (False, 0, [0, 8, 16, 24]),
    (True, 40, [40, 41, 49, 57]),
  ],
)
def test_positions_are_seconds_and_pixels(causal, start, frames):
  coords = latents.coordinates(
    (4, 2, 3),
    25,
    temporal_factor=8,
    spatial_factor=32,
    causal=causal,
    start_frame=start,
  )
  coords = coords.reshape(4, 2, 3, 3)
  expected = np.array(frames, np.float32) * np.float32(1 / 25)
  np.testing.assert_array_equal(coords[:, 1, 2, 0], expected)
  np.testing.assert_array_equal(coords[0, :, 2, 1], [0, 32])
  np.testing.assert_array_equal(coords[3, 1, :, 2], [0, 32, 64])
  assert coords.dtype == np.float32


def test_clips_have_frame_rates_of_their_own():
  fps = np.float32([25, 24, 12.5])
  factors = {"temporal_factor": 8, "spatial_factor": 32, "causal": True}
  grid = 4, 2, 3
  places = np.stack([np.indices(grid, np.int32).reshape(3, -1).T] * 3)
  found = latents.token_coordinates(places, fps, **factors)
  expected = [latents.coordinates((4, 2, 3), float(rate), **factors) for rate in fps]
  np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6)
  some = [5, 3, 17]
  kept = latents.token_coordinates(places[:, some], fps, **factors)
  np.testing.assert_array_equal(kept, found[:, some])


def test_frame_rate_must_be_positive():
  with pytest.raises(ValueError, match="fps is 0"):
    latents.coordinates((1, 1, 1), 0, temporal_factor=8, spatial_factor=32, causal=True)


def test_decode_noise_is_a_share_of_the_latents():
  x = np.ones((2, 1, 1, 1, 3), np.float32)
  noise = np.full_like(x, 5)
  np.testing.assert_allclose(latents.add_decode_noise(x, noise, 0.25), 2.0)
  mixed = latents.add_decode_noise(x, noise, np.array([0.0, 1.0], np.float32))
  np.testing.assert_array_equal(mixed[0], x[0])
  np.testing.assert_array_equal(mixed[1], noise[1])


def test_adain_takes_over_the_moments_of_each_clips_channels():
  rng = np.random.default_rng(4)
  x = 2 + 3 * rng.standard_normal((2, 3, 4, 4, 5), np.float32)
  reference = 0.5 * rng.standard_normal((2, 2, 2, 2, 5), np.float32) - 1
  out = np.asarray(latents.adain(x, reference))
  space = (1, 2, 3)
  np.testing.assert_allclose(out.mean(space), reference.mean(space), atol=1e-5)
  spread = reference.std(space, ddof=1)
  np.testing.assert_allclose(out.std(space, ddof=1), spread, rtol=1e-5)
  half = latents.adain(x, reference, 0.5)
  np.testing.assert_allclose(half, (x + out) / 2, atol=1e-5)
  np.testing.assert_array_equal(latents.adain(x, reference, 0.0), x)


def test_compression_is_the_originals():
  values = np.float32([0.5, 1.0, 2.0, -3.0]).reshape(1, 1, 1, 1, 4)
  out = latents.compress(values, 0.6)
  np.testing.assert_allclose(out.ravel(), [0.4479709, 0.82, 1.3821328, -1.9487246])
  np.testing.assert_array_equal(latents.compress(values, 0.0), values)


@pytest.mark.parametrize("causal", [True, False])
def test_a_last_frame_stands_where_a_keyframe_at_that_frame_does(causal):
  where = {"temporal_factor": 8, "spatial_factor": 32}
  places = np.indices((2, 3), np.int32).reshape(2, -1).T[None]
  found = latents.last_frame_coordinates(
    places, np.array([4]), np.float32([12.5]), **where
  )
  expected = latents.coordinates(
    (1, 2, 3), 12.5, **where, causal=causal, start_frame=24
  )
  np.testing.assert_array_equal(found[0], expected)
