"""Hints about prompts that a model is likely to handle badly."""

import numpy as np
import pytest

from ltx_jax.pipeline import hints
from ltx_jax.pipeline.hints import hint, moves

PROMPT = "a small red circle moving right on a navy background"

LONG = "a woman walks along a wet street at night and looks up at the signs " * 3
STILL = "an old wooden table with a blue vase and three lemons in the soft light " * 3


def test_short_prompts_get_a_hint_and_long_ones_none():
  note = hint([LONG, "a cat"], "paragraphs")
  assert "'a cat' has 2 words" in note and "camera" in note
  assert hint([LONG], "paragraphs") is None
  assert "\n" not in note


def test_prompts_in_which_nothing_moves_get_a_hint():
  note = hint([LONG, STILL], "paragraphs")
  assert "nothing seems to move in 'an old wooden table with a blue vase ...'" in note
  assert "how it moves" in note and "\n" not in note
  assert hint([f"{STILL} and the camera pans"], "paragraphs") is None


def test_no_hint_is_given_for_models_that_are_no_release():
  assert hint(["a cat", STILL], None) is None


def test_the_small_models_short_captions_are_as_they_should_be():
  assert hint([PROMPT], "moving shapes") is None
  assert "never saw 'cat'" in hint(["a small cat"], "moving shapes")
  note = hint([PROMPT, PROMPT.replace("navy", "white")], "moving shapes")
  assert "white background', but no caption has them in" in note


@pytest.mark.parametrize(
  "word",
  "run runs running walked waving glides gliding flies flying carried pans zooming "
  "splashes Danced fell swam".split(),
)
def test_forms_of_verbs_of_motion_are_known(word):
  assert moves(f"a dog {word} there")


@pytest.mark.parametrize("word", ["sits", "a ring", "the walls", "based", "red"])
def test_other_words_are_no_motion(word):
  assert not moves(f"a dog, {word}")


def test_unknown_words_lead_to_a_model_that_knows_them():
  assert "load a released model" in hint(["a cat"], "moving shapes")
  assert "ask for another" in hint(["a cat"], "moving shapes", "ask for another")


def test_python_is_told_of_unknown_words_once(caplog):
  hints.log([[PROMPT, "a cat"]], "moving shapes")
  hints.log([PROMPT], "moving shapes")
  hints.log([(np.zeros((1, 2, 3)), np.ones((1, 2), bool))], "moving shapes")
  (record,) = caplog.records
  assert "never saw 'cat'" in record.message
