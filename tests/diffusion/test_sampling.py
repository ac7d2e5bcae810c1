"""The options of sampling: levels, guidance of each step, and refusals."""

import numpy as np
import pytest

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.sampling import Sampling


def test_levels_come_from_sigmas_then_schedule_then_checkpoint():
  checkpoint = SchedulerConfig(sampler="LinearQuadratic")
  assert len(Sampling().levels(checkpoint, 64)) == 40
  np.testing.assert_array_equal(
    Sampling(steps=3, schedule=SchedulerConfig()).levels(checkpoint, 64),
    schedules.uniform(3),
  )
  np.testing.assert_array_equal(
    Sampling(steps=3).levels(checkpoint, 64), schedules.linear_quadratic(3)
  )
  levels = Sampling(sigmas=(0.9, 0.5)).levels(checkpoint, 64)
  np.testing.assert_array_equal(levels, np.float32([0.9, 0.5]))


def test_another_number_of_steps_takes_the_schedule_for_the_sigmas():
  distilled = Sampling(sigmas=(0.9, 0.5), guidance=1.0)
  assert distilled.override(None, None) == distilled
  assert distilled.override(2, None).sigmas == (0.9, 0.5)
  assert distilled.override(3, 2.0) == Sampling(steps=3, guidance=2.0)
  levels = distilled.override(3, None).levels(SchedulerConfig(), 64)
  np.testing.assert_array_equal(levels, schedules.uniform(3))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"steps": 0}, "at least 1"),
    ({"steps": 3, "sigmas": (1.0, 0.5)}, "3 steps are asked for, but 2"),
    ({"guidance": -1.0}, "guidance is -1.0"),
    ({"guidance": float("nan")}, "guidance is nan"),
    ({"rescale": -0.5}, "rescale is -0.5; it must be at least 0"),
    ({"guidance": (1.0, 3.0)}, "guidance is a list of 2; give guidance_sigmas"),
    (
      {"stg": (0.0, 1.0), "stg_blocks": (1,), "guidance_sigmas": (1.0, 0.5, 0.2)},
      "stg is a list of 2, but guidance_sigmas has 3; give one entry per level",
    ),
    ({"stg": 1.0}, "stg is 1.0, but stg_blocks names no block"),
    ({"stg_blocks": ((1,), (2,))}, "stg_blocks is a list of 2; give guidance_sigmas"),
    ({"stg_mode": "values"}, "stg_mode is 'values'; it must be one of attention_val"),
    ({"guidance_sigmas": ()}, "guidance_sigmas is empty"),
    ({"guidance_sigmas": (0.5, 0.9)}, r"guidance_sigmas is \[0.5, 0.9\]; give noise"),
    ({"guidance_sigmas": (1.5, 0.9)}, "give noise levels in .* each below the one"),
    ({"rescale": 5.0}, "rescale is 5.0; it must be at most 1"),
    (
      {"schedule": SchedulerConfig(sampler="LinearQuadratic"), "sigmas": (0.9,)},
      "a schedule that spaces them are given; leave one of them out",
    ),
    ({"cache": -0.1}, "cache is -0.1; it must be at least 0"),
    ({"skip_final": -1}, "skip_final is -1; it must be a whole number from 0"),
    ({"skip_initial": 1, "sigmas": (0.9, 0.5)}, "remove the levels to skip"),
    ({"tone_map": 1.5}, r"tone_map is 1.5; it must lie in \[0, 1\]"),
    ({"decode_sigma": 1.5}, r"decode_sigma is 1.5; it must lie in \[0, 1\]"),
    ({"steps": 2.5}, "steps is 2.5; it must be a whole number of at least 1"),
    (
      {"schedule": "LinearQuadratic"},
      r"schedule is 'LinearQuadratic'; give .* SchedulerConfig\(sampler='LinearQ",
    ),
  ],
)
def test_unusable_options_are_refused(unchecked, options, message):
  with pytest.raises(ValueError, match=message):
    Sampling(**options)


def test_steps_are_skipped_at_both_ends_of_the_schedule():
  checkpoint = SchedulerConfig(sampler="LinearQuadratic")
  whole = schedules.linear_quadratic(30)
  first = Sampling(steps=30, skip_final=3).levels(checkpoint, 64)
  np.testing.assert_array_equal(first, whole[:27])
  assert schedules.next_levels(first)[-1] == 0
  second = Sampling(steps=30, skip_initial=17).levels(checkpoint, 64)
  np.testing.assert_array_equal(second, whole[17:])
  for options in ({"skip_initial": 2, "skip_final": 2}, {"skip_final": 5}):
    with pytest.raises(ValueError, match="of 4 are skipped; at least one must be left"):
      Sampling(steps=4, **options).levels(checkpoint, 64)


def test_numbers_follow_the_noise_level_where_they_are_lists():
  sampling = Sampling(
    guidance_sigmas=(1.0, 0.6),
    guidance=(1.0, 6.0),
    stg=[0.0, 4.0],
    stg_blocks=[[], [0, 2]],
    rescale=0.5,
    cfg_star=True,
  )
  first, *rest = sampling.settings(np.float32([1.0, 0.7, 0.6, 0.1]))
  assert first == (1.0, True, 0.0, 0.5, "attention_values", ())
  assert rest == [(6.0, True, 4.0, 0.5, "attention_values", (0, 2))] * 3
  assert sampling.branches == 3
  assert Sampling(guidance=1.0).branches == 1
  assert Sampling(guidance=1.0, stg=1.0, stg_blocks=(3,)).branches == 2


def test_blocks_may_be_the_same_for_all_entries():
  sampling = Sampling(guidance_sigmas=(1.0, 0.6), stg=(0.0, 4.0), stg_blocks=(3,))
  assert [s.blocks for s in sampling.settings(np.float32([1.0, 0.5]))] == [(3,), (3,)]


@pytest.mark.parametrize("tiling", ["on", 0, -64, 1.5, (512, 0), (1, 2, 3), ()])
def test_tilings_that_are_none_are_refused(tiling, unchecked):
  with pytest.raises(ValueError, match=r"tiling is .*; give 'auto', 'off', the side"):
    Sampling(tiling=tiling)


@pytest.mark.parametrize("tiling", ["auto", "off", 512, (512, 65)])
def test_tilings(tiling):
  assert Sampling(tiling=tiling).tiling == tiling
