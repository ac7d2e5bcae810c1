"""Every layout gives the same clips; every bad row and manifest has its sentence."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from ltx_jax.data import manifest
from ltx_jax.data.clips import CAPTION_LIMIT, Clip, Clips

CAPTIONS = {"a.mp4": "a red bird, at rest", "b/c.webm": "ein Vogel über dem Dach"}


def _as_jsonl(folder, names=("path", "caption")):
  rows = [json.dumps(dict(zip(names, row, strict=True))) for row in CAPTIONS.items()]
  (folder / "list.jsonl").write_text("\n\n".join(rows) + "\n")
  return folder / "list.jsonl"


def _as_json(folder):
  rows = [{"media_path": p, "caption": c} for p, c in CAPTIONS.items()]
  (folder / "list.json").write_text(json.dumps(rows))
  return folder / "list.json"


def _as_csv(folder, separator=",", name="list.csv"):
  header = separator.join(["file_name", "text"])
  rows = [f'{path}{separator}"{caption}"' for path, caption in CAPTIONS.items()]
  (folder / name).write_text("\n".join([header, *rows]), encoding="utf-8")
  return folder / name


def _as_lists(folder):
  (folder / "videos.txt").write_text("\n".join(CAPTIONS) + "\n")
  (folder / "prompts.txt").write_text("\n".join(CAPTIONS.values()), encoding="utf-8")
  return folder


def _as_media(folder):
  for name, caption in CAPTIONS.items():
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.with_suffix(".txt").write_text(f"{caption}\n", encoding="utf-8")
  (folder / ".hidden.mp4").touch()
  (folder / "again").symlink_to(folder, target_is_directory=True)
  return folder


def _as_metadata(folder):
  _as_csv(folder, name="metadata.csv")
  return folder


LAYOUTS = {
  "jsonl": _as_jsonl,
  "jsonl of diffusers": lambda f: _as_jsonl(f, ("file_name", "text")),
  "jsonl of the original's trainer": lambda f: _as_jsonl(f, ("media_path", "caption")),
  "json": _as_json,
  "csv": _as_csv,
  "csv of a spreadsheet": lambda f: _as_csv(f, ";"),
  "tsv": lambda f: _as_csv(f, "\t", "list.tsv"),
  "two texts": _as_lists,
  "folder with metadata": _as_metadata,
  "folder of media": _as_media,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_clips(tmp_path, layout):
  clips = manifest.read_manifest(LAYOUTS[layout](tmp_path))
  assert list(clips) == [Clip(p, str(tmp_path / p), c) for p, c in CAPTIONS.items()]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("layout", ["jsonl", "csv", "two texts", "folder of media"])
def test_marks_and_line_ends_of_editors_are_no_text(tmp_path, layout, encoding, ends):
  path = LAYOUTS[layout](tmp_path)
  for text in [*tmp_path.glob("*.txt"), *tmp_path.glob("list.*")]:
    text.write_bytes(text.read_text("utf-8").replace("\n", ends).encode(encoding))
  clips = manifest.read_manifest(path)
  assert [clip.caption for clip in clips] == list(CAPTIONS.values())


def test_what_is_written_is_read_back_and_foreign_fields_are_kept(tmp_path):
  full = Clip(
    "one",
    str(tmp_path / "media" / "a.mp4"),
    "a caption",
    0.0,
    3.5,
    640,
    480,
    84,
    24.0,
    (0, 60, 640, 360),
    {"aesthetic": 5.25},
    {"source": "phone", "tags": ["a", "ü"]},
  )
  bare = Clip("two", "/elsewhere/b.png")
  path = tmp_path / "new" / "manifest.jsonl"
  manifest.write_manifest(path, [full, bare])
  assert list(manifest.read_manifest(path)) == [full, bare]
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert rows[1] == {"id": "two", "path": "/elsewhere/b.png", "caption": ""}
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_references_are_files_beside_the_clips(tmp_path):
  rows = [
    {"path": "a.mp4", "caption": "a bird", "reference": "guides/a.mp4"},
    {"path": "b.mp4", "caption": "a cat", "reference_path": "/elsewhere/b.mp4"},
    {"path": "c.mp4", "caption": "a dog"},
  ]
  (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
  clips = manifest.read_manifest(tmp_path / "list.jsonl")
  expected = [str(tmp_path / "guides" / "a.mp4"), "/elsewhere/b.mp4", ""]
  assert [clip.reference for clip in clips] == expected
  assert [clip.extra for clip in clips] == [{}, {}, {}]
  manifest.write_manifest(tmp_path / "again.jsonl", clips)
  written = (tmp_path / "again.jsonl").read_text().splitlines()
  assert json.loads(written[0])["reference"] == "guides/a.mp4"
  assert "reference" not in json.loads(written[2])
  again = manifest.read_manifest(tmp_path / "again.jsonl")
  assert [clip.reference for clip in again] == expected


def test_paths_below_the_manifest_move_with_it(tmp_path):
  path = tmp_path / "old" / "manifest.jsonl"
  manifest.write_manifest(path, [Clip("a", str(tmp_path / "old" / "clips" / "a.mp4"))])
  moved = (tmp_path / "old").rename(tmp_path / "new") / "manifest.jsonl"
  assert manifest.read_manifest(moved)[0].path == str(tmp_path / "new/clips/a.mp4")


def test_two_clips_of_one_file_are_called_by_their_times(tmp_path):
  rows = ({"path": "a.mp4", "start": s, "end": s + 1.5} for s in (0, 1.5))
  (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
  ids = list(manifest.read_manifest(tmp_path / "m.jsonl").ids)
  assert ids == ["a.mp4@0-1.5", "a.mp4@1.5-3"]


def test_csv_holds_crops_scores_and_cells_that_are_empty(tmp_path):
  lines = ["path,crop,scores,fps,mine", 'a.mp4,"1, 2, 30, 40","{""motion"": 2}",,x']
  (tmp_path / "m.csv").write_text("\n".join(lines))
  (clip,) = manifest.read_manifest(tmp_path / "m.csv")
  assert (clip.crop, clip.scores, clip.fps) == ((1, 2, 30, 40), {"motion": 2.0}, None)
  assert clip.extra == {"mine": "x"}


def test_backslashes_of_windows_part_folders(tmp_path):
  (tmp_path / "m.jsonl").write_text(json.dumps({"path": "clips\\a.mp4"}))
  assert manifest.read_manifest(tmp_path / "m.jsonl")[0].path.endswith("/clips/a.mp4")


def test_line_breaks_in_captions_become_spaces(tmp_path):
  row = {"path": "a.mp4", "caption": "one\r\n\n two\tthree\u2028four "}
  (tmp_path / "m.jsonl").write_text(json.dumps(row))
  caption = manifest.read_manifest(tmp_path / "m.jsonl")[0].caption
  assert caption == "one two three four"


BAD_ROWS = {
  "no path": ({"caption": "x"}, "names no file: it has 'caption', and the path is in"),
  "no field": ({}, "names no file: it has no field"),
  "no object": ([1], r"line 1: it is not a JSON object, but \[1\]"),
  "path": ({"path": 1.5}, "its path is 1.5; it must be a text"),
  "address": ({"path": "s3://a/b.mp4"}, "s3://a/b.mp4 is an address; download"),
  "id": ({"id": "a\nb"}, r"its id is 'a\\nb', of 3 characters"),
  "long id": ({"id": "a" * 501}, "of 501 characters; an id has 1 to 500"),
  "caption": ({"caption": ["x"]}, r"its caption is \['x'\]; it must be a text"),
  "100 kB": ({"caption": "word " * 20_000}, "its caption has 99999 characters and beg"),
  "start": ({"start": -1}, "its start is -1; seconds are at least 0"),
  "end": (
    {"start": 2, "end": 2},
    "it starts at 2 s and ends at 2 s; the end must come",
  ),
  "nan": ({"end": float("nan")}, "ends at nan s"),
  "word": ({"fps": "fast"}, "its fps is 'fast'; it must be a number"),
  "fps": ({"fps": 0}, "its fps is 0; it must be above 0"),
  "half": ({"frames": 8.5}, "its frames is 8.5; it must be a whole number"),
  "infinite": ({"width": float("inf")}, "its width is inf; it must be a whole"),
  "width": ({"width": 0}, "its width is 0; it must be above 0"),
  "crop": ({"crop": [1, 2, 3]}, r"its crop is \[1, 2, 3\]; it must be \[x, y, w"),
  "empty crop": ({"crop": [0, 0, 0, 9]}, r"its crop is \[0, 0, 0, 9\]; it must"),
  "wide crop": (
    {"width": 64, "height": 64, "crop": [1, 0, 64, 64]},
    r"its crop \[1, 0, 64, 64\] goes beyond its 64x64 pixels",
  ),
  "scores": ({"scores": 5}, "its scores are 5; they must be an object such as"),
  "score": ({"scores": {"a": "good"}}, "its score 'a' is 'good'"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_refused_with_its_line_and_the_rest_can_be_used(tmp_path, kind):
  row, sentence = BAD_ROWS[kind]
  whole = {"path": "bad.mp4"} if isinstance(row, dict) and "path" not in row else {}
  row = whole | row if row and kind != "no path" and isinstance(row, dict) else row
  rows = [row, {"path": "good.mp4"}]
  (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
  with pytest.raises(ValueError, match=f"has 1 faulty rows; the first is .*{sentence}"):
    manifest.read_manifest(tmp_path / "m.jsonl")
  clips, faults = manifest.scan_manifest(tmp_path / "m.jsonl")
  assert list(clips.ids) == ["good.mp4"] and faults[0].where == "line 1"


def test_the_second_clip_of_an_id_is_refused_naming_both_lines(tmp_path):
  rows = [{"path": "a.mp4"}, {"path": "b.mp4"}, {"id": "a.mp4", "path": "c.mp4"}]
  (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
  clips, faults = manifest.scan_manifest(tmp_path / "m.jsonl")
  assert list(clips.ids) == ["a.mp4", "b.mp4"]
  assert str(faults[0]) == "line 3: its id 'a.mp4' is also that of line 1"


BAD_MANIFESTS = {
  "missing": ({}, "m.jsonl", "does not exist; give a manifest or a folder of media"),
  "empty": (
    {"m.jsonl": b"\n"},
    "m.jsonl",
    "has no clips; give a file with rows of path",
  ),
  "empty folder": ({"a.pdf": b""}, "", "has no clips; .* or a folder of .mp4"),
  "suffix": ({"m.xlsx": b""}, "m.xlsx", "has the suffix '.xlsx'; a manifest is .jsonl"),
  "text alone": (
    {"m.txt": b"a.mp4"},
    "m.txt",
    "is a text; it can be a list of paths only together with --captions",
  ),
  "columns": ({"m.csv": b"movie,words"}, "m.csv", "the columns 'movie', 'words'; call"),
  "no header": ({"m.csv": b""}, "m.csv", "the columns none; call the column of paths"),
  "quotes": ({"m.csv": b"path,text\na.mp4,one, two"}, "m.csv", "line 2: it has 3 col"),
  "open quote": (
    {"m.csv": b'path,text\na.mp4,"' + b"x" * 140_000},
    "m.csv",
    "is not valid CSV at line 2: field larger than field limit",
  ),
  "no JSON": ({"m.jsonl": b"{path: 1}"}, "m.jsonl", "line 1: it is not JSON"),
  "nested": ({"m.jsonl": b"[" * 100_000}, "m.jsonl", "line 1: it is not JSON"),
  "no list": ({"m.json": b"{}"}, "m.json", "holds a dict; it must be a list of rows"),
  "bad JSON": ({"m.json": b"[1,"}, "m.json", "is not JSON: Expecting value"),
  "latin-1": (
    {"m.jsonl": b'{"path": "a.mp4"}\n{"path": "\xfc.mp4"}'},
    "m.jsonl",
    "is not UTF-8 text: .* byte 0xfc; save it as UTF-8",
  ),
  "latin-1 caption": ({"a.mp4": b"", "a.txt": b"\xfc"}, "", "a.mp4: .* byte 0xfc"),
  "fewer captions": (
    {"videos.txt": b"a.mp4\nb.mp4\n", "prompts.txt": b"one\n\n"},
    "",
    "videos.txt has 2 lines, but .*prompts.txt has 1; a clip needs its caption on",
  ),
  "two of a kind": (
    {"metadata.csv": b"", "metadata.jsonl": b""},
    "",
    "holds metadata.jsonl, metadata.csv; name the one to use",
  ),
  "two captions": (
    {"videos.txt": b"", "prompts.txt": b"", "captions.txt": b""},
    "",
    "holds videos.txt, prompts.txt, captions.txt; name the one",
  ),
  "texts alone": ({"b.txt": b"words"}, "", "has no clips; .* or a folder of .mp4"),
}


@pytest.mark.parametrize("kind", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused_in_a_sentence(tmp_path, kind):
  files, name, sentence = BAD_MANIFESTS[kind]
  for file, content in files.items():
    (tmp_path / file).write_bytes(content)
  with pytest.raises(ValueError, match=sentence):
    manifest.read_manifest(tmp_path / name)


def test_texts_without_a_clip_are_listed_and_stop_nothing(tmp_path):
  for name in ("a.mp4", "a.txt", "gone.txt", "README.txt"):
    (tmp_path / name).write_text("words")
  (clip,) = manifest.read_manifest(tmp_path)
  assert (clip.id, clip.caption) == ("a.mp4", "words")
  _, faults = manifest.scan_manifest(tmp_path)
  why = "it is a text without a clip of the same name next to it"
  assert list(map(str, faults)) == [f"README.txt: {why}", f"gone.txt: {why}"]
  # Among them a clip that would be lost is refused.
  (tmp_path / "a.txt").write_bytes(b"\xfc")
  with pytest.raises(ValueError, match="has 1 faulty rows; the first is a.mp4: .*0xfc"):
    manifest.read_manifest(tmp_path)


def test_captions_up_to_the_limit_are_taken(tmp_path):
  row = {"path": "a.mp4", "caption": "x" * CAPTION_LIMIT}
  (tmp_path / "m.jsonl").write_text(json.dumps(row))
  assert len(manifest.read_manifest(tmp_path / "m.jsonl")[0].caption) == CAPTION_LIMIT


def test_rows_take_little_more_memory_than_their_words(tmp_path):
  words, count = "a caption of some sixty letters, as a person would write it", 1_000
  with (tmp_path / "m.jsonl").open("w") as file:
    for i in range(count):
      file.write(json.dumps({"path": f"clips/{i:07}.mp4", "caption": words}) + "\n")
  tracemalloc.start()
  clips = manifest.read_manifest(tmp_path / "m.jsonl")
  kept, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert len(clips) == count
  assert kept < count * (len(words) + 300) and peak < count * (len(words) + 600)


def test_columns_agree_with_rows_and_with_parts():
  draw = random.Random(0)
  rows = [
    Clip(
      f"{i}", f"/f{i % 3}/{i}.mp4", width=draw.choice([None, 9]), height=8, frames=i + 1
    )
    for i in range(20)
  ]
  rows[3] = rows[3]._replace(width=64, crop=(0, 0, 32, 4))
  clips = Clips(rows)
  assert list(clips) == rows and list(clips.take([5, 3])) == [rows[5], rows[3]]
  assert clips.sizes()[3].tolist() == [4, 4, 32]
  assert clips.column("width").tolist() == [row.width or 0 for row in rows]
  assert list(clips.take(clips.column("frames") > 18)) == rows[18:]
