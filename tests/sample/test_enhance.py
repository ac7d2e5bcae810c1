"""Prompts made longer by an endpoint, here one that runs in this process."""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import ltx_jax
from sample import enhance, generate
from sample.enhance import EnhanceFlags, enhanced
from sample.flags import WindowFlags
from tests.sample.test_generate import OTHER, PROMPT, SIZE


def completion(text):
  return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture
def endpoint():
  """An endpoint with its address, its requests, and its answer."""

  class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
      length = int(self.headers["Content-Length"])
      body = json.loads(self.rfile.read(length))
      server.asked.append((self.path, body, self.headers["Authorization"]))
      server.wait.wait()
      self.send_response(server.status)
      self.end_headers()
      self.wfile.write(server.answer(body["messages"][-1]["content"]))

    def log_message(self, *_):
      pass

  server = HTTPServer(("127.0.0.1", 0), Handler)
  server.url = f"http://127.0.0.1:{server.server_port}/v1"
  server.asked, server.status, server.wait = [], 200, threading.Event()
  server.wait.set()
  server.answer = lambda prompt: completion(f" {prompt},\n in the rain ")
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  yield server
  server.wait.set()
  server.shutdown()
  server.server_close()
  thread.join()


def test_the_answer_takes_the_prompts_place_on_one_line(endpoint, monkeypatch):
  monkeypatch.delenv(enhance.KEY, raising=False)
  assert enhanced("a fox", endpoint.url) == "a fox, in the rain"
  path, body, key = endpoint.asked[0]
  assert path == "/v1/chat/completions" and key is None
  assert [message["role"] for message in body["messages"]] == ["system", "user"]
  assert body.keys() == {"messages"}


def test_address_model_and_key_are_those_given(endpoint, monkeypatch):
  monkeypatch.setenv(enhance.KEY, "secret")
  enhanced("a fox", f"{endpoint.url}/chat/completions", "large")
  path, body, key = endpoint.asked[0]
  assert path == "/v1/chat/completions"
  assert body["model"] == "large" and key == "Bearer secret"


def test_each_prompt_is_asked_for_once(endpoint):
  flags = EnhanceFlags(endpoint.url)
  longer = "a fox, in the rain", "a cat, in the rain"
  assert flags.apply(("a fox", "a cat", "a fox")) == (*longer, longer[0])
  assert len(endpoint.asked) == 2
  assert EnhanceFlags().apply(("a fox",)) == ("a fox",)
  assert len(endpoint.asked) == 2


def test_an_error_of_the_endpoint_is_told_in_its_words(endpoint):
  endpoint.status, endpoint.answer = 404, lambda prompt: b"no model\nby that name"
  with pytest.raises(ValueError, match="error 404: no model by that name; check"):
    enhanced("a fox", endpoint.url)


@pytest.mark.parametrize(
  "answer",
  [b"", b"<html>", b"[]", b'{"choices": []}', completion(" "), completion(None)],
)
def test_an_answer_without_text_is_refused(endpoint, answer):
  endpoint.answer = lambda prompt: answer
  with pytest.raises(ValueError, match="answers without a text; it must be an Open"):
    enhanced("a fox", endpoint.url)


def test_who_does_not_answer_is_given_up(endpoint):
  endpoint.wait.clear()
  with pytest.raises(ValueError, match=r"does not answer \(timed out\); check that"):
    enhanced("a fox", endpoint.url, timeout=0.2)


def test_what_is_no_endpoint_is_refused(endpoint):
  for url in ("localhost:8000", "file:///etc/passwd", "http://"):
    with pytest.raises(ValueError, match="--enhance is .*; give the address of an"):
      enhanced("a fox", url)
  with pytest.raises(ValueError, match="does not answer .* check that it runs"):
    enhanced("a fox", "http://127.0.0.1:1/v1")
  with pytest.raises(
    ValueError, match="--enhance-model is m, but there is no endpoint"
  ):
    EnhanceFlags(None, "m").apply(("a fox",))


def test_with_windows_each_part_of_a_prompt_is_asked_for(endpoint):
  flags = EnhanceFlags(endpoint.url)
  options = generate.Options(prompts=(), enhance=flags)
  whole = "a fox | a bear"
  assert generate.longer((whole,), options) == (f"{whole}, in the rain",)
  options = dataclasses.replace(options, windows=WindowFlags(window=25))
  endpoint.answer = lambda prompt: completion(f"{prompt} | in the rain")
  expected = ("a fox , in the rain | a bear , in the rain",)
  assert generate.longer((whole,), options) == expected


@pytest.mark.slow
def test_the_program_shows_what_the_endpoint_says(endpoint, program, monkeypatch):
  encoded, encode = [], ltx_jax.LTXVideo.encode_text
  endpoint.answer = lambda prompt: completion(OTHER)

  def recorded(model, prompts):
    encoded.append(prompts)
    return encode(model, prompts)

  monkeypatch.setattr(ltx_jax.LTXVideo, "encode_text", recorded)
  asked = ("--enhance", endpoint.url, "--enhance-model", "large", "--guidance", "1")
  code, out, err = program(PROMPT, *SIZE, *asked, "--output", "a.png")
  assert (code, err) == (0, "")
  assert encoded == [[OTHER]]
  assert endpoint.asked[0][1]["model"] == "large"
  assert f"enhanced: {OTHER}" in out
  code, _, err = program(PROMPT, *SIZE, "--enhance-model", "large")
  assert code == 2 and "--enhance-model is large, but there is no endpoint" in err
