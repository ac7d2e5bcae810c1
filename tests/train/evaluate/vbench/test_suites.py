"""Names are those that the suites look for; files that are not theirs are refused."""

import pytest

from tests.train.evaluate.vbench import suite_case
from train.evaluate.vbench import suites


def names(*args, **how):
  return [clip.name for clip in suites.wanted(*args, **how)]


def test_each_prompt_has_five_clips_and_one_listed_twice_is_one(tmp_path):
  path = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS)
  found = suites.wanted("short", path)
  prompts = list(dict.fromkeys(suite_case.PROMPTS))
  expected = [f"{prompt}-{k}.mp4" for prompt in prompts for k in range(5)]
  assert [clip.name for clip in found] == expected
  assert len({clip.id for clip in found}) == len(found)
  assert all(clip.text == clip.prompt and clip.image is None for clip in found)
  assert names("long", path) == expected


def test_static_prompts_have_twenty_five(tmp_path):
  path = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS)
  static = suite_case.text(tmp_path / "static.txt", [suite_case.PROMPTS[1]])
  found = names("short", path, static=static)
  assert found.count(f"{suite_case.PROMPTS[1]}-24.mp4") == 1
  assert len(found) == len(names("short", path)) + 20
  other = suite_case.text(tmp_path / "other.txt", ["a prompt of mine"])
  with pytest.raises(ValueError, match="1 prompts that the suite does not have"):
    suites.wanted("short", path, static=other)


def test_the_model_reads_lengthened_prompts_and_names_keep_the_short_ones(tmp_path):
  path = suite_case.text(tmp_path / "all.txt", suite_case.PROMPTS)
  texts = [f"{prompt}, in rich detail/light" for prompt in suite_case.PROMPTS]
  longer = suite_case.text(tmp_path / "longer.txt", texts)
  found = suites.wanted("short", path, longer)
  assert [c.name for c in found] == names("short", path)
  assert all(clip.text == f"{clip.prompt}, in rich detail/light" for clip in found)
  suite_case.text(tmp_path / "longer.txt", texts[1:])
  with pytest.raises(ValueError, match="line by line"):
    suites.wanted("short", path, longer)


def test_prompts_about_the_camera_have_the_image_of_their_other_words(tmp_path):
  found = suites.wanted("i2v", suite_case.images(tmp_path / "info.json"))
  assert len(found) == 4 * 5
  images = {clip.prompt: clip.image for clip in found}
  assert images == {
    "a close up of a liquid": "a close up of a liquid.jpg",
    "a close up of a liquid, camera pans left": "a close up of a liquid.jpg",
    "a boat, far away": "a boat, far away.jpg",
    "a boat, far away, camera pans left": "a boat, far away.jpg",
  }


def test_the_second_suite_has_a_folder_a_dimension_and_cuts_long_names(tmp_path):
  folder = suite_case.dimensions(tmp_path / "prompt")
  found = names("2.0", folder)
  assert len(found) == 20 + 2 * 3
  assert "Diversity/a cat-19.mp4" in found and "Material/wood floats-2.mp4" in found
  long = [name for name in found if "sea" in name]
  assert len(long) == 3 and all(len(n) == len("Material/-0.mp4") + 180 for n in long)


def test_names_that_differ_only_in_case_are_found():
  assert suites.twins(["a b-0", "c", "A b-0", "d"]) == [("a b-0", "A b-0")]


@pytest.mark.parametrize("prompt", ["a cat/dog", "\u732b" * 90])
def test_prompts_that_no_file_can_be_named_by_are_refused(tmp_path, prompt):
  path = suite_case.text(tmp_path / "all.txt", ["a cat", prompt])
  with pytest.raises(ValueError, match="cannot be part of a file's name"):
    suites.wanted("short", path)


def test_other_files_are_refused(tmp_path):
  empty = suite_case.text(tmp_path / "empty.txt", [""])
  with pytest.raises(ValueError, match="has no prompts"):
    suites.wanted("short", empty)
  for content in ("{", "{}", '[{"prompt": "a"}]', "[]"):
    (tmp_path / "info.json").write_text(content)
    if content == "[]":
      continue
    with pytest.raises(ValueError, match="vbench2_i2v_full_info"):
      suites.wanted("i2v", tmp_path / "info.json")
  with pytest.raises(ValueError, match="no folder with a file DIMENSION"):
    suites.wanted("2.0", tmp_path / "nowhere")
  with pytest.raises(ValueError, match="--longer is not for the suite i2v"):
    suites.wanted("i2v", suite_case.images(tmp_path / "i.json"), longer=empty)
  with pytest.raises(ValueError, match="--static is not for the suite 2.0"):
    folder = suite_case.dimensions(tmp_path / "prompt")
    suites.wanted("2.0", folder, static=empty)
