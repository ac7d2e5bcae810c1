"""Noise levels against values computed with the original."""

import numpy as np
import pytest

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.schedules import linear_quadratic, sd3, uniform

LQ8 = (
  "1.0 0.993749976 0.987500012 0.981249988 0.975000024 0.909375012 0.725000024 0.421875"
)
LQ20 = (
  "1.0 0.9975 0.995 0.9925 0.99 0.9875 0.985 0.9825 0.98 0.9775 0.975 0.963 0.932 "
  "0.882 0.813 0.725 0.618 0.492 0.347 0.183"
)
LQ30 = (
  "1.0 0.998333335 0.99666667 0.995000005 0.99333334 0.991666675 0.99000001 "
  "0.988333344 0.986666679 0.985000014 0.983333349 0.981666684 0.980000019 "
  "0.978333354 0.976666689 0.975000024 0.969111085 0.954777777 0.931999981 "
  "0.900777757 0.861111104 0.813000023 0.756444454 0.691444457 0.617999971 "
  "0.536111116 0.445777774 0.347000003 0.239777774 0.124111108"
)


def numbers(text):
  return np.array(text.split(), np.float64)


def close(levels, expected):
  assert levels.dtype == np.float32
  np.testing.assert_allclose(levels, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("steps", "expected"), [(8, LQ8), (20, LQ20), (30, LQ30)])
def test_linear_quadratic(steps, expected):
  close(linear_quadratic(steps), numbers(expected))


def test_linear_quadratic_of_forty_steps_and_of_one():
  levels = linear_quadratic(40)[[20, 21, 22, 25, 30, 35, 39]]
  close(levels, [0.975, 0.971375, 0.963, 0.909375, 0.725, 0.421875, 0.0938749984])
  close(linear_quadratic(1), [1.0])


def test_sd3_with_terminal():
  expected = (
    "0.999998271 0.981048405 0.955818772 0.920571983 0.867865503 0.780449331 "
    "0.607221484 0.100000083"
  )
  close(sd3(uniform(8), 13376, 0.1), numbers(expected))
  levels = sd3(uniform(40), 6144, 0.1)
  close(levels[:3], [1.0, 0.997984588, 0.995869994])
  last = "0.669639587 0.615388751 0.544788241 0.449135602 0.312220275 0.100000024"
  close(levels[-6:], numbers(last))


def test_sd3_without_terminal_simple_diffusion_and_constant():
  close(sd3(uniform(4), 13376), [0.99999994, 0.998455524, 0.99538088, 0.986269355])
  config = SchedulerConfig(shifting="SimpleDiffusion")
  close(
    schedules.schedule(config, 4, 13376), [1.0, 0.97511667, 0.928888917, 0.81322962]
  )
  config = SchedulerConfig(sampler="Constant", shift=2.05)
  close(
    schedules.schedule(config, 4, 64),
    [0.99999994, 0.95885396, 0.885947704, 0.721394181],
  )


@pytest.mark.parametrize("mu", [20.0, 35.0, 50.0])
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_far_shifts_stay_finite_and_fall_to_the_terminal(mu, steps):
  tokens = round(1024 + (mu - 0.95) * 3072 / 1.1)
  levels = sd3(uniform(steps), tokens, 0.1)
  assert np.isfinite(levels).all()
  assert levels[0] == pytest.approx(1, abs=1e-6)
  if steps > 1:
    assert (np.diff(levels) < 0).all()
    assert levels[-1] == pytest.approx(0.1, abs=1e-6)
  assert np.isfinite(schedules.constant(steps, mu)).all()
  assert np.isfinite(sd3(uniform(steps), tokens)).all()


def test_schedule_follows_the_config_and_cuts_steps_to_the_training_ones():
  config = SchedulerConfig(sampler="LinearQuadratic", num_train_timesteps=20)
  close(schedules.schedule(config, 1000, 64), numbers(LQ20))
  config = SchedulerConfig(shifting="SD3", target_shift_terminal=0.1)
  close(schedules.schedule(config, 8, 13376), sd3(uniform(8), 13376, 0.1))
  close(schedules.schedule(SchedulerConfig(), 4, 64), [1, 0.75, 0.5, 0.25])


def test_the_step_after_the_last_level_goes_to_zero():
  close(schedules.next_levels(uniform(4)), [0.75, 0.5, 0.25, 0])
  close(schedules.next_levels(schedules.explicit([0.9, 0.725])), [0.725, 0])


def test_equal_levels_step_to_the_next_lower_one():
  levels = np.array([1, 1 - 5e-7, 0.5], np.float32)
  close(schedules.next_levels(levels), [0.5, 0.5, 0])


@pytest.mark.parametrize("levels", [[], [1.1, 0.5], [0.5, 0.5], [0.5, 0.0], [0.2, 0.4]])
def test_unusable_lists_are_refused(levels):
  with pytest.raises(ValueError, match="each below the one before"):
    schedules.explicit(levels)


@pytest.mark.parametrize(
  ("config", "steps", "message"),
  [
    (SchedulerConfig(), 0, "at least 1"),
    (SchedulerConfig(sampler="Constant"), 4, "no shift"),
    (SchedulerConfig(shifting="SimpleDiffusion", base_resolution=None), 4, "base_res"),
    (SchedulerConfig(shifting="SD3", target_shift_terminal=1.5), 4, "between 0 and 1"),
  ],
)
def test_unusable_configs_are_refused(config, steps, message):
  with pytest.raises(ValueError, match=message):
    schedules.schedule(config, steps, 64)
