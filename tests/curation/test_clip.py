"""Sources, spans, clips and decisions: JSON both ways, and faults by field."""

import dataclasses
import json
import math

import pytest

from ltx_jax.curation import clip as clips
from ltx_jax.curation.clip import Clip, Decision, Source, Span, from_json, to_json
from ltx_jax.data import manifest
from ltx_jax.files import json_bytes, parse_json

SOURCE = Source("a", "a.mp4", 640, 360, 500, 25.0, 20.0, 5.0, (0.0, 10.0), 1234)
CLIP = Clip(
  "a@1500",
  "a",
  0,
  "a.mp4",
  1.5,
  3.5,
  640,
  360,
  50,
  25.0,
  crop=(0, 40, 640, 280),
  caption="A man walks.",
  scores={"motion": 0.1},
  stills=("s0.jpg",),
  hashes=("00ff",),
  decision=Decision("motion", "static", 0.001, 0.005),
  extra={"licence": "CC0"},
)


@pytest.mark.parametrize("value", [SOURCE, CLIP, CLIP.decision])
def test_json_reads_back_equal(value):
  again = from_json(type(value), parse_json(json_bytes(to_json(value))))
  assert again == value


def test_a_name_that_is_no_text_reads_back_equal():
  odd = dataclasses.replace(SOURCE, path='b\udcff\n".mp4')
  assert from_json(Source, parse_json(json_bytes(to_json(odd)))) == odd


def test_unknown_fields_are_kept_and_written_back():
  row = to_json(SOURCE) | {"camera": {"lens": 35}}
  again = from_json(Source, row)
  assert again.extra == {"camera": {"lens": 35}}
  assert to_json(again) == row


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("id", 7, "its id is 7; it must be a text"),
    ("span", 1.5, "its span is 1.5; it must be a whole number"),
    ("frames", True, "its frames is True; it must be a whole number"),
    ("fps", "fast", "its fps is 'fast'; it must be a number"),
    ("start", math.nan, "its start is nan; it must be a number"),
    ("crop", [0, 0, 0, 4], r"its crop is \[0, 0, 0, 4\]; it must be null or \[x"),
    ("scores", {"motion": "high"}, "its scores is .*; it must be an object"),
    ("stills", "s0.jpg", "its stills is 's0.jpg'; it must be a list of texts"),
    ("decision", {"rule": "a"}, "in its decision, its field 'reason' is missing"),
    (
      "decision",
      {"rule": "a", "reason": "ugly", "value": 1},
      "in its decision, its reason is 'ugly'; it must be one of unreadable",
    ),
  ],
)
def test_faults_name_the_field(field, value, message):
  with pytest.raises(ValueError, match=message):
    from_json(Clip, to_json(CLIP) | {field: value})


def test_missing_fields_are_named():
  row = to_json(CLIP)
  del row["fps"]
  with pytest.raises(ValueError, match="its field 'fps' is missing"):
    from_json(Clip, row)
  with pytest.raises(ValueError, match="it must be an object of JSON"):
    from_json(Clip, [1])
  decision = to_json(CLIP.decision) | {"mood": 1}
  with pytest.raises(ValueError, match="its field 'mood' is not known"):
    from_json(Decision, decision)


def test_edges_ascend():
  with pytest.raises(ValueError, match="its edges is .* ascending"):
    from_json(Source, to_json(SOURCE) | {"edges": [3, 1]})


def test_spans_cover_a_source():
  first, second = clips.spans(SOURCE)
  assert (first.start, first.end, first.id) == (0.0, 10.0, "a#0")
  assert (second.start, second.end) == (10.0, math.inf)
  assert second == Span(SOURCE, 1)


def test_a_kept_clip_is_a_row_of_a_manifest(tmp_path):
  manifest.write_manifest(tmp_path / "m.jsonl", [clips.row_of(CLIP)])
  line = json.loads((tmp_path / "m.jsonl").read_text())
  assert line["id"] == clips.clip_id("a", 1.5) == "a@1500"
  assert line["crop"] == [0, 40, 640, 280] and line["licence"] == "CC0"
  (row,) = manifest.read_manifest(tmp_path / "m.jsonl")
  assert (row.start, row.end, row.frames, row.fps) == (1.5, 3.5, 50, 25.0)
  assert CLIP.seconds == 2.0 and CLIP.size == (640, 280)


def test_a_clip_has_the_mean_and_the_least_of_its_stills():
  scores = {"a": 1.0, "b": -2.0, "c": 4.0, "other": 9.0}
  found = clips.aesthetics(("a", "b", "c"), scores)
  assert found == {"aesthetic": 1.0, "aesthetic_least": -2.0}
  # One of its stills has no score yet: others must not speak for it.
  assert clips.aesthetics(("a", "d"), scores) == clips.aesthetics((), scores) == {}
