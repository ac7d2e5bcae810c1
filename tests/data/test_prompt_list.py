import pytest

from ltx_jax.data.prompt_list import Prompt, lines, read_prompts


def test_a_list_reads_back_as_it_was_written(tmp_path):
  prompts = [
    Prompt("one", "a 'fox', in the \u2028 snow"),
    Prompt("two", "a/b", tmp_path / "fox.png", ("animal", "snow"), 7),
  ]
  path = tmp_path / "prompts.jsonl"
  path.write_text(lines(prompts) + "\n")
  assert read_prompts(path) == prompts


def test_images_are_named_from_the_folder_of_the_list(tmp_path):
  path = tmp_path / "prompts.jsonl"
  path.write_text('{"id": "a", "prompt": "b", "image": "c.png"}')
  assert read_prompts(path)[0].image == tmp_path / "c.png"


@pytest.mark.parametrize(
  "line",
  [
    "[]",
    "{",
    '{"id": "a"}',
    '{"id": "", "prompt": "b"}',
    '{"id": "a", "prompt": "b", "seed": -1}',
    '{"id": "a", "prompt": "b", "seed": true}',
    '{"id": "a", "prompt": "b", "tags": "c"}',
    '{"id": "a", "prompt": "b", "colour": "c"}',
  ],
)
def test_other_lines_are_refused_by_their_number(tmp_path, line):
  path = tmp_path / "prompts.jsonl"
  path.write_text('{"id": "one", "prompt": "b"}\n' + line)
  with pytest.raises(ValueError, match=r"Line 2 of .*each has an item of its own"):
    read_prompts(path)


def test_an_id_stands_once_and_a_list_is_not_empty(tmp_path):
  path = tmp_path / "prompts.jsonl"
  path.write_text('{"id": "one", "prompt": "b"}\n' * 2)
  with pytest.raises(ValueError, match="Line 2 of .* names an item again"):
    read_prompts(path)
  path.write_text("\n")
  with pytest.raises(ValueError, match="has no prompts"):
    read_prompts(path)
