import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.config import LatentUpsamplerConfig
from ltx_jax.models import upsampler
from ltx_jax.platforms import GPU
from tests.models import upsampler_case as case
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "upsampler.npz"
KINDS = pytest.mark.parametrize("kind", case.KINDS)


def run(kind, latents, policy=QUICK):
  config = case.config(kind)
  return upsampler.upsample(case.random_params(config), config, policy, latents)


@KINDS
def test_matches_the_original(kind):
  with np.load(GOLDEN) as golden:
    expected = golden[kind]
  out = run(kind, case.latents())
  assert out.dtype == jnp.float32
  assert case.relative_error(out, expected) < 1e-5


@KINDS
def test_sizes_grow_and_time_keeps_its_first_frame_single(kind):
  b, f, h, w, c = case.SHAPE
  t, y, x = upsampler.growth(case.config(kind))
  frames = 2 * f - 1 if t == 2 else f
  assert run(kind, case.latents()).shape == (b, frames, y * h, x * w, c)


def test_frames_of_a_flat_upsampler_do_not_see_one_another():
  latents = case.latents()
  whole = run("frames", latents)
  alone = run("frames", latents[:, 1:2])
  np.testing.assert_allclose(whole[:, 1:2], alone, atol=1e-5)
  mixed = run("spatial", latents)
  assert case.relative_error(run("spatial", latents[:, 1:2]), mixed[:, 1:2]) > 0.1


def test_the_forms_of_a_convolution_agree():
  direct = run("both", case.latents(), dataclasses.replace(GPU, dtype="float32"))
  assert case.relative_error(run("both", case.latents()), direct) < 1e-5


def test_the_released_spatial_upsampler_has_its_size():
  config = LatentUpsamplerConfig()
  shapes = jax.eval_shape(lambda: upsampler.init_upsampler(jax.random.key(0), config))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 126_250_624


def test_latents_of_another_vae_are_refused():
  with pytest.raises(ValueError, match="have 7 channels, but the upsampler takes 6"):
    run("spatial", np.zeros((1, 1, 2, 2, 7), np.float32))


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"dims": 4}, "dims = 4; this code runs 2, 3"),
    ({"spatial_upsample": False}, "neither spatial_ nor temporal_upsample"),
    ({"dims": 2, "temporal_upsample": True}, "needs dims = 3, not 2"),
    ({"mid_channels": 48}, "mid_channels is 48; take a multiple of 32"),
  ],
)
def test_configs_that_cannot_run_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    LatentUpsamplerConfig(**fields)
