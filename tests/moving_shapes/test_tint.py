"""Other colours change colours alone, and no colour of the world becomes another."""

import itertools

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket
from ltx_jax.moving_shapes import tint, world
from ltx_jax.moving_shapes.source import TINTED, WORLDS, Shapes

CAPTION = "a large red square moving right on a gray background"
SIZE = 9, 64, 64


def test_a_channel_has_one_gain_and_one_shift():
  plain, tinted = world.clip(CAPTION, 3, *SIZE), tint.clip(CAPTION, 3, *SIZE)
  assert tinted.shape == plain.shape and tinted.dtype == np.uint8
  for k in range(3):
    before, after = plain[..., k].ravel(), tinted[..., k].ravel()
    gain, shift = np.polyfit(before, after, 1)
    np.testing.assert_allclose(after, gain * before + shift, atol=1)
    assert abs(gain - 1) < tint.GAIN + 0.02 and abs(shift) < tint.SHIFT + 5


def test_the_seed_decides_colours_and_place():
  one, again, other = (tint.clip(CAPTION, seed, *SIZE) for seed in (3, 3, 4))
  np.testing.assert_array_equal(one, again)
  assert (one[0, 0, 0] != other[0, 0, 0]).any()
  shades = np.array([tint.clip(CAPTION, s, 1, 32, 32)[0, 0, 0] for s in range(60)])
  assert (np.ptp(shades, 0) > 40).all() and np.ptp(shades.mean(1)) > 20


def reach(value):
  """The colours that a channel's value may become."""
  ends = [value * (1 + side * tint.GAIN) + side * tint.SHIFT for side in (-1, 1)]
  return np.clip(ends, 0, 255)


@pytest.mark.parametrize(
  ("one", "other"),
  [
    pair
    for names in (world.PALETTE, world.BACKGROUNDS)
    for pair in itertools.permutations(names, 2)
  ],
)
def test_no_colour_becomes_another_one(one, other):
  """Else a clip would show a caption that is held out."""
  colors = world.PALETTE | world.BACKGROUNDS
  spans = [reach(value) for value in colors[one]]
  near = [low <= x <= high for x, (low, high) in zip(colors[other], spans, strict=True)]
  assert not all(near)


def test_it_is_a_source_of_clips():
  assert WORLDS[TINTED].render is tint.clip
  batch = Shapes((CAPTION,), name=TINTED).read(
    Bucket(*SIZE), np.array([0]), np.array([7], np.uint32)
  )
  np.testing.assert_array_equal(batch["video"][0], tint.clip(CAPTION, 7, *SIZE))
