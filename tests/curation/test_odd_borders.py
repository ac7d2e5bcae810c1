"""Odd borders: bars of one colour or blurred ones, on either pair of sides."""

import numpy as np
import pytest

from ltx_jax.curation.odd_borders import odd_borders
from tests.curation.test_scenes import pan, video


def scene(seed):
  return video(pan(seed, 4, 12.0))


@pytest.mark.parametrize(("sides", "share"), [((30, 30), 60 / 128), ((30, 34), 0)])
def test_both_bars_are_about_as_wide(sides, share):
  shown = scene(1)
  shown[:, :, : sides[0]] = shown[:, :, 128 - sides[1] :] = 240
  assert odd_borders(shown) == pytest.approx(share)
  turned = np.ascontiguousarray(shown.swapaxes(1, 2))
  assert odd_borders(turned) == pytest.approx(share)


def test_one_bar_alone_is_part_of_the_picture():
  shown = scene(1)
  shown[:, :, :30] = 240
  assert odd_borders(shown) == 0


def test_pictures_without_bars_have_none():
  assert not any(odd_borders(scene(seed)) for seed in range(20))
  square = np.full((2, 72, 128, 3), 120, np.uint8)
  square[:, 20:52, 40:88] = 30
  noise = np.random.default_rng(0).integers(0, 256, (2, 72, 128, 3), np.uint8)
  for shown in (square, noise, noise[:, :, ::-1] // 4, square[:1, :2, :2]):
    assert odd_borders(shown) == 0


def test_a_bar_has_less_detail_than_the_picture():
  shown = np.full((2, 72, 128, 3), 120, np.uint8)
  shown[:, :, :30] = shown[:, :, 98:] = scene(1)[:2, :, :30]
  shown[:, :, 30] = shown[:, :, 97] = 0
  assert odd_borders(shown) == 0
