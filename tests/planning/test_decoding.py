"""Plans of a decode: by memory, with the extra work, compared with the compiler."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import moving_shapes
from ltx_jax import programs
from ltx_jax.config import VAE_C
from ltx_jax.models import tiles, vae
from ltx_jax.models.tiles import BlendedTiles, ExactTiles
from ltx_jax.planning import decoding, flops
from ltx_jax.planning.vae_walk import walk_head, walk_tail
from ltx_jax.platforms import CPU, GPU
from tests.models.vae_case import FULL, OPTIONS

ROLLED = dataclasses.replace(CPU, unroll=False)
LARGE = VAE_C.latent_shape(257, 704, 1216)
WHOLE = decoding.decode_bytes(VAE_C, GPU, 1, LARGE)


def shapes(*shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


def planned(program, *arguments):
  """Returns the bytes that the compiler plans besides the weights."""
  analysis = program.lower(*arguments).compile().memory_analysis()
  return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def test_tiles_take_less_and_what_is_estimated():
  config, size = moving_shapes.VAE, (33, 192, 192)
  params = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), config))
  grid = config.latent_shape(*size)
  latents = shapes(1, *grid, config.latent_channels)
  arguments = params, latents, shapes(), None, shapes(), None
  whole = planned(programs.decode(config, ROLLED), *arguments)

  cut = ExactTiles(tiles.cuts(config)[0], (9, 7, 7))
  before, in_tiles = programs.tiled_decode(config, ROLLED, cut)
  x = jax.eval_shape(before, *arguments)
  first = planned(before, *arguments)
  second = planned(in_tiles, params, x, shapes(), None) + 4 * np.prod(x.shape)
  assert max(first, second) < 0.7 * whole
  found = decoding.decode_bytes(config, ROLLED, 1, grid, cut)
  assert 0.75 < found / max(first, second) < 1.33


def choose(free, size=LARGE, **options):
  return decoding.choose(VAE_C, GPU, 1, size, free=int(free), **options)


@pytest.mark.slow
def test_less_memory_takes_exact_tiles_and_then_blended_ones():
  assert choose(WHOLE) is None
  assert decoding.choose(VAE_C, GPU, 1, LARGE) is None
  work = [0.0]
  for free, kind in ((0.9 * WHOLE, ExactTiles), (4.8e9, ExactTiles)):
    cut = choose(free)
    assert isinstance(cut, kind)
    assert decoding.decode_bytes(VAE_C, GPU, 1, LARGE, cut) <= free
    work.append(decoding.extra_work(VAE_C, LARGE, cut))
  assert work == sorted(work) and work[-1] < 1
  # The video alone, in float32, takes 2.6 GB.
  cut = choose(3.0e9)
  assert isinstance(cut, BlendedTiles)
  assert decoding.decode_bytes(VAE_C, GPU, 1, LARGE, cut) <= 3.0e9


def test_what_never_fits_is_planned_with_the_least():
  assert choose(1) == BlendedTiles((5, 5, 5))
  assert choose(1, tiling="off") is None
  for config in (FULL["group_norm"], OPTIONS):
    assert decoding.choose(config, GPU, 1, LARGE, free=1) is None
  attention_first = dataclasses.replace(
    OPTIONS, decoder_blocks=OPTIONS.decoder_blocks[1:]
  )
  least = decoding.choose(attention_first, GPU, 1, (9, 9, 9), free=1)
  assert isinstance(least, ExactTiles)


@pytest.mark.parametrize(
  ("tiling", "expected"),
  [
    (512, ExactTiles(5, (129, 64, 64))),
    ((512, 65), ExactTiles(5, (33, 64, 64))),
    (112, ExactTiles(5, (129, 14, 14))),  # The halo is 104 pixels.
    ((200, 27), ExactTiles(5, (14, 25, 25))),
    (1216, None),
  ],
)
def test_tiles_have_the_size_that_is_asked_for(tiling, expected):
  assert decoding.choose(VAE_C, GPU, 1, LARGE, tiling=tiling) == expected


@pytest.mark.parametrize("tiling", [111, (512, 26)])
def test_tiles_smaller_than_their_halo_are_refused(tiling):
  with pytest.raises(ValueError, match="at least 112 pixels a side and 27 frames"):
    decoding.choose(VAE_C, GPU, 1, LARGE, tiling=tiling)


def test_group_norm_refuses_tiles_in_words():
  message = "tiling is 512; group norm takes its statistics over the whole frame, so"
  with pytest.raises(ValueError, match=message):
    decoding.choose(FULL["group_norm"], GPU, 1, LARGE, tiling=512)


def test_the_price_is_the_work_of_all_tiles_over_that_of_the_whole():
  cut, size = ExactTiles(5, (17, 48, 48)), VAE_C.latent_shape(33, 512, 768)
  before, at_cut, _ = walk_head(VAE_C, 5, size)
  assert at_cut == (17, 64, 96)
  # (64 - 13) / 35 and (96 - 13) / 35: 2 x 3 tiles, of 39 rows and 41 columns.
  tile = sum(layer.flops for layer in walk_tail(VAE_C, 5, (17, 39, 41)))
  work = sum(layer.flops for layer in before) + 6 * tile
  whole = flops.decoder(VAE_C, *size)
  found = decoding.extra_work(VAE_C, size, cut)
  assert found == pytest.approx(work / whole - 1)
  said = decoding.note(VAE_C, size, cut)
  assert said.startswith("decoding in 6 tiles of 33 frames of 328x312, ")
  assert f"{100 * found:.0f} % more work than whole." in said
  assert "blended" not in said
  assert "close to the whole decode's" in decoding.note(
    VAE_C, size, BlendedTiles((5, 8, 8))
  )


def test_a_tile_that_covers_the_frame_costs_what_the_whole_does():
  size = VAE_C.latent_shape(33, 512, 768)
  cut = ExactTiles(5, (17, 64, 96))
  assert decoding.extra_work(VAE_C, size, cut) == pytest.approx(0)
