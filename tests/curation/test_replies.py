"""The cache of replies: one line each, whole or skipped, and the first one counts."""

import json

import pytest

from ltx_jax.curation.replies import Cache, Question, Reply, Stills, key

ONE = Reply('A caption: "é" 👩‍🚀\twith\nlines', "stop", 12, "m")
OTHER = Reply("another", "length", 3, "m")


def test_replies_are_read_back_equal(tmp_path):
  path = tmp_path / "new" / "replies.jsonl"
  cache = Cache(path)
  assert cache.keep("a", ONE) == ONE
  assert cache.keep("b", OTHER) == OTHER
  again = Cache(path)
  assert len(again) == 2
  assert again.get("a") == ONE and again.get("b") == OTHER and again.get("c") is None


def test_the_first_reply_to_a_question_is_the_one_that_counts(tmp_path):
  path = tmp_path / "replies.jsonl"
  cache = Cache(path)
  cache.keep("a", ONE)
  assert cache.keep("a", OTHER) == ONE
  assert len(path.read_bytes().splitlines()) == 1
  # Two processes asked at the same time.
  with path.open("ab") as file:
    file.write(json.dumps({"key": "a", **OTHER._asdict()}).encode() + b"\n")
  assert Cache(path).get("a") == ONE


def test_every_reply_is_on_the_disk_at_once(tmp_path):
  path = tmp_path / "replies.jsonl"
  cache = Cache(path)
  for count in range(1, 4):
    cache.keep(str(count), ONE)
    assert len(Cache(path)) == count


@pytest.mark.parametrize("left", [1, 10, 40])
def test_a_torn_line_is_asked_again_and_harms_no_other(tmp_path, left):
  path = tmp_path / "replies.jsonl"
  Cache(path).keep("a", ONE)
  whole = path.read_bytes()
  path.write_bytes(whole + whole[:left])
  torn = Cache(path)
  assert len(torn) == 1
  torn.keep("b", OTHER)
  torn.keep("c", OTHER)
  again = Cache(path)
  assert [again.get(name) for name in "abc"] == [ONE, OTHER, OTHER]


@pytest.mark.parametrize(
  "line", ['{"id": "a", "path": "a.mp4"}', "[]", '{"key": "a", "text": 1}']
)
def test_a_file_of_something_else_is_refused(tmp_path, line):
  path = tmp_path / "manifest.jsonl"
  path.write_text(line + "\n")
  with pytest.raises(ValueError, match="manifest.jsonl, line 1, is .* no reply of a"):
    Cache(path)


def test_halves_of_surrogate_pairs_are_kept(tmp_path):
  odd = ONE._replace(text="a\ud800b")
  Cache(tmp_path / "r").keep("a", odd)
  assert Cache(tmp_path / "r").get("a") == odd


def test_the_key_depends_on_everything():
  stills = Stills((b"ab", b"c"), (0.0, 1.0))
  question = Question(stills, "prompt")
  keys = {
    key(question, {"model": "m"}),
    key(question, {"model": "n"}),
    key(question, {"model": "m", "seed": 1}),
    key(question._replace(prompt="prompt "), {"model": "m"}),
    key(Question(Stills((b"a", b"bc"), (0.0, 1.0)), "prompt"), {"model": "m"}),
    key(Question(Stills((b"c", b"ab"), (0.0, 1.0)), "prompt"), {"model": "m"}),
  }
  assert len(keys) == 6
  assert key(question, {"a": 1, "b": 2}) == key(question, {"b": 2, "a": 1})
