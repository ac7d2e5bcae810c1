"""Which branches a step evaluates, with which texts, masks and numbers."""

import numpy as np
import pytest

from ltx_jax.diffusion import branches, schedules
from ltx_jax.diffusion.branches import Setting, entries, guidance_of, perturbation

MODES = ("attention_values", "attention_skip", "residual", "transformer_block")


def setting(guidance=3.0, stg=1.0, blocks=(1,), mode="attention_values", rescale=0.7):
  return Setting(guidance, False, stg, rescale, mode, blocks)


def told(setting, unconditional_texts=True, clips=2):
  return guidance_of(
    setting, clips=clips, layers=3, unconditional_texts=unconditional_texts
  )


def test_entries_of_a_released_recipe_are_the_originals():
  levels = schedules.linear_quadratic(30)[:27]
  marks = [1.0, 0.996, 0.9933, 0.9850, 0.9767, 0.9008, 0.6180]
  expected = [0, 1, 1, 2, 2, *[3] * 5, *[4] * 4, *[5] * 5, *[6] * 8]
  assert entries(levels, marks) == expected


def test_a_mark_that_a_level_equals_is_reached_in_float32():
  level = schedules.linear_quadratic(30)[24:25]
  assert float(level[0]) < 0.618  # As float64 sees it.
  assert entries(level, [0.618, 0.3]) == [0]


def test_levels_below_all_marks_take_the_last_entry():
  assert entries(np.float32([1.0, 0.5, 0.1]), [0.9, 0.4]) == [0, 1, 1]


@pytest.mark.parametrize(
  ("guidance", "stg", "texts"),
  [
    (3.0, 1.0, [0, 1, 2, 3, 2, 3]),
    (1.0, 1.0, [2, 3, 2, 3]),
    (3.0, 0.0, None),  # All texts as they come.
    (1.0, 0.0, [2, 3]),
  ],
)
def test_rows_have_the_texts_of_their_branches(guidance, stg, texts):
  out = told(setting(guidance, stg))
  assert (out.scale is None) == (guidance == 1)
  assert (out.stg is None) == (out.branches.perturbation is None) == (stg == 0)
  text = out.branches.text
  assert text is None if texts is None else text.tolist() == texts


def test_without_unconditional_texts_the_conditional_ones_come_first():
  assert told(setting(1.0, 0.0), False).branches.text is None
  assert told(setting(1.0, 1.0), False).branches.text.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_the_last_branch_of_every_clip_is_perturbed(mode):
  """The original, which counts sample by sample, perturbs rows 2 and 5 of 6."""
  masks = perturbation(mode, (0, 2), layers=3, rows=6, clips=2)
  fields = {"attention_values": 0, "attention_skip": 1, "transformer_block": 2}
  for number, mask in enumerate(masks):
    expected = np.zeros((3, 6), bool)
    if fields.get(mode) == number:
      expected[[0, 2], 4:] = True
    np.testing.assert_array_equal(mask, expected)


def test_branches_that_would_change_nothing_are_not_evaluated():
  assert told(setting()).count == 3
  assert told(setting(mode="residual")).count == 2
  assert told(setting(blocks=())).count == 2
  assert told(setting(stg=0.0)).count == 2
  # Their velocities are still rescaled, as the original's are.
  assert told(setting(mode="residual")).rescale == np.float32(0.7)


@pytest.mark.parametrize(
  ("stg", "rescale", "share"), [(1.0, 0.7, 0.7), (1.0, 1.0, 0.0), (0.0, 0.7, 0.0)]
)
def test_rescaling_is_off_at_one_and_without_stg(stg, rescale, share):
  assert told(setting(stg=stg, rescale=rescale)).rescale == np.float32(share)


@pytest.mark.parametrize("blocks", [(3,), (0, 3), (-1,)])
def test_blocks_that_are_not_there_are_refused(blocks):
  with pytest.raises(ValueError, match=r"has the blocks 0 to 2") as error:
    told(setting(blocks=blocks))
  assert f"stg_blocks names [{blocks[-1]}]" in str(error.value)


def test_every_mode_is_known():
  assert branches.Mode.__args__ == MODES
