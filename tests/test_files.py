"""Text in any editor's form, and outputs that would replace an input."""

import pytest

from ltx_jax.files import read_lines, read_text, refuse_overwriting


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_and_line_ends_are_no_part_of_a_text(tmp_path, encoding, end):
  path = tmp_path / "text.txt"
  path.write_bytes(end.join(["Bär", "", "two\u2028lines"]).encode(encoding))
  assert read_text(path) == "Bär\n\ntwo\u2028lines"
  assert read_lines(path) == ["Bär", "", "two\u2028lines"]
  path.write_bytes(f"one{end}".encode(encoding))
  assert read_lines(path) == ["one"]


def test_what_is_no_text_is_refused_by_name(tmp_path):
  path = tmp_path / "text.txt"
  path.write_bytes(b"fine\nf\xfcr")
  with pytest.raises(ValueError, match="text.txt is not text in UTF-8: line 2 .* 0xfc"):
    read_text(path)
  with pytest.raises(ValueError, match="nowhere.txt cannot be read: No such file"):
    read_text(tmp_path / "nowhere.txt")
  with pytest.raises(ValueError, match="cannot be read: Is a directory"):
    read_text(tmp_path)


def test_an_output_that_is_an_input_is_refused_by_any_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  photo, folder = tmp_path / "photo.png", tmp_path / "model"
  photo.write_bytes(b"photo")
  (tmp_path / "linked.png").symlink_to(photo)
  (tmp_path / "hard.png").hardlink_to(photo)
  (tmp_path / "there").symlink_to(tmp_path)
  folder.mkdir()
  (folder / "config.png").write_bytes(b"config")
  inputs = {"--image": photo, "--model": "model", "--lora": "moving-shapes"}
  for name in ("photo.png", "linked.png", "hard.png", "there/photo.png"):
    with pytest.raises(ValueError, match=f"{name} would replace what --image reads"):
      refuse_overwriting(["other.png", name], inputs)
  with pytest.raises(ValueError, match="would replace what --model reads"):
    refuse_overwriting(["model/config.png"], inputs)
  refuse_overwriting(["other.png", "model/new.png", "photo.mp4"], inputs)
