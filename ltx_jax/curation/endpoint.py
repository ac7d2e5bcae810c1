"""Captions from a server that speaks the chat completions of OpenAI.

vLLM, SGLang, llama.cpp and many services do: `POST URL/chat/completions` with the
stills as data URLs. Servers are busy, restart and break connections, so what may pass
is tried again. Before try k + 1 a client waits for a random time (Brooker, "Exponential
Backoff And Jitter", 2015),

    wait = uniform(0, min(60, 2^(k - 1)) seconds),

and never for less than the server asks for. What does not pass, as a wrong key, ends
the run in a sentence. The key comes from the environment, and no message repeats it.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import email.utils
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from ltx_jax.curation.replies import NoReply, Question, Reply, Settings
from ltx_jax.errors import check_fields, said
from ltx_jax.files import NotJSON, parse_json

_PASSING = (408, 429)
_MOST_WAIT, _MOST_ASKED = 60.0, 600.0
_MOST_BYTES = 4 * 2**20
_CHUNK = 2**16
_BOUNDS = {
  "most_tokens": {"at_least": 1, "whole": True},
  "seed": {"at_least": 0, "whole": True},
  "at_once": {"at_least": 1, "whole": True},
  "tries": {"at_least": 1, "whole": True},
  "timeout": {"above": 0},
}
_REMEDIES = {
  400: "give a model that sees images, or ask for fewer stills or tokens",
  401: "put a key that it takes into the environment variable {key_variable}",
  403: "put a key that may use this model into the environment variable {key_variable}",
  404: "give the URL up to /v1, and a model that this server has",
}


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """A captioner on a server (`replies.Captioner`).

  Attributes:
    url: Address up to `/v1`.
    model: Name of the network on that server.
    key_variable: Environment variable that holds the key; "" if the server needs none.
    most_tokens: Largest number of tokens of a reply.
    seed: Seed that is sent; temperature is 0.
    at_once: Number of requests in flight.
    tries: Number of tries of each request.
    timeout: Seconds that a reply may take.
    sleep: Waits for seconds.
    draw: Returns a random number in [0, 1).
  """

  url: str
  model: str
  key_variable: str = ""
  most_tokens: int = 400
  seed: int = 0
  at_once: int = 32
  tries: int = 6
  timeout: float = 300.0
  sleep: Callable[[float], None] = time.sleep
  draw: Callable[[], float] = random.random

  def __post_init__(self):
    check_fields(self, _BOUNDS)
    parts = urllib.parse.urlsplit(self.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
      raise ValueError(
        f"The endpoint is {self.url!r}; give an address such as "
        "http://localhost:8000/v1."
      )
    if parts.username or parts.password:
      raise ValueError(
        f"The endpoint on {parts.hostname} has a password in its address; put it into "
        "an environment variable, and give the name of that."
      )

  @property
  def settings(self) -> Settings:
    """All that replies depend on; not the address, so that servers may move."""
    return {
      "model": self.model,
      "most_tokens": self.most_tokens,
      "seed": self.seed,
      "temperature": 0,
    }

  @property
  def batch(self) -> int:
    """One: a batch would wait for its longest reply."""
    return 1

  def __call__(self, questions: Sequence[Question]) -> list[Reply]:
    """Returns the replies to questions, one after the other.

    Raises:
      NoReply: If all tries of one failed.
      ValueError: If the server refuses for good.
    """
    return [self._replied(question) for question in questions]

  def _replied(self, question: Question) -> Reply:
    body = json.dumps(self._body(question)).encode()
    for k in range(self.tries):
      try:
        return _reply(self._sent(body), self.model)
      except _Passing as error:
        why, asked = str(error), error.seconds
      if k + 1 < self.tries:
        self.sleep(max(asked, self.draw() * min(_MOST_WAIT, 2.0**k)))
    raise NoReply(f"{self.url} failed {self.tries} times: {why}")

  def _body(self, question: Question) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": question.prompt}]
    for image in question.stills.images:
      url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
      content.append({"type": "image_url", "image_url": {"url": url}})
    return {
      "model": self.model,
      "messages": [{"role": "user", "content": content}],
      "max_tokens": self.most_tokens,
      "temperature": 0,
      "seed": self.seed,
    }

  def _sent(self, body: bytes) -> bytes:
    """Returns what the server answers to a request.

    Raises:
      _Passing: If it may answer another time.
      ValueError: If it will not.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "ltx-jax"}
    if key := self._key():
      headers["Authorization"] = f"Bearer {key}"
    address = self.url.rstrip("/").removesuffix("/chat/completions")
    request = urllib.request.Request(f"{address}/chat/completions", body, headers)
    try:
      with _OPENER.open(request, timeout=self.timeout) as response:
        return _read(response, time.monotonic() + self.timeout)
    except urllib.error.HTTPError as error:
      with error:
        raise self._refusal(error, key) from None
    except (OSError, http.client.HTTPException) as error:
      reason = getattr(error, "reason", error)
      words = said(reason) if isinstance(reason, BaseException) else str(reason)
      raise _Passing(words.replace(key, "[key]") if key else words) from None

  def _key(self) -> str:
    if not self.key_variable:
      return ""
    key = os.environ.get(self.key_variable, "").strip()
    # Neither is a key shown, nor sent to where it breaks a header.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
      state = "holds no key: it has spaces or odd characters" if key else "is not set"
      raise ValueError(
        f"The environment variable {self.key_variable} {state}; put the key of "
        f"{self.url} into it."
      )
    return key

  def _refusal(self, error: urllib.error.HTTPError, key: str) -> Exception:
    """Returns what a status of the server means."""
    words = f"{error.code} {_message(error)}".strip()
    words = words.replace(key, "[key]") if key else words
    if error.code in _PASSING or error.code >= 500:
      return _Passing(words, _seconds(error.headers.get("Retry-After", "")))
    variable = self.key_variable or "that --help names"
    remedy = _REMEDIES.get(error.code, "give the address and the model of a server")
    return ValueError(
      f"{self.url} refuses to describe images with the model {self.model!r} ({words}); "
      f"{remedy.format(key_variable=variable)}."
    )


class _Passing(Exception):
  """A request failed, but may not another time.

  `seconds` is how long to wait before, at least.
  """

  def __init__(self, why: str, seconds: float = 0.0):
    super().__init__(why)
    self.seconds = seconds


class _Stay(urllib.request.HTTPRedirectHandler):
  """Follows no redirection: it would take the key to another server."""

  def redirect_request(self, req, fp, code, msg, headers, newurl):
    return None


_OPENER = urllib.request.build_opener(_Stay)


def _read(response: http.client.HTTPResponse, until: float) -> bytes:
  """Reads an answer that neither grows without end nor takes for ever."""
  parts, size = [], 0
  while part := response.read1(_CHUNK):
    parts.append(part)
    size += len(part)
    if size > _MOST_BYTES:
      raise _Passing("an answer without end")
    if time.monotonic() > until:
      raise _Passing("timed out")
  # Only now is it known whether all of it came.
  if response.length:
    raise _Passing("a connection that broke")
  return b"".join(parts)


def _reply(answer: bytes, model: str) -> Reply:
  try:
    body = parse_json(answer)
    choice = body["choices"][0]
    message = choice["message"]
    text = message.get("content")
    if isinstance(text, list):
      text = "".join(part.get("text") or "" for part in text)
    usage = body.get("usage") or {}
    count = usage.get("completion_tokens")
    return Reply(
      text if isinstance(text, str) else str(message.get("refusal") or ""),
      str(choice.get("finish_reason") or "stop"),
      count if isinstance(count, int) else 0,
      str(body.get("model") or model),
    )
  except (NotJSON, LookupError, TypeError, AttributeError):
    raise _Passing("an answer that is no chat completion") from None


def _message(error: urllib.error.HTTPError) -> str:
  """Returns what the server says about its refusal, in a few words."""
  try:
    text = error.read1(_CHUNK).decode(errors="replace")
    body = parse_json(text)
  except NotJSON:
    return said(Exception(text)) if text.strip() else str(error.reason)
  except (OSError, http.client.HTTPException):
    return str(error.reason)
  inner = body.get("error", body) if isinstance(body, dict) else body
  told = inner.get("message") if isinstance(inner, dict) else inner
  return said(Exception(told if isinstance(told, str) else text))


def _seconds(retry_after: str) -> float:
  """Returns the seconds that a `Retry-After` asks for, as a number or as a date."""
  try:
    asked = float(retry_after)
  except ValueError:
    try:
      when = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
      return 0.0
    if when.tzinfo is None:
      when = when.replace(tzinfo=datetime.UTC)
    asked = (when - datetime.datetime.now(datetime.UTC)).total_seconds()
  # Not a number compares as false.
  return min(asked, _MOST_ASKED) if asked > 0 else 0.0
