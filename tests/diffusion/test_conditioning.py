"""Masks, levels and re-noising of given tokens."""

import numpy as np
import pytest

from ltx_jax.diffusion import conditioning as c


@pytest.fixture
def clip():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(2, 3, 2, 2, 4)).astype(np.float32)
  coords = rng.normal(size=(1, 12, 3)).astype(np.float32)
  image = rng.normal(size=(1, 1, 2, 2, 4)).astype(np.float32)
  return noise, coords, image


def strengths(*values):
  return c.Strengths(np.float32([0, *values]), np.arange(len(values) + 1))


def test_without_conditions_nothing_is_given(clip):
  noise, coords, _ = clip
  start = c.condition(noise, coords, ())
  assert start.strengths is None and start.extra == 0
  np.testing.assert_array_equal(start.tokens, noise.reshape(2, 12, 4))


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.6, 1.0])
def test_first_frame_is_mixed_by_its_strength(clip, strength):
  noise, coords, image = clip
  start = c.condition(noise, coords, [c.EncodedCondition(image, 0, strength)])
  tokens = start.tokens.reshape(noise.shape)
  np.testing.assert_array_equal(tokens[:, 1:], noise[:, 1:])
  expected = (1 - strength) * noise[:, :1] + strength * image
  np.testing.assert_allclose(tokens[:, :1], expected, atol=1e-6)
  if strength == 1:
    np.testing.assert_array_equal(tokens[1, :1], image[0])
  given = np.float32([strength] * 4 + [0] * 8)
  np.testing.assert_array_equal(start.strengths.per_token(), given)


def test_later_conditions_overwrite_earlier_ones(clip):
  noise, coords, image = clip
  two = np.concatenate([image, image + 1], axis=1)
  items = [c.EncodedCondition(two, 0, 1.0), c.EncodedCondition(image - 1, 0, 0.5)]
  start = c.condition(noise, coords, items)
  tokens = start.tokens.reshape(noise.shape)
  np.testing.assert_allclose(tokens[0, 0], (two[0, 0] + image[0, 0] - 1) / 2, rtol=1e-5)
  np.testing.assert_array_equal(tokens[0, 1], two[0, 1])
  given = [0.5] * 4 + [1] * 4 + [0] * 4
  np.testing.assert_array_equal(start.strengths.per_token(), given)


def test_conditions_that_do_not_fit_are_refused(clip):
  noise, coords, image = clip
  long = np.repeat(image, 4, axis=1)
  for latents, first in ((long, 0), (long[:, :2], 2), (image[:, :, :1], 0)):
    with pytest.raises(ValueError, match=f"latent frame {first} on, which do not fit"):
      c.condition(noise, coords, [c.EncodedCondition(latents, first, 1.0)])


def test_keyframes_are_tokens_in_front_with_places_of_their_own(clip):
  noise, coords, image = clip
  rng = np.random.default_rng(1)
  own = rng.normal(size=(2, 1, 2, 2, 4)).astype(np.float32)
  places = rng.normal(size=(2, 4, 3)).astype(np.float32)
  keys = [
    c.Keyframe(image, own, places[0], 0.25),
    c.Keyframe(image + 1, own, places[1], 1.0),
  ]
  start = c.condition(noise, coords, [c.EncodedCondition(image, 2, 0.5)], keys)
  assert start.extra == 8 and start.tokens.shape == (2, 20, 4)
  first = 0.75 * own + 0.25 * image
  np.testing.assert_allclose(start.tokens[:, :4], first.reshape(2, 4, 4), atol=1e-6)
  second = np.broadcast_to((image + 1).reshape(1, 4, 4), (2, 4, 4))
  np.testing.assert_array_equal(start.tokens[:, 4:8], second)
  np.testing.assert_array_equal(start.tokens[:, 8:16], noise[:, :2].reshape(2, 8, 4))
  np.testing.assert_array_equal(start.coords[0], [*places[0], *places[1], *coords[0]])
  given = [0.25] * 4 + [1] * 4 + [0] * 8 + [0.5] * 4
  np.testing.assert_array_equal(start.strengths.per_token(), np.float32(given))


def test_a_later_clip_has_two_latent_frames_of_its_own_at_most():
  first, later = c.Condition(None), c.Condition(None, frame=16)
  assert [first.keyframes(n) for n in (1, 2, 5)] == [0, 0, 0]
  assert [later.keyframes(n) for n in (1, 2, 5)] == [1, 2, 2]


def test_a_reference_has_all_of_its_latent_frames_of_its_own():
  for frame in (0, 16):
    reference = c.Reference(None, frame)
    assert [reference.keyframes(n) for n in (1, 2, 5)] == [1, 2, 5]


def test_lerp_is_exact_at_both_ends():
  start, end = np.float32([1e8]), np.float32([1.25])
  assert c.lerp(start, end, 0.0) == start
  assert c.lerp(start, end, 1.0) == end


def test_tokens_are_at_the_lower_of_both_levels():
  given = strengths(0.4, 1)
  for sigma, levels, moving in (
    (0.9, [0.9, 0.6, 0], [True, False, False]),
    (0.3, [0.3, 0.3, 0], [True, True, False]),
  ):
    noise = c.noise_levels(np.float32(sigma), given, 2)
    per_token = np.take_along_axis(np.asarray(noise.sigma), noise.index, axis=1)
    np.testing.assert_allclose(per_token, [levels, levels], rtol=1e-6)
    np.testing.assert_array_equal(c.moves(np.float32(sigma), given), moving)


def test_only_tokens_given_outright_are_renoised():
  tokens, initial, noise = (np.full((1, 3, 1), v, np.float32) for v in (2, 3, 4))
  out = c.renoise(tokens, initial, strengths(0.9, 1), noise, np.float32(0.5), 0.15)
  np.testing.assert_allclose(out[0, :, 0], [2, 2, 3 + 0.15 * 4 * 0.25])


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"strength": 1.5}, r"strength of a condition is 1.5; it must lie in \[0, 1\]"),
    ({"strength": float("nan")}, "nan"),
    ({"frame": -1}, "give a whole number from 0 on"),
    ({"crf": 52}, r"crf of a condition is 52; it must lie in \[0, 51\]"),
  ],
)
def test_unusable_conditions_are_refused(arguments, message):
  for kind in (c.Condition, c.Reference):
    with pytest.raises(ValueError, match=message):
      kind("image.png", **arguments)


@pytest.mark.parametrize("downscale", [0, 1.5])
def test_a_downscale_that_is_none_is_refused(downscale, unchecked):
  with pytest.raises(ValueError, match=f"reference is {downscale}; it must be a wh"):
    c.Reference("clip.mp4", downscale=downscale)


def test_what_is_beside_a_clip_comes_before_it(clip):
  noise, coords, image = clip
  own = noise.reshape(2, 12, 4)
  shown = np.repeat(image, 2, axis=0).reshape(2, 4, 4)
  where = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
  source = c.frames_given((3, 2, 2), [slice(0, 2), slice(1, 3)])
  beside = [c.Beside(shown, where), c.Beside(shown + 1, where + 1)]
  layout = c.lay_out(own, coords, source, beside, first=3)
  assert layout.extra == 8
  # The third and the fourth thing in front; of the clip a frame is the last one's.
  np.testing.assert_array_equal(layout.source, np.repeat([3, 4, 1, 2, 2], 4))
  expected = [shown, shown + 1, own]
  np.testing.assert_array_equal(layout.tokens, np.concatenate(expected, axis=1))
  places = np.concatenate([where, where + 1, coords], axis=1)
  np.testing.assert_array_equal(layout.coords, places)
  alone = c.lay_out(own, coords, c.frames_given((3, 2, 2), []))
  assert alone.extra == 0 and not alone.source.any() and alone.coords is coords
