import zlib

import numpy as np
import pytest

from ltx_jax.moving_shapes import world

RED_CIRCLE = "a large red circle moving right on a navy background"


def test_there_are_768_captions_in_a_fixed_order():
  captions = world.captions()
  assert len(set(captions)) == len(captions) == 768
  assert captions[0] == "a small red circle moving left on a black background"
  assert captions[-1] == "a large cyan triangle moving down on a brown background"
  assert zlib.crc32("\n".join(captions).encode()) == 294942480


def test_one_caption_in_ten_is_held_out():
  train, held_out = world.train_captions(), world.held_out_captions()
  assert sorted(train + held_out) == sorted(world.captions())
  assert len(held_out) == 81
  assert all(zlib.crc32(caption.encode()) % 10 == 0 for caption in held_out)
  assert all(zlib.crc32(caption.encode()) % 10 != 0 for caption in train)


def test_later_captions_are_drawn_in_a_colour_of_their_own_and_in_no_training():
  later = world.later_captions()
  assert len(set(later)) == 96 and not set(later) & set(world.captions())
  assert all(str(world.parse(caption)) == caption for caption in later)
  assert {world.parse(caption).color for caption in later} == {"magenta"}
  middle = world.clip(later[0], 0, 1, 64, 64)[0]
  assert (middle == world.LATER_COLORS["magenta"]).all(axis=-1).any()


@pytest.mark.parametrize("caption", world.EXAMPLES)
def test_examples_are_trained_on(caption):
  assert caption in world.train_captions()


def test_captions_are_read_back():
  for caption in world.captions():
    assert str(world.parse(caption)) == caption
  assert str(world.parse("  " + RED_CIRCLE.upper() + ". ")) == RED_CIRCLE


@pytest.mark.parametrize(
  ("caption", "named"),
  [
    ("a large red dragon moving right on a navy background", "dragon"),
    ("a huge pink circle", "huge, pink"),
    ("red circle", "do not stand"),
    ("a red large circle moving right on a navy background", "do not stand"),
    ("", "do not stand"),
  ],
)
def test_a_bad_caption_is_answered_with_words_grammar_and_examples(caption, named):
  with pytest.raises(ValueError, match=named) as error:
    world.clip(caption, 0, 1, 32, 32)
  for part in (world.GRAMMAR, *world.EXAMPLES, repr(caption)):
    assert part in str(error.value)


def test_unknown_words():
  assert world.unknown_words(RED_CIRCLE.title() + "!") == []
  assert world.unknown_words("a Dragon, a red dragon flying") == [
    "dragon",
    "flying",
  ]


def test_motion_runs_over_nine_twentieths_of_the_side():
  words = world.parse(RED_CIRCLE)
  yx = world.centers(words, 3, 25, 64, 128)
  np.testing.assert_allclose(yx[[0, 12, 24], 1], [35.2, 64, 92.8])
  assert np.ptp(yx[:, 0]) == 0 and abs(yx[0, 0] - 32) <= 0.12 * 64
  up = world.parse(RED_CIRCLE.replace("right", "up"))
  yx = world.centers(up, 3, 9, 64, 128)
  np.testing.assert_allclose(yx[[0, 4, 8], 0], [46.4, 32, 17.6])


def test_the_seed_decides_the_offset_only():
  words = world.parse(RED_CIRCLE)
  yx = np.stack([world.centers(words, seed, 2, 100, 100) for seed in range(500)])
  assert np.ptp(yx[:, :, 1], axis=0).max() == 0
  across = yx[:, 0, 0]
  assert 38 <= across.min() < 38.3 and 61.7 < across.max() <= 62
  assert abs(across.mean() - 50) < 1


@pytest.mark.parametrize(
  ("shape", "area"), [("circle", np.pi), ("square", 1.8**2), ("triangle", 1.85 * 1.03)]
)
@pytest.mark.parametrize(("size", "fraction"), [("small", 0.13), ("large", 0.22)])
def test_area_and_centre_of_a_shape(shape, area, size, fraction):
  caption = f"a {size} white {shape} moving down on a black background"
  video = world.clip(caption, 1, 5, 128, 160)
  covered = (video[..., 0].astype(float) - 10) / 230
  np.testing.assert_allclose(
    covered.sum((1, 2)), area * (fraction * 128) ** 2, rtol=0.01
  )
  yx = world.centers(world.parse(caption), 1, 5, 128, 160)
  # The triangle's centroid is not the point that its extents are measured from.
  below = (2 * 0.75 - 1.1) / 3 * fraction * 128 if shape == "triangle" else 0
  rows = (covered.sum(2) * (np.arange(128) + 0.5)).sum(1) / covered.sum((1, 2))
  columns = (covered.sum(1) * (np.arange(160) + 0.5)).sum(1) / covered.sum((1, 2))
  np.testing.assert_allclose(rows, yx[:, 0] + below, atol=0.05)
  np.testing.assert_allclose(columns, yx[:, 1], atol=0.05)


def _distance(shape, y, x, r):
  """Signed distance to the boundary, by brute force over points along it."""
  t = np.linspace(0, 1, 4001)[:, None]
  if shape == "circle":
    boundary = r * np.concatenate([np.sin(2 * np.pi * t), np.cos(2 * np.pi * t)], 1)
    inside = y * y + x * x < r * r
  else:
    corners = {
      "square": [(-0.9, -0.9), (-0.9, 0.9), (0.9, 0.9), (0.9, -0.9)],
      "triangle": [(-1.1, 0), (0.75, 1.03), (0.75, -1.03)],
    }[shape]
    corners = r * np.asarray(corners)
    ends = list(zip(corners, np.roll(corners, -1, 0), strict=True))
    boundary = np.concatenate([a + t * (b - a) for a, b in ends])
    sides = [(b[0] - a[0]) * (x - a[1]) - (b[1] - a[1]) * (y - a[0]) for a, b in ends]
    inside = np.all(np.stack(sides) < 0, 0) | np.all(np.stack(sides) > 0, 0)
  points = np.stack([np.ravel(y), np.ravel(x)], 1)
  distance = np.stack([np.hypot(*(boundary - point).T).min() for point in points])
  return np.where(inside, 1, -1) * distance.reshape(y.shape)


@pytest.mark.parametrize("shape", world.SHAPES)
@pytest.mark.parametrize("size", world.SIZES)
def test_coverage_is_the_signed_distance(shape, size):
  caption = f"a {size} white {shape} moving left on a black background"
  words = world.parse(caption)
  y, x = np.mgrid[:48, :43] + 0.5
  r = world.radius(size, 48, 43)
  for seed in (5, 6, 7):  # So that corners fall between pixels in several ways.
    (center,) = world.centers(words, seed, 1, 48, 43)
    distance = _distance(shape, y - center[0], x - center[1], r)
    expected = 10 + 230 * np.clip(distance + 0.5, 0, 1)
    video = world.clip(caption, seed, 1, 48, 43)
    np.testing.assert_allclose(video[0, :, :, 1], expected, atol=0.7)


@pytest.mark.parametrize(
  ("shape", "area", "inscribed"),
  [("circle", np.pi, 1), ("square", 3.24, 0.9), ("triangle", 1.9055, 0.6054)],
)
def test_a_rounded_shape_lies_between_its_outline_and_its_inscribed_circle(
  shape, area, inscribed
):
  caption = f"a large white {shape} moving left on a black background"
  r, q = 0.22 * 128, 0.6
  whole, rounded, circle = (
    (world.clip(caption, 5, 1, 128, 128, q)[0, ..., 0] - 10.0) / 230
    for q in (0, q, 0.999)
  )
  # The polygon shrunk by 1 - q, strips along its sides, and a disc in the corners.
  expected = area * (1 - q * q) + np.pi * (q * inscribed) ** 2
  assert rounded.sum() == pytest.approx(expected * r * r, rel=0.01)
  assert circle.sum() == pytest.approx(np.pi * (inscribed * r) ** 2, rel=0.01)
  assert np.all(circle <= rounded + 0.01) and np.all(rounded <= whole + 0.01)


def test_colors_and_background():
  video = world.clip(
    "a large orange square moving up on a brown background", 0, 3, 64, 64
  )
  assert video.dtype == np.uint8
  assert (video[0, 0, 0] == (80, 50, 25)).all()
  assert (video[1, 32, 32] == (240, 140, 30)).all()


def test_nothing_lies_outside_the_bounding_boxes_or_the_frame():
  for index, caption in enumerate(world.captions()[::7]):
    video = world.clip(caption, index, 3, 48, 64)
    background = video[0, 0, 0]
    border = (video[:, [0, -1]] == background).all() and (
      video[:, :, [0, -1]] == background
    ).all()
    assert border, caption
    for frame, box in zip(
      video, world.bounding_boxes(caption, index, 3, 48, 64), strict=True
    ):
      assert (frame[box] != background).any()
      frame[box] = background
      assert (frame == background).all(), caption


def test_any_size_can_be_drawn():
  for frames, height, width in ((1, 8, 8), (2, 1, 9), (4, 31, 200)):
    video = world.clip(RED_CIRCLE, 0, frames, height, width)
    assert video.shape == (frames, height, width, 3)


def test_a_clip_is_a_function_of_its_arguments():
  first, again, other = (world.clip(RED_CIRCLE, seed, 9, 64, 64) for seed in (7, 7, 8))
  assert (first == again).all() and (first != other).any()
  assert (world.clip(RED_CIRCLE, 7, 1, 64, 64)[0] == first[0]).all()
