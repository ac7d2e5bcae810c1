import pytest

from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.flow import flow

CAPTION = "a large red square moving right on a navy background"


def test_the_shape_moves_by_its_step_and_the_background_stays():
  moved, visible = flow(CAPTION, 0, 5, 40, 60)
  assert moved.shape == (4, 40, 60, 2) and visible.shape == (4, 40, 60)
  step = 2 * world.TRAVEL * 60 / 4
  y, x = world.centers(world.parse(CAPTION), 0, 5, 40, 60)[1].astype(int)
  assert moved[1, y, x] == pytest.approx([0, step]) and visible[1, y, x]
  assert not moved[:, 0].any() and visible[:, 0].all()
  moving = moved.any(-1)
  clip = world.clip(CAPTION, 0, 5, 40, 60)
  red = clip[:-1, ..., 0] > (220 + 15) / 2
  assert (moving == red).mean() > 0.99


def test_what_the_shape_covers_next_is_hidden():
  _, visible = flow(CAPTION, 0, 5, 40, 60)
  clip = world.clip(CAPTION, 0, 5, 40, 60).astype(int)
  covered = (clip[1:, ..., 0] > 200) & (clip[:-1, ..., 0] < 20)
  assert covered.any() and not (covered & visible).any()


def test_an_unknown_caption_is_refused():
  with pytest.raises(ValueError, match="cannot be drawn"):
    flow("a dog", 0, 5, 40, 60)
