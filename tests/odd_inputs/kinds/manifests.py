"""Manifests: lists with mistakes, and folders of clips that are gone or broken."""

from __future__ import annotations

import json

from tests.odd_inputs.case import (
  Case,
  accepted,
  cut,
  folder,
  locked,
  refused,
  shelved,
  with_file,
)

CLIP = {"cat.mp4": shelved("data/cat.mp4")}
GOOD = '{"path": "cat.mp4", "caption": "a cat"}\n'
LIST = "train.manifest", "list.jsonl"
ALL = "manifest.jsonl", "manifest.png"


def list_refused(who: str, text: str | bytes, *words: str) -> Case:
  """A manifest in which no row can be used, or that is none."""
  files = CLIP | {"list.jsonl": text}
  leaves = ("manifest.faults.jsonl",)
  return refused(who, LIST, *words, files=files, leaves=leaves)


def list_fine(
  who: str, text: str | bytes, *words: str, name: str = "list.jsonl"
) -> Case:
  """A manifest with odd rows, of which some can be used."""
  return accepted(
    who,
    ("train.manifest", name),
    *ALL,
    files=CLIP | {name: text},
    says=words,
    leaves=("manifest.faults.jsonl",),
  )


CASES = (
  list_refused("saves nothing", "", "list.jsonl"),
  list_refused("leaves empty lines", "\n\n", "list.jsonl"),
  list_refused("saves a document", b"PK\x03\x04\xff\xfe\x80", "list.jsonl"),
  list_refused(
    "lists clips that are gone", '{"path": "a.mp4", "caption": "a"}\n', "list"
  ),
  list_refused("names the field as nobody does", '{"clip": "cat.mp4"}\n', "list"),
  list_refused("writes no JSON", "cat.mp4\n", "list"),
  list_refused("writes lists", '["cat.mp4", "a cat"]\n', "list"),
  list_refused("writes numbers as paths", '{"path": 3, "caption": "a"}\n', "list"),
  list_refused(
    "ends before it starts",
    '{"path": "cat.mp4", "caption": "a", "start": 5, "end": 1}\n',
    "list",
  ),
  list_refused(
    "crops beside the picture",
    '{"path": "cat.mp4", "caption": "a", "crop": [900, 0, 32, 32]}\n',
    "list",
  ),
  list_refused(
    "crops by words", '{"path": "cat.mp4", "caption": "a", "crop": "center"}\n', "list"
  ),
  list_refused(
    "scores by words", '{"path": "cat.mp4", "caption": "a", "scores": "good"}\n', "list"
  ),
  list_refused("lists no picture", '{"path": "list.jsonl", "caption": "a"}\n', "list"),
  list_refused(
    "plays at no rate", '{"path": "cat.mp4", "caption": "a", "fps": 0}\n', "list"
  ),
  list_refused(
    "names a path without end",
    json.dumps({"path": "x" * 5000, "caption": "a"}) + "\n",
    "list",
  ),
  list_refused("nests without end", "[" * 100_000 + "\n", "list"),
  list_fine("lists one clip that is gone", GOOD + '{"path": "a.mp4"}\n', "a.mp4"),
  list_fine("stops writing a line", GOOD + '{"path": "ca', "left out"),
  list_fine("lists a clip twice", GOOD + GOOD),
  list_fine("writes captions of numbers", '{"path": "cat.mp4", "caption": 12}\n'),
  list_fine(
    "saves with Windows' mark and ends",
    b"\xef\xbb\xbf" + GOOD.strip().encode() + b"\r\n",
  ),
  list_fine(
    "adds fields of their own", '{"path": "cat.mp4", "text": "a", "mood": "x"}\n'
  ),
  list_fine("writes no caption", '{"path": "cat.mp4"}\n', "without a caption"),
  list_fine("writes a table", "video,caption\ncat.mp4,a cat\n", name="list.csv"),
  list_fine(
    "writes a table with a comma in it", 'path,text\ncat.mp4,"a, b"\n', name="list.csv"
  ),
  list_fine(
    "writes a table by tabulators", "path\ttext\ncat.mp4\ta cat\n", name="list.tsv"
  ),
  list_fine(
    "writes one list of JSON", '[{"path": "cat.mp4", "caption": "a"}]', name="list.json"
  ),
  list_fine(
    "writes a table by semicolons", "path;text\ncat.mp4;a cat\n", name="list.csv"
  ),
  refused(
    "lists paths in a text",
    ("train.manifest", "list.txt"),
    "list.txt",
    "--captions",
    files=CLIP | {"list.txt": "cat.mp4\n"},
  ),
  refused(
    "has fewer captions than clips",
    ("train.manifest", "v.txt", "--captions", "c.txt"),
    "2",
    files=CLIP | {"v.txt": "cat.mp4\ncat.mp4\n", "c.txt": "a\n"},
  ),
  refused(
    "gives a table of Excel",
    ("train.manifest", "list.xlsx"),
    "list.xlsx",
    files={"list.xlsx": b"PK\x03\x04" + bytes(100)},
  ),
  refused("mistypes the list", ("train.manifest", "lits.jsonl"), "lits.jsonl"),
  refused(
    "names an empty folder",
    ("train.manifest", "clips"),
    "clips",
    files={"clips": folder},
    leaves=("clips/manifest.faults.jsonl",),
  ),
  refused(
    "names a folder of other files",
    ("train.manifest", "clips"),
    "clips",
    files={"clips/a.doc": "a"},
    leaves=("clips/manifest.faults.jsonl",),
  ),
  refused(
    "may not look into the folder",
    ("train.manifest", "clips"),
    "clips",
    files={"clips": locked(folder)},
  ),
  refused(
    "may not write beside the clips",
    ("train.manifest", "clips"),
    "clips",
    files={"clips": locked(with_file("data", "x.txt", ""), 0o500)},
  ),
  refused(
    "has a manifest already",
    ("train.manifest", "clips"),
    "manifest.jsonl",
    files={"clips": with_file("data", "manifest.jsonl", GOOD)},
  ),
  refused(
    "writes a manifest as a table",
    (*LIST, "--output", "a.csv"),
    "a.csv",
    files=CLIP | {"list.jsonl": GOOD},
  ),
  refused(
    "has only broken clips",
    ("train.manifest", "clips"),
    "clips",
    files={"clips/a.mp4": cut("data/cat.mp4", 0.3), "clips/a.txt": "a cat"},
    leaves=("clips/manifest.faults.jsonl",),
  ),
  accepted(
    "has a folder of the desktop's files",
    ("train.manifest", "clips"),
    "clips/manifest.jsonl",
    files={"clips": with_file("data", ".DS_Store", "\0")},
    leaves=("clips/manifest*",),
  ),
  accepted(
    "has images beside clips",
    ("train.manifest", "clips"),
    "clips/manifest.jsonl",
    leaves=("clips/manifest*",),
    files={"clips": with_file("data", "a.png", shelved("images/plain.png"))},
  ),
  accepted(
    "has a folder with spaces",
    ("train.manifest", "my clips 📁"),
    "my clips 📁/manifest.jsonl",
    files={"my clips 📁": shelved("data")},
    leaves=("my clips 📁/manifest*",),
  ),
)
