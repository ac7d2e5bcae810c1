"""Noise levels, positions and steps against the PyTorch original, live."""

import numpy as np
import pytest

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion import latents, schedules
from ltx_jax.diffusion.conditioning import Strengths, moves, noise_levels

torch = pytest.importorskip("torch")
rf = pytest.importorskip("ltx_video.schedulers.rf")
vae_encode = pytest.importorskip("ltx_video.models.autoencoders.vae_encode")
patchifiers = pytest.importorskip("ltx_video.models.transformers.symmetric_patchifier")

CONFIGS = [
  {},
  {"sampler": "LinearQuadratic"},
  {"sampler": "Constant", "shift": 2.05},
  {"shifting": "SD3", "target_shift_terminal": 0.1},
  {"shifting": "SD3", "target_shift_terminal": 0.02},
  {"shifting": "SD3"},
  {"shifting": "SimpleDiffusion"},
  {"sampler": "LinearQuadratic", "shifting": "SD3", "target_shift_terminal": 0.1},
]
GRIDS = [(1, 4, 4), (4, 4, 4), (13, 16, 24), (16, 16, 24), (16, 22, 38), (33, 22, 40)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_levels_are_the_originals(config):
  """Within 1e-6 wherever the original's float32 can distinguish its own levels."""
  worst, compared = 0.0, 0
  for grid in GRIDS:
    for steps in (2, 3, 4, 8, 20, 25, 30, 40, 50):
      scheduler = rf.RectifiedFlowScheduler(**config)
      scheduler.set_timesteps(steps, samples_shape=torch.Size((1, 128, *grid)))
      levels = schedules.schedule(SchedulerConfig(**config), steps, int(np.prod(grid)))
      theirs = scheduler.timesteps.numpy()
      if (np.diff(theirs) < 0).all():
        compared += 1
        worst = max(worst, np.abs(levels - theirs).max())
      else:
        assert np.isfinite(levels).all()
  assert worst <= 1e-6
  assert compared >= 45


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fps", [24, 25, 30.0, 23.976, 8])
def test_positions_are_the_originals_to_the_bit(causal, fps):
  grid = (5, 3, 4)
  indices = patchifiers.SymmetricPatchifier(1).get_latent_coords(*grid, 1, "cpu")
  pixels = vae_encode.latent_to_pixel_coords_from_factors(indices, (8, 32, 32), causal)
  expected = pixels.to(torch.float32)
  expected[:, 0] = expected[:, 0] * (1.0 / fps)
  ours = latents.coordinates(
    grid, fps, temporal_factor=8, spatial_factor=32, causal=causal
  )
  np.testing.assert_array_equal(ours, expected[0].T.numpy())


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.5, 0.925, 1.0])
def test_token_steps_are_the_originals(strength):
  """One step of every level, per token, through the scheduler's own search."""
  rng = np.random.default_rng(0)
  scheduler = rf.RectifiedFlowScheduler(sampler="LinearQuadratic")
  scheduler.set_timesteps(9, samples_shape=torch.Size((1, 4, 2, 2, 2)))
  levels = schedules.linear_quadratic(9)
  mask = np.zeros((1, 8), np.float32)
  mask[:, :4] = strength
  strengths = Strengths(np.float32([0, strength]), np.repeat([1, 0], 4))
  for t, end in zip(levels, schedules.next_levels(levels), strict=True):
    x, v = rng.normal(size=(2, 1, 8, 4)).astype(np.float32)
    per_token = torch.minimum(torch.tensor(t), 1 - torch.from_numpy(mask))
    stepped = scheduler.step(
      torch.from_numpy(v), per_token, torch.from_numpy(x), return_dict=False
    )[0]
    moving = (torch.tensor(t) - 1e-6 < 1 - torch.from_numpy(mask))[..., None]
    expected = torch.where(moving, stepped, torch.from_numpy(x)).numpy()
    noise = noise_levels(t, strengths, 1)
    level = np.take_along_axis(np.asarray(noise.sigma), noise.index, axis=1)
    moved = x - (level - end)[..., None] * v
    ours = np.where(moves(t, strengths)[:, None], moved, x)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
