"""The small world as sources of clips."""

import numpy as np

from ltx_jax.config.runs import Bucket
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import FAINT, NAME, shapes

SIZE = 2, 32, 48


def test_faint_shapes_are_those_near_their_background_in_colour():
  trained = world.train_captions()
  faint = shapes(FAINT, trained).captions
  pairs = {(p.color, p.background) for p in map(world.parse, faint)}
  assert pairs == {
    *((color, "gray") for color in ("red", "green", "blue", "purple")),
    *((color, "brown") for color in ("red", "green")),
  }
  assert list(faint) == [
    c for c in trained if (world.parse(c).color, world.parse(c).background) in pairs
  ]


def test_faint_shapes_are_rendered_as_the_others():
  caption = "a small green square moving up on a gray background"
  batches = [
    shapes(name, [caption]).read(Bucket(*SIZE), np.array([0]), np.array([7], np.uint32))
    for name in (NAME, FAINT)
  ]
  np.testing.assert_array_equal(batches[0]["video"], batches[1]["video"])
  assert shapes(NAME, [caption]).fingerprint != shapes(FAINT, [caption]).fingerprint
