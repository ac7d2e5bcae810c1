"""Text in any editor's form, and outputs that would replace an input."""

import errno

import pytest

from ltx_jax.files import (
  NotJSON,
  atomic_file,
  json_bytes,
  named_in_errors,
  parse_json,
  read_lines,
  read_text,
  readable,
  refuse_overwriting,
)


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


@pytest.mark.parametrize(
  ("text", "why"),
  [
    (10_000 * "[", "its brackets are nested too deep"),
    (101 * "[" + 101 * "]", "its brackets are nested too deep"),
    (10_000 * '{"a":', "its brackets are nested too deep"),
    (5000 * "1", "a number has too many digits"),
    ("{", "Expecting property name"),
    (b"\xff\xfe\xfd", "codec can't decode"),
  ],
)
def test_what_is_no_json_says_why(text, why):
  with pytest.raises(NotJSON, match=why):
    parse_json(text)


def test_json_is_read_and_objects_are_made_as_asked():
  assert parse_json('{"a": [1, NaN]}')["a"][0] == 1
  assert parse_json('{"a": 1, "a": 2}', list) == [("a", 1), ("a", 2)]

  def refuse(pairs):
    raise ValueError("no objects here")

  with pytest.raises(NotJSON, match="no objects here"):
    parse_json("{}", refuse)


@pytest.mark.parametrize("name", ["Bär", "B\udce4r", "\ud800"])
def test_json_of_any_text_reads_back_as_it_was(name):
  """A name in Latin-1 comes from the system as "B\\udce4r", which UTF-8 cannot be."""
  text = json_bytes({"path": name, "caption": "ü"})
  assert parse_json(text) == {"path": name, "caption": "ü"}
  assert ("ü".encode() in text) == (name == "Bär")


def test_an_output_that_is_an_input_is_refused_by_any_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  photo = tmp_path / "photo.png"
  photo.write_bytes(b"photo")
  (tmp_path / "linked.png").symlink_to(photo)
  (tmp_path / "hard.png").hardlink_to(photo)
  (tmp_path / "there").symlink_to(tmp_path)
  inputs = [("--lora", "moving-shapes"), ("--image", photo), ("--video", None)]
  for name in ("photo.png", "linked.png", "hard.png", "there/photo.png"):
    with pytest.raises(ValueError, match=f"{name} would replace what --image reads"):
      refuse_overwriting(["other.png", name], inputs)
  with pytest.raises(ValueError, match="photo.png would replace what --image reads"):
    refuse_overwriting(["photo.png"], [("--image", "linked.png")])
  refuse_overwriting(["other.png", "there/other.png", "moving-shapes"], inputs)


def test_errors_of_the_system_name_the_file_that_is_written(tmp_path):
  path = tmp_path / "video.mp4"
  with pytest.raises(OSError) as error, named_in_errors(path):
    raise OSError(errno.ENOSPC, "No space left on device")
  assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
  with pytest.raises(IsADirectoryError) as error, atomic_file(tmp_path / "a") as file:
    file.write(b"half")
    open(tmp_path)
  assert error.value.filename == str(tmp_path / "a")
  assert not list(tmp_path.iterdir())


def test_bytes_that_are_no_letters_become_question_marks():
  assert readable("caf\udce9 🔴") == "caf? 🔴"
