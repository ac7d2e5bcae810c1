"""The form of the page, as options of the command line."""

import dataclasses
from pathlib import Path

import pytest

from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from sample.app.form import ASPECTS, SIZES, Form, frames_of, from_options, options_of
from sample.options import Options, check

RECIPE = Recipe()
PROMPT = Form(prompt="a boat\non a lake")


def test_a_plain_form_asks_for_the_models_own_video():
  options = options_of(PROMPT, PRESETS["moving-shapes"].recipe)
  check(options)
  assert options.prompts == ("a boat on a lake",) and options.sampling.steps is None
  assert (options.width, options.height, options.frames) == (128, 128, 25)


def test_sizes_have_the_aspect_and_the_share_of_the_area_that_is_asked_for():
  for aspect, ratio in ASPECTS.items():
    for size, share in SIZES.items():
      form = dataclasses.replace(PROMPT, aspect=aspect, size=size)
      options = options_of(form, RECIPE)
      assert options.width % 32 == options.height % 32 == 0
      area = options.width * options.height / (RECIPE.width * RECIPE.height)
      assert abs(area / share - 1) < 0.15
      assert abs(options.width / options.height / (ratio or 1.5) - 1) < 0.15
  assert options_of(PROMPT, RECIPE).width == 768


def test_seconds_become_8k_1_frames_and_none_an_image():
  assert [frames_of(RECIPE, s) for s in (0, 0.1, 1, 4.84)] == [1, 1, 25, 121]


def test_uploads_are_named_without_their_folders():
  form = dataclasses.replace(
    PROMPT,
    image="/secret/a/first.png",
    image_strength=0.5,
    media_2="/secret/b/last.mp4",
    frame_2=16,
    strength_2=0.25,
    video="/secret/c/start.mp4",
    change=0.75,
    steps=20,
  )
  options = options_of(form, RECIPE)
  assert (options.image, options.strength) == (Path("first.png"), 0.5)
  assert options.condition == ("last.mp4@16:0.25",)
  assert options.video == Path("start.mp4") and options.sampling.skip_initial == 5
  assert form.uploads["last.mp4"] == Path("/secret/b/last.mp4")
  assert set(form.uploads) == {"first.png", "start.mp4", "last.mp4"}


def test_two_files_of_one_name_are_refused():
  form = dataclasses.replace(PROMPT, image="/x/a.png", media_1="/y/a.png")
  with pytest.raises(ValueError, match="Two different files are called a.png; rename"):
    form.uploads  # noqa: B018
  same = dataclasses.replace(PROMPT, image="/x/a.png", media_1="/x/a.png")
  assert same.uploads == {"a.png": Path("/x/a.png")}


def test_video_to_video_leaves_out_levels_where_the_recipe_lists_them():
  recipe = PRESETS["ltxv-2b-0.9.6-distilled"].recipe
  form = dataclasses.replace(PROMPT, video="/x/a.mp4", change=0.5)
  flags = options_of(form, recipe).sampling
  assert flags.sigmas == recipe.sampling.sigmas[4:] and flags.skip_initial is None
  assert flags.apply(recipe.sampling).sigmas == recipe.sampling.sigmas[4:]


def test_windows_have_a_line_of_the_prompt_each():
  options = options_of(dataclasses.replace(PROMPT, windows=True), RECIPE)
  assert options.prompts == ("a boat | on a lake",)
  assert options.windows.window == RECIPE.frames


def test_a_form_without_a_prompt_is_refused():
  with pytest.raises(ValueError, match="There is no prompt; write"):
    options_of(Form(prompt=" \n"), RECIPE)
  with pytest.raises(ValueError, match="no size 'Huge'"):
    options_of(dataclasses.replace(PROMPT, size="Huge"), RECIPE)


def test_values_of_other_kinds_are_refused():
  names = [field.name for field in dataclasses.fields(Form)]
  default = [getattr(Form(), name) for name in names]
  assert Form.of(names, [None] * len(names)) == Form.of(names, default) == Form()
  for name, value, message in (
    ("seed", "abc", "seed is 'abc'; it must be a finite number"),
    ("seconds", float("nan"), "seconds is nan"),
    ("prompt", 3, "prompt is 3; it must be str"),
    ("download", "yes", "download is 'yes'; it must be bool"),
    ("image", {"path": "/etc/passwd"}, "image is .*; it must be str"),
  ):
    with pytest.raises(ValueError, match=message):
      Form.of([name], [value])


def test_settings_of_a_video_come_back_into_the_form():
  form = dataclasses.replace(
    PROMPT,
    aspect="Tall 9:16",
    size="Medium",
    seconds=2.92,
    negative="blurred",
    steps=12,
    guidance=2.5,
    seed=7,
    windows=True,
  )
  found = from_options(options_of(form, RECIPE), Form(), RECIPE)
  assert found == form
  assert from_options(Options(prompts=("a",)), Form(), RECIPE).seconds == 4.84
