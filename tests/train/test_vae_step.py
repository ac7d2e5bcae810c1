"""Options of the VAE's step: LPIPS, weights of bands, recomputation."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from configs import tiny
from ltx_jax.checkpoints.perceptual import save_perceptual
from ltx_jax.config.runs import VAELossConfig
from ltx_jax.losses.wavelet import BANDS
from ltx_jax.metrics.flicker import difference_error_by_frame
from ltx_jax.metrics.latents import LatentSums
from ltx_jax.metrics.ssim import ssim
from ltx_jax.models.perceptual import init_perceptual
from ltx_jax.parallel.sharding import VAE_TRAINING_RULES
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.trainers import vae, vae_step

RUN = dataclasses.replace(tiny.vae(), mesh=case.SINGLE)


def with_loss(**changes):
  return dataclasses.replace(RUN, loss=dataclasses.replace(RUN.loss, **changes))


@pytest.fixture(scope="module")
def first():
  init = functools.partial(vae_step.init_state, RUN)
  return case.moved(jax.jit(init)(jax.random.key(0)))._replace(step=np.int32(9))


@pytest.fixture(scope="module")
def perceptual():
  return jax.device_get(jax.jit(init_perceptual)(jax.random.key(1)))


def batch():
  rng = np.random.default_rng(0)
  return {
    "video": rng.integers(0, 255, (2, 5, 32, 32, 3), dtype=np.uint8),
    "fps": np.full(2, 24, np.float32),
    "seed": np.arange(2, dtype=np.uint32),
  }


def after(run, first, frozen=None):
  update = vae_step.make_update(run, QUICK)
  return case.after(1, update, first, batch(), VAE_TRAINING_RULES, frozen=frozen)


@pytest.mark.slow
def test_blocks_that_are_computed_again_give_the_same_step(first):
  one, two = (
    after(dataclasses.replace(RUN, remat=remat), first) for remat in ("none", "full")
  )
  step = case.distance(one[0].params, first.params)
  assert case.distance(one[0].params, two[0].params) < 1e-4 * step
  np.testing.assert_allclose(two[1]["loss"], one[1]["loss"], rtol=1e-6)


@pytest.mark.slow
def test_lpips_is_a_loss_with_its_network_frozen(first, perceptual, tmp_path):
  path = tmp_path / "perceptual.safetensors"
  save_perceptual(path, perceptual)
  run = with_loss(
    perceptual=0.5, perceptual_weights=str(path), perceptual_frames=2, wavelet=0.0
  )
  frozen = vae.frozen_of(run)
  case.assert_same_bits(frozen["perceptual"], perceptual)
  state, metrics = after(run, first, frozen)
  parts = metrics["mse"] + run.loss.kl * metrics["kl"] + 0.5 * metrics["perceptual"]
  np.testing.assert_allclose(metrics["loss"], parts, rtol=1e-5)
  assert metrics["perceptual"] > 0
  # The same frames of both clips are compared.
  distance = jax.jit(vae_step.make_perceptual(run, QUICK))
  clip = np.linspace(-1, 1, 5 * 32 * 32 * 3, dtype=np.float32).reshape(1, 5, 32, 32, 3)
  assert distance(frozen, clip, clip, jax.random.key(0))["perceptual"] == 0
  # Its gradient moves the decoder another way.
  without, _ = after(with_loss(wavelet=0.0), first)
  assert case.distance(state.params["decoder"], without.params["decoder"]) > 0
  held_out = jax.jit(
    functools.partial(vae_step.held_out_losses, run=run, policy=QUICK)
  )(state, frozen, batch())
  assert held_out["perceptual"] > 0
  assert {f"band_{name}" for name in BANDS} <= set(held_out)


def test_the_figures_of_held_out_clips_are_those_of_the_metrics():
  rng = np.random.default_rng(4)
  shape = (2, 5, 32, 48, 3)
  video = rng.uniform(-1, 1, shape).astype(np.float32)
  output = np.clip(video + rng.normal(0, 0.2, shape), -1, 1).astype(np.float32)
  mean = rng.normal(0, 1, (2, 3, 2, 3, 4)).astype(np.float32)
  mean[..., 1] += mean[..., 0]
  mean[..., 3] = 0.01  # A channel that is not in use.
  made = vae_step.Reconstruction(output, mean, mean)
  found = jax.jit(vae_step.figures)(made, video)
  sums = LatentSums.of([mean])
  assert found["channels_in_use"] == sums.in_use().sum() == 3
  np.testing.assert_allclose(found["latent_correlation"], sums.correlation(), rtol=1e-3)
  pairs = list(zip(output, video, strict=True))
  index = [ssim(127.5 * (a + 1), 127.5 * (b + 1), 255.0) for a, b in pairs]
  np.testing.assert_allclose(found["ssim"], np.mean(index), rtol=1e-4)
  errors = [difference_error_by_frame(a, b).mean() for a, b in pairs]
  np.testing.assert_allclose(found["difference_error"], np.mean(errors), rtol=1e-4)
  changes = [np.abs(np.diff(x, axis=1)).mean() for x in (output, video)]
  np.testing.assert_allclose(found["motion_ratio"], changes[0] / changes[1], rtol=1e-4)
  # An image has no motion, and a small one no SSIM.
  image = vae_step.Reconstruction(output[:, :1, :8, :8], mean[:, :1], mean[:, :1])
  names = set(jax.eval_shape(vae_step.figures, image, video[:, :1, :8, :8]))
  assert not {"ssim", "motion_ratio"} & names


def test_without_a_file_of_weights_there_is_no_lpips():
  run = with_loss(perceptual=0.5)
  assert not run.loss.compares_features and vae.frozen_of(run) == {}
  assert vae_step.make_perceptual(run, QUICK)(None, None, None, None) == {}


@pytest.mark.slow
def test_bands_have_weights(first):
  low = (1.0, *(0.0,) * 7)
  (_, one), (_, two) = (
    after(with_loss(wavelet_bands=bands), first) for bands in ((1.0,) * 8, low)
  )
  assert 0 < two["wavelet"] < one["wavelet"]
  with pytest.raises(
    ValueError, match="wavelet_bands has 3 numbers; give one for each"
  ):
    VAELossConfig(wavelet_bands=(1.0,) * 3)
