import numpy as np
import pytest

from ltx_jax.metrics import linear_code
from ltx_jax.metrics.psnr import psnr
from ltx_jax.moving_shapes import world

RNG = np.random.default_rng(0)


def _clips(start, stop, size=(9, 32, 48)):
  captions = world.captions()[start:stop]
  return [world.clip(c, i, *size) for i, c in enumerate(captions, start)]


def test_blocks_are_boxes_of_the_clip():
  video = RNG.integers(0, 256, (8, 32, 48, 3), np.uint8)
  blocks = linear_code.to_blocks(video, 4, 16)
  assert blocks.shape == (2 * 2 * 3, 4 * 16 * 16 * 3)
  np.testing.assert_array_equal(blocks[0], video[:4, :16, :16].ravel())
  np.testing.assert_array_equal(blocks[-1], video[4:, 16:, 32:].ravel())


@pytest.mark.parametrize("components", [3, 20])
def test_components_are_those_of_a_singular_value_decomposition(components):
  spectrum = 60 * 0.9 ** np.arange(60)
  rows = (
    128
    + RNG.standard_normal((80, 60))
    * spectrum
    @ np.linalg.qr(RNG.standard_normal((60, 60)))[0]
  )
  blocks = np.clip(rows, 0, 255).astype(np.uint8)
  weights = RNG.integers(1, 5, 80).astype(np.float64)
  basis = linear_code.fit_basis(blocks, weights, components)
  repeated = np.repeat(blocks.astype(float), weights.astype(int), axis=0)
  np.testing.assert_allclose(basis.mean, repeated.mean(0), rtol=1e-5)
  directions = np.linalg.svd(repeated - repeated.mean(0))[2][:components]
  overlap = np.linalg.svd(directions @ basis.components)[1]
  assert basis.components.shape == (60, components)
  np.testing.assert_allclose(overlap, 1, atol=2e-3)
  error = repeated - basis.mean
  error -= error @ basis.components @ basis.components.T
  best = np.linalg.svd(repeated - repeated.mean(0))[1][components:]
  assert np.sum(error**2) <= 1.001 * np.sum(best**2)


def test_plain_blocks_are_counted_like_any_other():
  clips = _clips(0, 24, (5, 32, 64))
  code = linear_code.fit_linear_code(clips, 6, frames=4, side=16)
  blocks = np.concatenate([linear_code.to_blocks(c[1:], 4, 16) for c in clips])
  plain = linear_code.fit_basis(blocks, np.ones(len(blocks)), 6)
  np.testing.assert_allclose(code.rest.mean, plain.mean, rtol=1e-4)
  overlap = np.linalg.svd(code.rest.components.T @ plain.components)[1]
  np.testing.assert_allclose(overlap, 1, atol=2e-2)


def test_a_code_as_large_as_its_clips_loses_nothing():
  clips = _clips(0, 4)
  code = linear_code.fit_linear_code(clips, 1000, frames=8, side=16)
  for clip in clips:
    assert psnr(code.reconstruct(clip), clip, 255.0) > 45


def test_more_components_reconstruct_unseen_clips_better():
  train, unseen = _clips(0, 60), _clips(300, 306)
  figures = []
  for components in (2, 16, 64):
    code = linear_code.fit_linear_code(iter(train), components, frames=8, side=16)
    out = [code.reconstruct(clip) for clip in unseen]
    assert all(video.shape == (9, 32, 48, 3) for video in out)
    assert all(video.min() >= 0 and video.max() <= 255 for video in out)
    figures.append(
      np.mean([psnr(v, c, 255.0) for v, c in zip(out, unseen, strict=True)])
    )
  assert figures[0] + 3 < figures[1] < figures[2] - 1


def test_images_need_no_other_basis():
  clips = _clips(0, 20, (1, 32, 32))
  code = linear_code.fit_linear_code(clips + _clips(0, 2, (9, 32, 32)), 8, 8, 16)
  assert code.reconstruct(clips[0]).shape == (1, 32, 32, 3)


def test_clips_that_cannot_be_cut_are_refused():
  with pytest.raises(ValueError, match=r"\(9, 30, 48, 3\)|\(1, 30, 48, 3\)"):
    linear_code.fit_linear_code([np.zeros((9, 30, 48, 3), np.uint8)], 4, 8, 16)
  with pytest.raises(ValueError, match="blocks of 8 frames, 16 x 16"):
    linear_code.to_blocks(np.zeros((7, 32, 48, 3), np.uint8), 8, 16)
