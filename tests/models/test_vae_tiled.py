"""Decoding in tiles against decoding whole."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.checkpoints.lightricks import load_checkpoint
from ltx_jax.metrics.psnr import psnr
from ltx_jax.models import tiles, vae
from ltx_jax.models.tiles import BlendedTiles, ExactTiles
from ltx_jax.models.vae_tiled import before_tiles, decode_tiles
from ltx_jax.moving_shapes import world
from ltx_jax.planning.vae_walk import walk_head
from ltx_jax.platforms import CPU
from ltx_jax.programs import as_floats, to_uint8
from ltx_jax.releases.presets import ASSETS
from tests.models.vae_case import (
  FULL,
  OPTIONS,
  SHORT_A,
  SHORT_C,
  SIGMA,
  B,
  random_params,
  relative_error,
)

ROLLED = dataclasses.replace(CPU, unroll=False)
DEMO = dataclasses.replace(
  FULL["demo"],
  decoder_blocks=tuple(
    dataclasses.replace(block, num_layers=1)
    for block in FULL["demo"].decoder_blocks[:4]
  ),
)
# Causal, with reflection padding, layer norm, and attention at the latents.
CAUSAL = dataclasses.replace(OPTIONS, decoder_blocks=OPTIONS.decoder_blocks[1:])
# (config, block to cut at, latents, window): time, rows and columns are all cut.
CASES = {
  "a": (SHORT_A, 3, (5, 5, 6), (7, 8, 7)),
  "b_and_c": (SHORT_C, 2, (5, 5, 6), (7, 8, 9)),
  "two_stages": (SHORT_C, 0, (12, 11, 12), (11, 10, 11)),
  "demo": (DEMO, 2, (3, 4, 5), (7, 12, 13)),
  "causal": (CAUSAL, 3, (6, 6, 6), (9, 10, 11)),
}


def latents(config, grid):
  rng = np.random.default_rng(0)
  shape = (B, *grid, config.latent_channels)
  return rng.standard_normal(shape).astype(np.float32)


def decode(params, config, inputs, cut=None, finish=as_floats):
  """Decodes (latents, sigma, key) whole, or in tiles."""

  def run(params, latents, *rest):
    if cut is None:
      return jnp.clip(vae.decode(params, config, ROLLED, latents, *rest), -1, 1)
    x = before_tiles(params, config, ROLLED, latents, *rest, tiles=cut)
    return decode_tiles(params, config, ROLLED, x, *rest, tiles=cut, finish=finish)

  return jax.jit(run)(params, *inputs)


@functools.cache
def whole(name):
  return tiled(name, None)


def tiled(name, cut, key=7, finish=as_floats):
  config, _, grid, _ = CASES[name]
  key = None if key is None else jax.random.key(key)
  inputs = latents(config, grid), SIGMA, key
  return decode(random_params(config), config, inputs, cut, finish)


@pytest.mark.parametrize(
  "name",
  [
    "a",
    "b_and_c",
    pytest.param("two_stages", marks=pytest.mark.slow),
    "demo",
    "causal",
  ],
)
def test_exact_tiles_make_the_whole_decodes_video(name):
  config, begin, grid, window = CASES[name]
  cut = ExactTiles(begin, window)
  size = walk_head(config, begin, grid)[1]
  counts = [len(axis.starts) for axis in cut.axes(config, size)]
  assert min(counts) > 1
  out = tiled(name, cut)
  np.testing.assert_allclose(out, whole(name), atol=1e-5)
  assert relative_error(out, whole(name)) < 1e-5


def test_exact_tiles_are_finished_before_there_is_a_video():
  config, begin, grid, window = CASES["b_and_c"]
  cut = ExactTiles(begin, window)
  out = tiled("b_and_c", cut, finish=to_uint8)
  assert out.dtype == np.uint8
  assert np.abs(np.asarray(out, int) - to_uint8(whole("b_and_c"))).max() <= 1
  # No float32 video is ever there.
  inputs = random_params(config), config, ROLLED
  run = functools.partial(decode_tiles, *inputs, tiles=cut, finish=to_uint8)
  sizes = walk_head(config, begin, grid)[1:]
  x = jax.ShapeDtypeStruct((B, *sizes[0], sizes[1]), np.float32)
  traced = str(jax.make_jaxpr(run)(x, SIGMA))
  shape = ",".join(map(str, out.shape))
  assert f"u8[{shape}]" in traced and f"f32[{shape}]" not in traced


@pytest.mark.parametrize("axis", [0, 1])
def test_a_halo_smaller_by_one_position_would_show(monkeypatch, axis):
  counted = tiles.sides

  def less(config, begin):
    both = list(counted(config, begin))
    both[axis] = both[axis]._replace(high=both[axis].high - 2)
    return tuple(both)

  monkeypatch.setattr(tiles, "sides", less)
  _, begin, _, window = CASES["b_and_c"]
  out = tiled("b_and_c", ExactTiles(begin, window))
  assert np.abs(out - whole("b_and_c")).max() > 1e-4


def test_tiles_cut_their_noise_from_one_image():
  """The stage with noise runs in tiles here, and the noise is heard."""
  config, begin, _, _ = CASES["two_stages"]
  assert any(block.inject_noise for block in config.decoder_blocks[::-1][begin:])
  quiet = tiled("two_stages", None, key=None)
  assert relative_error(quiet, whole("two_stages")) > 1e-2


@pytest.fixture(scope="module")
def small():
  """The shipped model's config and parameters, and a clip's latents and video."""
  config, params = load_checkpoint(ASSETS / "moving_shapes" / "model.safetensors")
  config = config.vae
  params = jax.tree.map(lambda x: np.asarray(x, np.float32), params["vae"])
  clip = world.clip(world.captions()[100], 3, 33, 192, 192)
  video = clip[None].astype(np.float32) / 127.5 - 1
  encode = jax.jit(lambda video: vae.encode_moments(params, config, ROLLED, video)[0])
  return config, params, encode(video)


@pytest.mark.slow
def test_blended_tiles_are_within_40_db_with_the_shipped_model(small):
  config, params, encoded = small
  inputs = encoded, np.float32([0.05]), None
  ours = decode(params, config, inputs)
  cut = BlendedTiles((4, 5, 5))
  counts = [len(axis.starts) for axis in cut.axes(config, encoded.shape[1:4])]
  assert counts == [2, 2, 2]
  near = decode(params, config, inputs, cut)
  assert near.shape == ours.shape
  assert 40 < psnr(near[0], ours[0], peak=2.0) < 100
