"""Prompts from the command line and from files."""

import numpy as np
import pytest

from ltx_jax.data import video
from sample.prompts import all_prompts, by_window
from tests.sample.test_generate import OTHER, PROMPT, SIZE


def test_a_file_has_a_prompt_a_line_after_those_of_the_command_line(tmp_path):
  file = tmp_path / "prompts.txt"
  file.write_text(f"# shapes\n\n  {PROMPT}  \n{OTHER} #1\n")
  assert all_prompts(("first",), file) == ("first", PROMPT, f"{OTHER} #1")
  assert all_prompts((), file) == (PROMPT, f"{OTHER} #1")


def test_a_file_of_any_editor_has_the_same_prompts(tmp_path):
  file = tmp_path / "prompts.txt"
  for mark in ("", "\ufeff"):
    for end in ("\n", "\r\n", "\r"):
      file.write_bytes(f"{mark}{PROMPT}{end}# none{end}{OTHER}{end}".encode())
      assert all_prompts((), file) == (PROMPT, OTHER)


def test_files_without_prompts_are_refused(tmp_path):
  file = tmp_path / "prompts.txt"
  file.write_text("# nothing\n\n")
  with pytest.raises(ValueError, match="holds no prompt; write one per line"):
    all_prompts(("first",), file)
  file.write_bytes(b"a\nlast\xe9 line")
  with pytest.raises(ValueError, match="prompts.txt is not text in UTF-8: line 2"):
    all_prompts((), file)
  with pytest.raises(ValueError, match="cannot be read"):
    all_prompts((), tmp_path / "nowhere.txt")
  with pytest.raises(ValueError, match="Give at least one prompt"):
    all_prompts((), None)


def test_prompts_have_parts_for_windows():
  assert by_window(["a | b|c ", "d", "e|f"]) == [
    ["a", "d", "e"],
    ["b", "d", "f"],
    ["c", "d", "f"],
  ]
  with pytest.raises(ValueError, match="'a||b' has an empty part".replace("|", r"\|")):
    by_window(["a||b"])


def test_the_program_reads_the_file(program, tmp_path):
  (tmp_path / "prompts.txt").write_text(f"{PROMPT}\n{OTHER}\n")
  code, _, err = program("--prompt-file", "prompts.txt", *SIZE, "--output", "a.png")
  assert (code, err) == (0, "")
  first, second = (video.read(f"a-{i}.png")[0] for i in (1, 2))
  assert not np.array_equal(first, second)


def test_bytes_of_a_shell_that_are_no_letters_are_replaced():
  assert all_prompts(["a red \udcff circle"], None) == ("a red ? circle",)
