"""Which files are looked at: any name, each once, and shared by clusters."""

import json
import os

import pytest

from train.curation import planning
from train.curation.planning import Footage

ODD = ["-dash.mp4", 'a "quote".mp4', "a\nnewline.mp4", os.fsdecode(b"\xff\xfe.mp4")]


def names(path):
  return [file.id for file in planning.footage(path)]


def test_a_folder_and_all_below_it(tmp_path):
  for name in ("b.mp4", "deep/er/a.MOV", "still.png", "notes.txt", ".hidden.mp4"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  found = planning.footage(tmp_path)
  assert [file.id for file in found] == ["b.mp4", "deep/er/a.MOV", "still.png"]
  assert found[1].path == str(tmp_path / "deep/er/a.MOV")


@pytest.mark.parametrize("name", ODD)
def test_names_of_any_kind_lead_to_their_file(tmp_path, name):
  (tmp_path / name).write_bytes(b"12")
  (found,) = planning.footage(tmp_path)
  assert os.path.getsize(found.path) == 2 and "\n" not in found.id
  work = json.loads(planning.probing(found.path, found.id, planning.Limits()))
  assert work["path"] == found.path and work["id"] == found.id


def test_a_list_names_files_beside_it(tmp_path):
  listed = tmp_path / "list.jsonl"
  listed.write_text('\ufeff{"id": "z", "path": "a.mp4"}\r\n\r\n{"path": "/b.mp4"}\r\n')
  assert planning.footage(listed) == [
    Footage("/b.mp4", "/b.mp4"),
    Footage("z", str(tmp_path / "a.mp4")),
  ]


@pytest.mark.parametrize(
  "lines, words",
  [
    ('{"id": "a", "path": "1"}\n\n{"id": "a", "path": "2"}', "lines 1 and 3 .* 'a'"),
    ('{"id": "a", "path": "1"}\n{"id"', "line 2 is not JSON"),
    ('{"id": "a"}', "line 1 must be an object"),
    ('{"id": 7, "path": "1"}', "line 1 must be an object"),
    ("[1]", "line 1 must be an object"),
    ("", "has no video"),
  ],
)
def test_a_broken_list_is_refused_by_its_line(tmp_path, lines, words):
  listed = tmp_path / "list.jsonl"
  listed.write_text(lines)
  with pytest.raises(ValueError, match=words):
    planning.footage(listed)


def test_a_folder_without_footage_is_refused(tmp_path):
  with pytest.raises(ValueError, match="has no video and no image"):
    planning.footage(tmp_path)
  with pytest.raises(ValueError, match="does not exist"):
    planning.footage(tmp_path / "gone")


def test_shards_are_all_files_once():
  found = [Footage(f"{k}.mp4", "") for k in range(50)]
  parts = [planning.shard_of(found, f"{k}/4") for k in range(4)]
  assert sorted(file for part in parts for file in part) == sorted(found)
  assert all(parts)
  assert planning.shard_of(found[::-1], "1/4") == parts[1][::-1]


@pytest.mark.parametrize("shard", ["4/4", "1", "-1/4", "a/b", "0/0"])
def test_a_shard_that_is_none_is_refused(shard):
  with pytest.raises(ValueError, match="--shard is"):
    planning.shard_of([], shard)
