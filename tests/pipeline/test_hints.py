"""Hints about prompts that a model is likely to handle badly."""

import numpy as np
import pytest

from ltx_jax.config import VAEConfig
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.pipeline import hints
from ltx_jax.pipeline.hints import hint, moves
from ltx_jax.pipeline.request import Request
from ltx_jax.sizes import Canvas

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
  assert "never saw 'white' as a background" in note
  note = hint([PROMPT, PROMPT.replace(" a navy", " navy")], "moving shapes")
  assert "navy background', but no caption has them in" in note


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
  canvas = Canvas.of(VAEConfig(), 9, 64, 64)
  encoded = (np.zeros((1, 2, 3)), np.ones((1, 2), bool))
  for prompt in ([PROMPT, "a cat"], PROMPT, encoded):
    hints.log(Request((prompt,), canvas, 24.0), "moving shapes")
  (record,) = caplog.records
  assert "never saw 'cat'" in record.message


def test_known_words_in_a_wrong_place_are_named_with_unknown_ones():
  note = hint(["a large green star moving up on a white background"], "moving shapes")
  assert "never saw 'star', 'white' as a background;" in note
  note = hint(["a large green circle moving up on a white background"], "moving shapes")
  assert "never saw 'white' as a background;" in note
  note = hint(["a red large circle flying up on a navy background"], "moving shapes")
  assert "never saw 'flying', 'red' as a size, 'large' as a colour;" in note


def test_images_for_the_small_model_get_a_hint_that_they_become_shapes(caplog):
  canvas = Canvas.of(VAEConfig(), 9, 64, 64)
  image = Condition(np.zeros((1, 64, 64, 3), np.uint8))
  given = (
    Request((PROMPT,), canvas, 24.0, conditions=(image,)),
    Request((PROMPT,), canvas, 24.0, start="clip.mp4"),
  )
  for request in given:
    caplog.clear()
    hints.log(request, "moving shapes")
    (record,) = caplog.records
    assert "redraws other images and clips as shapes" in record.message
    assert "for photos load a released model" in record.message
  caplog.clear()
  hints.log(given[0], None)
  assert not caplog.records
