"""Captions from a server that fails in every way that servers do."""

import datetime
import email.utils
import json
import logging

import pytest

from ltx_jax.curation.captions import caption
from ltx_jax.curation.endpoint import Endpoint
from ltx_jax.curation.replies import Cache, Captioner, NoReply, Question
from tests.curation.caption_case import clip, failing, said_of, serving, stills_of

BUSY = (429, {"error": {"message": "slow down"}}, [("Retry-After", "2")])
BROKEN = (500, b"Internal Server Error")
QUESTION = Question(stills_of(clip("a")), "What is it?")


def endpoint(server, **given):
  """A client that notes its pauses instead of making them."""
  pauses = []
  quick = {"timeout": 0.5, "sleep": pauses.append, "draw": lambda: 0.5}
  return Endpoint(server.url, "m", **(quick | given)), pauses


def test_every_clip_is_captioned_once_by_a_server_that_fails_often(tmp_path):
  """Bar: at most 1.6 calls a clip, and none on a second run."""
  clips = [clip(f"c{k}") for k in range(200)]
  faults = failing(0.3, [BUSY, BROKEN, "hang", "cut", "closed", "garbage"])
  with serving(fault=faults) as server:
    ask, pauses = endpoint(server, timeout=1.0)
    found = list(caption(clips, stills_of, ask, Cache(tmp_path / "r.jsonl")))
    calls = len(server.calls)
    again = list(caption(clips, stills_of, ask, Cache(tmp_path / "r.jsonl")))
    assert len(server.calls) == calls
  assert [c.id for c in found] == [c.id for c in clips]
  assert [c.caption for c in found] == [said_of(stills_of(c)) for c in clips]
  assert again == found and not any(c.decision for c in found)
  assert len((tmp_path / "r.jsonl").read_text().splitlines()) == len(clips)
  assert len(clips) < calls <= 1.6 * len(clips)
  assert len(pauses) == calls - len(clips)


def test_the_request_is_one_of_chat_completions():
  with serving() as server:
    ask, _ = endpoint(server, seed=7, most_tokens=300)
    assert isinstance(ask, Captioner)
    (reply,) = ask([QUESTION])
    ((path, body, headers),) = server.calls
  assert reply == (said_of(QUESTION.stills), "stop", 42, "m-1")
  assert path == "/v1/chat/completions"
  assert (body["model"], body["temperature"], body["seed"]) == ("m", 0, 7)
  assert body["max_tokens"] == 300
  ((text, *images),) = (message["content"] for message in body["messages"])
  assert text == {"type": "text", "text": "What is it?"}
  assert [image["type"] for image in images] == ["image_url"] * 3
  assert "Authorization" not in headers


@pytest.mark.parametrize(
  ("fault", "why"),
  [
    (BROKEN, "500 Internal Server Error"),
    ((408, b""), "408 Request Timeout"),
    ((503, {"error": "busy"}), "503 busy"),
    ("hang", "timed out"),
    ("cut", "a connection that broke"),
    ("closed", "Remote end closed connection without response"),
    ("garbage", "an answer that is no chat completion"),
    ((200, {"choices": []}), "an answer that is no chat completion"),
    ((200, [1]), "an answer that is no chat completion"),
    ((200, b"x" * (5 * 2**20)), "an answer without end"),
  ],
)
def test_what_may_pass_is_tried_six_times(fault, why):
  with serving(fault=lambda number: fault) as server:
    ask, pauses = endpoint(server, timeout=0.2)
    with pytest.raises(NoReply, match=f"failed 6 times: {why}"):
      ask([QUESTION])
    assert len(server.calls) == 6
  # Half of what is at most drawn: 1, 2, 4, 8, 16 seconds.
  assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_pauses_grow_to_a_minute():
  with serving(fault=lambda number: BROKEN) as server:
    ask, pauses = endpoint(server, tries=9, draw=lambda: 1.0)
    with pytest.raises(NoReply):
      ask([QUESTION])
  assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_nobody_listens():
  with serving() as server:
    pass
  ask, _ = endpoint(server, tries=2)
  with pytest.raises(NoReply, match="failed 2 times: Connection refused"):
    ask([QUESTION])


def in_seconds(count):
  now = datetime.datetime.now(datetime.UTC)
  return email.utils.format_datetime(now + datetime.timedelta(seconds=count), True)


@pytest.mark.parametrize(
  ("header", "low", "high"),
  [
    ("7", 7, 7),
    ("0", 0.5, 0.5),
    ("nan", 0.5, 0.5),
    ("-3", 0.5, 0.5),
    ("soon", 0.5, 0.5),
    ("1e9", 600, 600),
    (3600, 1, 3601),
    (-3600, 0.5, 0.5),
  ],
)
def test_the_server_may_ask_for_a_longer_pause(header, low, high):
  header = in_seconds(header) if isinstance(header, int) else header
  fault = (429, b"", [("Retry-After", header)])
  with serving(fault=lambda number: "" if number else fault) as server:
    ask, pauses = endpoint(server)
    ask([QUESTION])
  assert len(pauses) == 1 and low <= pauses[0] <= high


@pytest.mark.parametrize(
  ("status", "remedy"),
  [
    (400, "give a model that sees images"),
    (403, "put a key that may use this model"),
    (404, "give the URL up to /v1, and a model that this server has"),
    (422, "give the address and the model of a server"),
    (307, "give the address and the model of a server"),
  ],
)
def test_what_does_not_pass_ends_the_run_in_a_sentence(status, remedy, tmp_path):
  elsewhere = [("Location", "http://127.0.0.1:1/v1")]
  fault = (status, {"error": {"message": "no,\nnever."}}, elsewhere)
  with serving(fault=lambda number: fault) as server:
    ask, pauses = endpoint(server, at_once=2)
    with pytest.raises(ValueError) as error:
      list(caption([clip("a")], stills_of, ask, Cache(tmp_path / "r.jsonl")))
    assert len(server.calls) == 1 and pauses == []
  assert f"refuses to describe images with the model 'm' ({status} no, never)" in (
    str(error.value)
  )
  assert remedy in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_key_ends_the_run_and_is_shown_nowhere(monkeypatch, caplog, tmp_path):
  monkeypatch.setenv("CAPTIONS_KEY", "sk-secret")
  caplog.set_level(logging.DEBUG)
  with serving(key="sk-right") as server:
    ask, _ = endpoint(server, key_variable="CAPTIONS_KEY")
    with pytest.raises(ValueError) as error:
      list(caption([clip("a")], stills_of, ask, Cache(tmp_path / "r.jsonl")))
    assert "put a key that it takes into the environment variable CAPTIONS_KEY" in (
      str(error.value)
    )
    # The server repeats the key.
    assert "(401 no such key: Bearer [key])" in str(error.value)
    monkeypatch.setenv("CAPTIONS_KEY", "sk-right\n")
    assert ask([QUESTION])[0].text == said_of(QUESTION.stills)
  shown = [str(error.value), repr(ask), caplog.text, json.dumps(dict(ask.settings))]
  assert not any("secret" in text for text in shown)


@pytest.mark.parametrize(
  ("key", "state"),
  [("", "is not set"), ("two words", "holds no key"), ("a\nb: c", "holds no key")],
)
def test_a_key_that_is_none_is_not_sent(monkeypatch, key, state):
  monkeypatch.setenv("CAPTIONS_KEY", key)
  ask = Endpoint("http://127.0.0.1:1/v1", "m", key_variable="CAPTIONS_KEY")
  with pytest.raises(ValueError, match=f"CAPTIONS_KEY {state}") as error:
    ask([QUESTION])
  assert not key or key not in str(error.value)


@pytest.mark.parametrize(
  ("body", "reply"),
  [
    ({"content": None, "refusal": "No."}, "No."),
    ({"content": None}, ""),
    ({"content": [{"type": "text", "text": "A"}, {"text": None}, {"text": "B"}]}, "AB"),
  ],
)
def test_messages_of_other_kinds(body, reply):
  answer = {"choices": [{"message": body, "finish_reason": None}]}
  with serving(fault=lambda number: (200, answer)) as server:
    ask, _ = endpoint(server)
    assert ask([QUESTION]) == [(reply, "stop", 0, "m")]


def test_the_address_may_be_written_in_full():
  with serving() as server:
    ask, _ = endpoint(server)
    for url in (f"{server.url}/", f"{server.url}/chat/completions"):
      Endpoint(url, "m")([QUESTION])
    assert {path for path, _, _ in server.calls} == {"/v1/chat/completions"}


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"url": "localhost:8000/v1"}, "give an address such as http://localhost:8000/v1"),
    ({"url": "file:///etc/passwd"}, "give an address such as"),
    ({"url": "http://me:secret@host/v1"}, "has a password in its address"),
    ({"tries": 0}, "tries is 0; it must be at least 1"),
    ({"timeout": 0.0}, "timeout is 0.0; it must be above 0"),
  ],
)
def test_bad_options_are_refused_in_words(given, message):
  with pytest.raises(ValueError, match=message) as error:
    Endpoint(**({"url": "http://localhost/v1", "model": "m"} | given))
  assert "secret" not in str(error.value)


def test_replies_depend_on_the_model_but_not_on_the_address():
  one, other = (Endpoint(f"http://{host}/v1", "m") for host in "ab")
  assert one.settings == other.settings
  assert one.settings != Endpoint("http://a/v1", "n").settings
