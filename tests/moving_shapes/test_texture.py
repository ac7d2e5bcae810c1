"""Textured shapes: captions and plain pixels stay, the texture moves with the shape."""

import zlib

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket
from ltx_jax.moving_shapes import texture, world
from ltx_jax.moving_shapes.judge import judge
from ltx_jax.moving_shapes.source import NAME, TEXTURED, Shapes

CAPTION = "a large red circle moving right on a gray background"
FAST, SLOW = (
  next(s for s in range(99) if texture.speed(s) == speed) for speed in (1.0, 0.25)
)


def test_plain_shapes_keep_their_pixels_and_their_fingerprint():
  checksum = 0
  for i, caption in enumerate(world.captions()[::97]):
    checksum = zlib.crc32(world.clip(caption, i, 9, 64, 64).tobytes(), checksum)
  assert checksum == 2128174380
  assert Shapes().fingerprint == "ff96ac0fd51e328f"


def test_a_source_has_texture_by_its_name_and_the_same_captions():
  plain, textured = Shapes(), Shapes(name=TEXTURED)
  assert plain.name == NAME and plain.captions == textured.captions
  assert plain.fingerprint != textured.fingerprint
  ids, seeds = np.array([3]), np.array([7], np.uint32)
  batch = textured.read(Bucket(5, 32, 32), ids, seeds)
  expected = texture.clip(textured.captions[3], 7, 5, 32, 32)
  np.testing.assert_array_equal(batch["video"][0], expected)


def test_the_seed_decides_the_texture_and_nothing_else_does():
  one, again, other = (texture.clip(CAPTION, s, 3, 48, 48) for s in (4, 4, 5))
  np.testing.assert_array_equal(one, again)
  assert (one[0, :4] != other[0, :4]).any()
  # A longer clip begins and ends at the same places, on the same ground.
  longer = texture.clip(CAPTION, 4, 5, 48, 48)
  np.testing.assert_array_equal(one, longer[::2])


@pytest.mark.parametrize("size", [(1, 32, 32), (9, 33, 50), (5, 128, 96)])
def test_any_size_is_drawn_and_the_ground_stands_still(size):
  video = texture.clip(CAPTION, FAST, *size)
  assert video.shape == (*size, 3)
  assert (video[:, :2] == video[0, :2]).all()
  assert video[0, :4].std(axis=(0, 1)).max() > 5


def test_the_texture_moves_with_the_shape():
  frames = 1 + 16 * 2
  video = texture.clip(CAPTION, FAST, frames, 128, 128).astype(float)
  yx = texture.centers(CAPTION, FAST, frames, 128, 128)
  np.testing.assert_allclose(yx[20, 1] - yx[0, 1], 36)  # Whole pixels.
  boxes = []
  for frame in (0, 20):
    top, left = (int(z) - 14 for z in yx[frame])
    boxes.append(video[frame, top : top + 28, left : left + 28])
  assert boxes[0].std(axis=(0, 1)).max() > 10
  np.testing.assert_allclose(boxes[0], boxes[1], atol=1)


def test_slow_clips_travel_a_quarter_of_the_way_about_the_same_centre():
  plain = world.centers(world.parse(CAPTION), SLOW, 9, 64, 64)
  slow = texture.centers(CAPTION, SLOW, 9, 64, 64)
  np.testing.assert_allclose(slow[4], plain[4])
  np.testing.assert_allclose(np.ptp(slow[:, 1]), 0.25 * np.ptp(plain[:, 1]))
  fast = texture.centers(CAPTION, FAST, 9, 64, 64)
  np.testing.assert_allclose(np.ptp(fast[:, 1]), np.ptp(plain[:, 1]))


def test_both_speeds_and_all_kinds_of_texture_occur():
  seeds = range(64)
  fast = sum(texture.speed(seed) == 1.0 for seed in seeds)
  assert 20 < fast < 44
  for kind in texture.KINDS:
    y, x = np.arange(240)[:, None] / 2, np.arange(240) / 2
    values = texture.PATTERNS[kind](np.random.default_rng(1))(y, x)
    assert values.min() >= -1 and values.max() <= 1
    assert abs(values.mean()) < 0.1 and values.std() > 0.3


def test_the_judge_still_reads_the_captions_of_fast_clips():
  right = []
  for number, caption in enumerate(world.held_out_captions()[::8]):
    seed = next(s for s in range(9 * number, 999) if texture.speed(s) == 1.0)
    found = judge(texture.clip(caption, seed, 9, 128, 128)).agreement(caption)
    right.append(found["direction"] and found["color"])
  assert np.mean(right) > 0.8
