"""Places and weights of tiles, counted by hand and along every side."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.config import VAE_A, VAE_B, VAE_C
from ltx_jax.models import tiles
from ltx_jax.models.tiles import BlendedTiles, ExactTiles, Side, sides
from tests.models.vae_case import FULL, OPTIONS


def test_halos_are_counted_from_the_block_list():
  """C: a convolution, doubling, 10 of the stage and the last one, pixels by 4."""
  time, space = sides(VAE_C, 5)
  assert space == Side(ratio=8, lost=0, low=4 * 13, high=4 * 13)
  assert time == Side(ratio=2, lost=1, low=2 * 1 - 1 + 11, high=2 * 1 + 11)
  # One stage earlier: (1 * 2 + 10 + 1) * 2 + 11 = 37 positions of 4 pixels.
  assert sides(VAE_C, 3)[1] == Side(16, 0, 4 * 37, 4 * 37)
  # A ends with a stage of 4 blocks; the second stage from B's end has 6.
  assert sides(VAE_A, 8)[1].low == 4 * (2 + 8 + 1)
  assert sides(VAE_B, 3)[1].low == 4 * (2 * (2 + 12 + 1) + 11)


def test_causal_time_spoils_two_frames_a_convolution_and_only_forwards():
  causal = dataclasses.replace(VAE_C, causal_decoder=True)
  assert sides(causal, 5)[0] == Side(2, 1, low=2 * 2 - 1 + 2 * 11, high=0)


def test_cuts_are_the_last_two_up_samplings():
  assert tiles.cuts(VAE_A) == [8, 5]
  assert tiles.cuts(VAE_B) == tiles.cuts(VAE_C) == [5, 3]
  assert tiles.why_not(VAE_C) is None


def test_what_sees_the_whole_frame_is_not_cut():
  assert tiles.cuts(FULL["group_norm"]) == []
  assert "group norm takes its statistics over the whole" in tiles.why_not(
    FULL["group_norm"]
  )
  assert tiles.cuts(OPTIONS) == []  # Attention comes last.
  early = dataclasses.replace(OPTIONS, decoder_blocks=OPTIONS.decoder_blocks[1:])
  assert tiles.cuts(early) == [5, 3]
  assert "attention looks over the whole frame" in tiles.why_not(early)


CASES = [(16, 9), (17, 9), (40, 12), (9, 9), (5, 9), (100, 30)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n", "most"), CASES)
@pytest.mark.parametrize("begin", [3, 5, None])
def test_weights_add_up_to_one_on_every_pixel(n, most, begin, causal):
  blended = begin is None
  blocks = tuple(dataclasses.replace(b, num_layers=1) for b in VAE_C.decoder_blocks)
  config = dataclasses.replace(VAE_C, decoder_blocks=blocks, causal_decoder=causal)
  chosen = sides(config, begin)
  least = 1 if blended else 1 + max(side.overlap for side in chosen)
  window = (max(most, least),) * 3
  cut = BlendedTiles(window) if blended else ExactTiles(begin, window)
  for axis, side in zip(cut.axes(config, (n, n, n))[:2], chosen, strict=True):
    total, spoilt = np.zeros(side.made(n)), 0
    assert axis.pixels == side.made(n)
    assert axis.size <= window[0] or axis.size == n
    assert axis.starts[0] == 0 and axis.starts[-1] + axis.size == n
    for start, weights in zip(axis.starts, axis.weights, strict=True):
      assert len(weights) == side.made(axis.size)
      total[side.ratio * start :][: len(weights)] += weights
      if start:
        spoilt += np.abs(weights[: side.low]).sum()
      if start + axis.size < n:
        spoilt += np.abs(weights[len(weights) - side.high :]).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert blended or spoilt == 0


def test_tiles_are_as_few_and_as_equal_as_the_window_allows():
  _, space = sides(VAE_C, 5)
  assert space.overlap == 13
  _, _, columns = ExactTiles(5, (1, 1, 30)).axes(VAE_C, (1, 1, 64))
  # (64 - 13) / (30 - 13) = 3 tiles, each of which covers 30.
  assert columns.starts.tolist() == [0, 17, 34]
  assert columns.size == 30
