"""Records, manifests, folders of runs, prompts: what training and programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ltx_jax.config.runs import AutoBuckets, Bucket
from ltx_jax.data import manifest, records, survey
from ltx_jax.data.record import encode
from ltx_jax.data.record_index import index_of, row_of, write_index, write_table
from ltx_jax.data.shards import ArrayRecordWriter
from ltx_jax.data.videos import Videos
from sample.prompts import all_prompts
from tests.data import record_case
from tests.fuzz.media_seeds import FRAMES
from tests.fuzz.seeds import Seed
from train.harness import reporting, skipped
from train.page import document

_BUCKETS = (Bucket(9, 64, 96), Bucket(1, 64, 96))


def _write_records(folder: Path) -> None:
  made = [record_case.record(number) for number in range(3)]
  record_case.write_folder(folder, (tuple(made[:2]), tuple(made[2:])))


def _read_records(folder: Path) -> None:
  source = records.Records(folder)
  source.propose(AutoBuckets(), (8, 32), lambda bucket: 6)
  for bucket, ids in zip(_BUCKETS, source.assign(_BUCKETS), strict=True):
    for row in ids.tolist()[:8]:
      source.read(bucket, np.array([row]), np.zeros(1, np.uint32))
  source.record(0)
  assert source.empty


def _index_again(folder: Path) -> None:
  write_index(folder, record_case.INFO, record_case.EMPTY)


def _write_blob(folder: Path) -> None:
  (folder / "one.record").write_bytes(encode(record_case.record(1)))


def _read_blob(folder: Path) -> None:
  """The record as the only one of a shard that is whole."""
  shard = folder / "shard-00000.arrayrecord"
  blob = (folder / "one.record").read_bytes()
  writer = ArrayRecordWriter(str(shard), "group_size:1,uncompressed")
  writer.write(blob)
  writer.close()
  row = row_of(record_case.record(1), len(blob))
  write_table(shard, index_of([row]), shard.stat().st_size)
  _index_again(folder)
  _read_records(folder)


_ROWS = (
  {
    "id": "one",
    "path": "a.png",
    "caption": "a red bird, at rest",
    "start": 0.0,
    "end": 3.5,
    "width": 48,
    "height": 32,
    "frames": 84,
    "fps": 24.0,
    "crop": [0, 0, 48, 30],
    "scores": {"aesthetic": 5.25},
    "tags": ["a", "ü"],
  },
  {"path": "b.png", "caption": "ein Vogel über dem Dach", "reference": "a.png"},
)


def _write_jsonl(folder: Path) -> None:
  lines = [json.dumps(row, ensure_ascii=False) for row in _ROWS]
  (folder / "list.jsonl").write_text("\n".join(lines) + "\n")


def _write_json(folder: Path) -> None:
  (folder / "list.json").write_text(json.dumps(_ROWS))


def _table(separator: str, name: str) -> Callable[[Path], None]:
  def write(folder: Path) -> None:
    names = list(_ROWS[0])[:-1]
    cells = ["one", "a.png", '"a red, bird"', "0", "3.5", "48", "32", "84", "24"]
    rows = [names, [*cells, "0 0 48 30", '"{""aesthetic"": 5.25}"']]
    rows.append(["two", "b.png", "ein Vogel", *[""] * (len(names) - 3)])
    (folder / name).write_text("\n".join(map(separator.join, rows)) + "\n")

  return write


def _write_lists(folder: Path) -> None:
  (folder / "videos.txt").write_text("a.png\nb.png\n")
  (folder / "prompts.txt").write_text("a red bird\nein Vogel über dem Dach\n")


def _write_media(folder: Path) -> None:
  for number, frame in enumerate(FRAMES[:3]):
    Image.fromarray(frame).save(folder / f"{number:05}.png")
    (folder / f"{number:05}.txt").write_text(f"frame {number}\n")


def _read_manifest(folder: Path) -> None:
  names = [
    p for p in folder.iterdir() if p.suffix in (".jsonl", ".json", ".csv", ".tsv")
  ]
  clips, _ = manifest.scan_manifest(names[0] if names else folder)
  manifest.write_manifest(folder / "written" / manifest.CANONICAL, clips)
  survey.survey(clips)
  survey.repeated_captions(clips, 3)
  list(clips)


def _train_on_media(folder: Path) -> None:
  source = Videos(manifest.read_manifest(folder), max_faulty=0.9)
  bucket = Bucket(1, 32, 32)
  source.assign([bucket])
  source.read(bucket, np.array([0, 1]), np.zeros(2, np.uint32))


def _write_run(folder: Path) -> None:
  rows = [
    {"step": step, "loss": 1 / step, "seconds": 1.0 * step, "steps_per_second": 2.0}
    for step in (1, 2, 4)
  ]
  lines = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / reporting.METRICS_FILE).write_text(lines)
  (folder / reporting.EVALUATION_FILE).write_text(lines)
  config = {"steps": 4, "optimizer": {"rate": 1e-3, "betas": [0.9, 0.99]}, "seed": None}
  (folder / reporting.CONFIG_FILE).write_text(json.dumps(config))
  (folder / skipped.DROPPED).write_text('{"id": "a", "reason": "it is short"}\n')
  samples = folder / reporting.SAMPLES_FOLDER
  samples.mkdir()
  (samples / reporting.CAPTIONS_FILE).write_text("a red circle\na blue square\n")
  Image.fromarray(FRAMES[0]).save(samples / "clips_000002.png")


def _draw_page(folder: Path) -> None:
  document.write([folder], folder / "page.html")
  skipped.dropped([str(folder)])


def _go_on(folder: Path) -> None:
  """As a run that is resumed after its second step."""
  with reporting.Report(folder, start=2, steps=4):
    pass


def _write_prompts(folder: Path) -> None:
  lines = "# comments\na red circle\n\nein Vogel über dem Dach | and a cat\n"
  (folder / "prompts.txt").write_text(lines)


def _read_prompts(folder: Path) -> None:
  all_prompts((), folder / "prompts.txt")


_RECORDS = (
  ("records", _write_records, _read_records, ("*",)),
  ("records-index", _write_records, _read_records, ("index.safetensors",)),
  ("records-shard", _write_records, _read_records, ("*.arrayrecord",)),
  ("records-tables", _write_records, _index_again, ("*.rows",)),
  ("record", _write_blob, _read_blob, ("one.record",)),
)
_MANIFESTS = (
  ("manifest.jsonl", _write_jsonl, _read_manifest, ("*",)),
  ("manifest.json", _write_json, _read_manifest, ("*",)),
  ("manifest.csv", _table(",", "list.csv"), _read_manifest, ("*",)),
  ("manifest.tsv", _table("\t", "list.tsv"), _read_manifest, ("*",)),
  ("manifest-lists", _write_lists, _read_manifest, ("*",)),
  ("media-folder", _write_media, _train_on_media, ("*",)),
)
_RUNS = (
  ("run-page", _write_run, _draw_page, ("*", "*/*")),
  ("run-resumed", _write_run, _go_on, ("*.jsonl",)),
  ("prompts", _write_prompts, _read_prompts, ("*",)),
)
SEEDS = tuple(
  Seed(name, family, *rest)
  for family, rows in (
    ("records", _RECORDS),
    ("manifests", _MANIFESTS),
    ("runs and prompts", _RUNS),
  )
  for name, *rest in rows
)
