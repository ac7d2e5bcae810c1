"""Light of wide ranges and gamuts in the levels of ordinary screens."""

from __future__ import annotations

import numpy as np
import pytest

from ltx_jax.data.dynamic_range import BT2020, HLG, PQ, to_standard

BT709, GAMMA = 1, 14
_TO_BT2020 = np.array(  # BT.2087, linear light.
  [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)


def _one(color, transfer, primaries):
  samples = np.rint(65535 * np.array(color)).astype(np.uint16).reshape(1, 1, 3)
  return to_standard(samples, transfer, primaries)[0, 0].tolist()


@pytest.mark.parametrize("color", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.2, 0.7)])
def test_colors_of_a_wide_gamut_are_the_same_colors(color):
  wide = _TO_BT2020 @ np.array(color)
  found = _one(wide ** (1 / 2.4), GAMMA, BT2020)
  expected = 255 * np.array(color) ** (1 / 2.4)
  assert np.abs(found - expected).max() < 6  # Of levels; the matrices have 4 digits.


@pytest.mark.parametrize(("transfer", "white"), [(PQ, 0.5807), (HLG, 0.75)])
def test_white_lies_below_the_brightest_that_a_screen_shows(transfer, white):
  assert np.abs(np.array(_one([white] * 3, transfer, BT2020)) - 241).max() <= 1
  ramp = [_one([level] * 3, transfer, BT2020)[0] for level in np.linspace(0, 1, 50)]
  assert ramp[0] == 0 and ramp[-1] >= 253
  assert all(a <= b for a, b in zip(ramp[:-1], ramp[1:], strict=True))


def test_bright_light_keeps_its_hue():
  red, green, blue = _one([0.75, 0.6, 0.6], PQ, BT709)
  ratio = (np.array([red, green]) / 255) ** 2.4
  light = [_one([level] * 3, GAMMA, BT709)[0] for level in (0.75, 0.6)]
  assert light[0] > light[1] and green == blue
  assert ratio[0] / ratio[1] == pytest.approx(1000 / 243, rel=0.1)  # cd/m2 of both.


def test_an_ordinary_range_stays_as_it_is():
  assert _one([0.2, 0.5, 0.9], GAMMA, BT709) == [51, 128, 230]
