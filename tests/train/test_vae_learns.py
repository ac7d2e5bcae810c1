"""What a trained VAE must show: motion that does not freeze, and no grid."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ltx_jax
from configs import tiny
from ltx_jax.models import vae as vae_lib
from ltx_jax.moving_shapes import world
from ltx_jax.parallel.sharding import VAE_TRAINING_RULES
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.trainers import vae_step

CAPTION = "a large white circle moving right on a black background"
STEPS = 120


def middles(video):
  """Centre of brightness of each frame [F H W 3], in pixels from the left."""
  light = np.clip(np.asarray(video).mean(-1) + 1, 0, None)  # F H W
  light = np.where(light > 0.5, light, 0)
  columns = np.arange(video.shape[2]) + 0.5
  return (light.sum(1) * columns).sum(-1) / light.sum((1, 2))


@pytest.mark.slow
def test_a_vae_that_is_trained_on_one_moving_clip_does_not_freeze():
  (stage,) = tiny.vae().stages[1:]
  vae = dataclasses.replace(
    tiny.VAE, latent_channels=32, encoder_base_channels=16, decoder_base_channels=16
  )
  run = dataclasses.replace(
    tiny.vae(),
    vae=vae,
    mesh=case.SINGLE,
    stages=(dataclasses.replace(stage, steps=STEPS),),
  )
  clip = world.clip(CAPTION, 0, 9, 32, 32)
  batch = {
    "video": np.stack([clip] * 2),
    "fps": np.full(2, 24, np.float32),
    "seed": np.arange(2, dtype=np.uint32),
  }
  first = jax.jit(functools.partial(vae_step.init_state, run))(jax.random.key(0))
  update = vae_step.make_update(run, QUICK)
  state, _ = case.after(STEPS, update, first, batch, VAE_TRAINING_RULES)

  video = np.float32(clip)[None] / 127.5 - 1
  mean, _ = vae_lib.encode_moments(state.params, vae, QUICK, video)
  made = np.asarray(vae_lib.decode(state.params, vae, QUICK, mean, jnp.zeros(1)))
  # It crosses almost half of the frame; a frozen one would stay in the middle.
  ours, theirs = middles(made[0]), middles(video[0])
  assert theirs[-1] - theirs[0] > 12
  np.testing.assert_allclose(ours, theirs, atol=0.7)
  error = np.mean((made - video) ** 2, axis=(0, 2, 3, 4))
  assert error.max() < 4 * np.median(error), error


def test_a_clip_of_one_colour_has_no_grid_in_any_frame_or_border():
  """In levels of 255, for the shipped VAE and each background that it knows."""
  model = ltx_jax.load("moving-shapes", text_encoder=False)
  for name, colour in world.BACKGROUNDS.items():
    video = np.broadcast_to(np.float32(colour) / 127.5 - 1, (1, 25, 128, 128, 3))
    made = np.asarray(model.decode(model.encode(video), sigma=0.0, noise_scale=0.0))
    detail = 127.5 * (made[0] - made[0].mean((1, 2), keepdims=True))  # F H W 3
    # Every position of a latent's 8 frames is among the 25, the first frame too.
    assert np.sqrt(np.mean(detail**2, axis=(1, 2, 3))).max() < 1.8, name
    tile = detail.reshape(25, 4, 32, 4, 32, 3).mean((1, 3))  # What repeats by tokens.
    assert np.sqrt(np.mean(tile**2, axis=(1, 2, 3))).max() < 0.6, name
    edges = [detail[:, :4], detail[:, -4:], detail[:, :, :4], detail[:, :, -4:]]
    for edge in edges:
      assert np.sqrt(np.mean(edge**2, axis=(1, 2, 3))).max() < 2.4, name
