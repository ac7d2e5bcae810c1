import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.losses.perceptual import lpips, subsample_frames
from tests import tolerance
from tests.models.perceptual_case import SMALL, small_features


def videos(frames=3, noise=0.2):
  rng = np.random.default_rng(0)
  video = rng.uniform(-1, 1, (2, frames, 4, 6, 3)).astype(np.float32)
  added = noise * rng.standard_normal(video.shape)
  return jnp.asarray(video), jnp.asarray(video + added, jnp.float32)


def distance(a, b):
  return lpips(small_features, SMALL, a, b)


def test_the_distance_is_that_of_its_formula():
  a, b = videos()
  expected = np.zeros(2)
  for x, y, head in zip(
    small_features({}, a), small_features({}, b), SMALL["heads"].values(), strict=True
  ):
    x, y = (np.asarray(f, np.float64) for f in (x, y))
    x, y = (f / np.linalg.norm(f, axis=-1, keepdims=True) for f in (x, y))
    expected += ((x - y) ** 2 @ np.asarray(head)).mean((1, 2, 3))
  allowed = tolerance.of_sums(a[0].size, growth=10)  # Of nearly equal directions.
  np.testing.assert_allclose(distance(a, b), expected, rtol=allowed)


def test_equal_clips_have_no_distance_and_no_gradient():
  a, _ = videos()
  np.testing.assert_array_equal(distance(a, a), 0)
  np.testing.assert_array_equal(jax.grad(lambda x: distance(x, a).sum())(a), 0)


def test_it_is_symmetric_and_of_each_clip():
  a, b = videos()
  np.testing.assert_array_equal(distance(a, b), distance(b, a))
  changed = b.at[1].multiply(-0.5)
  assert distance(a, changed)[0] == distance(a, b)[0]
  assert distance(a, changed)[1] != distance(a, b)[1]


def test_only_directions_count():
  a, b = videos()

  def scaled(params, video):
    return [3.0 * x for x in small_features(params, video)]

  np.testing.assert_allclose(lpips(scaled, SMALL, a, b), distance(a, b), rtol=1e-4)


def test_it_grows_with_noise():
  found = [distance(*videos(noise=noise)) for noise in (0.05, 0.1, 0.2, 0.4)]
  assert np.all(np.diff(np.stack(found), axis=0) > 0)


def test_a_layer_without_weight_does_not_count():
  a, b = videos()
  heads = SMALL["heads"] | {"lin1": jnp.zeros(3)}
  first = lpips(small_features, {"heads": heads}, a, b)
  alone = lpips(
    lambda p, v: small_features(p, v)[:1], {"heads": {"lin0": heads["lin0"]}}, a, b
  )
  np.testing.assert_array_equal(first, alone)
  assert np.all(first < distance(a, b))


def test_the_gradient_is_that_of_finite_differences():
  a, b = videos()
  gradient = jax.grad(lambda x: distance(x, b).sum())(a)
  direction = jax.random.normal(jax.random.key(0), a.shape)
  step = 1e-2
  ends = [distance(a + sign * step * direction, b).sum() for sign in (1, -1)]
  slope = float(ends[0] - ends[1]) / (2 * step)
  assert float(jnp.vdot(gradient, direction)) == pytest.approx(slope, rel=1e-2)


def test_positions_without_features_count_as_equal_and_have_a_gradient():
  def empty(params, video):
    return [jax.nn.relu(video - 10), video]

  a, b = videos()
  heads = {"heads": {"lin0": jnp.ones(3), "lin1": jnp.ones(3)}}
  only = {"heads": {"lin0": jnp.ones(3)}}
  rest = lpips(lambda _, v: [v], only, a, b)
  np.testing.assert_array_equal(lpips(empty, heads, a, b), rest)
  assert np.all(np.isfinite(jax.grad(lambda x: lpips(empty, heads, x, b).sum())(a)))


def numbered(clips, frames):
  """Returns a video whose pixels are the numbers of their frames."""
  shape = (clips, frames, 2, 2, 3)
  return np.broadcast_to(np.arange(frames).reshape(1, -1, 1, 1, 1), shape) * 1.0


@pytest.mark.parametrize(("frames", "count"), [(9, 4), (9, 1), (8, 4), (17, 16)])
def test_frames_are_different_in_order_and_equally_likely(frames, count):
  video, seen = numbered(500, frames), np.zeros(frames)
  picked = np.asarray(subsample_frames(jax.random.key(0), video, count))[:, :, 0, 0, 0]
  assert picked.shape == (500, count)
  assert np.all(np.diff(picked, axis=1) > 0)
  for frame in picked.ravel():
    seen[int(frame)] += 1
  share = count / frames
  # Five standard deviations of 500 draws.
  allowed = 5 * np.sqrt(500 * share * (1 - share))
  np.testing.assert_allclose(seen, 500 * share, atol=allowed)


def test_a_key_picks_the_same_frames_of_both_videos():
  key, video = jax.random.key(3), numbered(6, 9)
  first, second = (subsample_frames(key, v, 3) for v in (video, -video))
  np.testing.assert_array_equal(first, -second)
  other = subsample_frames(jax.random.key(4), video, 3)
  assert np.any(other != first)
  assert len(np.unique(first[:, 0, 0, 0, 0])) > 1  # Clips differ in their frames.


def test_short_clips_are_kept_whole():
  video = numbered(2, 3)
  for count in (3, 8):
    kept = subsample_frames(jax.random.key(0), video, count)
    np.testing.assert_array_equal(kept, video)


def test_no_frames_are_refused():
  with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
    subsample_frames(jax.random.key(0), numbered(1, 3), 0)
