"""Expands a prompt with a language model, behind any OpenAI-compatible endpoint.

    python -m sample.generate "a fox in the snow" --model ltxv-2b-0.9.6-dev \\
      --enhance http://localhost:8000/v1 --enhance-model qwen3-4b

A request is a POST of {"model", "messages"} to URL/chat/completions, and the text of
the answer replaces the prompt. Nothing is sent unless --enhance is given, and then only
the prompts, never images. If the environment variable ENHANCE_API_KEY is set, it is
sent as the bearer token.
"""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from ltx_jax.files import parse_json

KEY = "ENHANCE_API_KEY"
"""The environment variable with the key of the endpoint."""

TIMEOUT = 120.0
"""Seconds to wait for an answer; a model may have to be loaded first."""

INSTRUCTION = (
  "You turn short ideas for videos into captions for a video generator. Answer with "
  "one paragraph of plain English, 80 to 150 words, and nothing else. Keep "
  "everything that the idea says. Write in the present tense and in the order of "
  "time: first the main action, then how people, animals and things move and "
  "change, what they look like, the place and its background, where the camera is "
  "and how it moves, and the light and colors. Describe one continuous shot. Say "
  "what can be seen, not what it means."
)

_PATH = "/chat/completions"
_MOST_SAID = 200
_UNSET = tyro.conf.arg(help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class EnhanceFlags:
  """Expansion of prompts by a language model; off unless an address is given."""

  enhance: Annotated[str | None, tyro.conf.arg(metavar="URL"), _UNSET] = None
  """Address of an OpenAI-compatible endpoint that turns each prompt into a paragraph,
  such as http://localhost:8000/v1."""

  enhance_model: Annotated[str | None, tyro.conf.arg(metavar="NAME"), _UNSET] = None
  """Model for --enhance, if the endpoint has several."""

  def apply(self, prompts: Sequence[str]) -> tuple[str, ...]:
    """Returns the expanded prompts, or the given ones if it is off.

    Raises:
      ValueError: If the endpoint does not answer with a text.
    """
    if self.enhance is None:
      if self.enhance_model is not None:
        raise ValueError(
          f"--enhance-model is {self.enhance_model}, but there is no endpoint; give "
          "--enhance URL, or leave it out."
        )
      return tuple(prompts)
    longer = {
      prompt: enhanced(prompt, self.enhance, self.enhance_model)
      for prompt in dict.fromkeys(prompts)
    }
    return tuple(longer[prompt] for prompt in prompts)


def enhanced(
  prompt: str, url: str, model: str | None = None, timeout: float = TIMEOUT
) -> str:
  """Returns a prompt expanded by the endpoint's model, as one line.

  Args:
    prompt: An idea for a video.
    url: Address of the endpoint, with or without /chat/completions at its end.
    model: Name of one of its models; None leaves the choice to the endpoint.
    timeout: Time limit in seconds, for connecting and for every read.

  Raises:
    ValueError: If there is no answer, or no text in it.
  """
  request = _request(prompt, url, model)
  try:
    with urllib.request.urlopen(request, timeout=timeout) as response:
      answer = response.read()
  except urllib.error.HTTPError as error:
    raise ValueError(
      f"--enhance {url} answers with error {error.code}: {_said(error)}; check the "
      f"address, --enhance-model and the key in {KEY}, or leave --enhance out."
    ) from None
  except OSError as error:  # Includes timeouts and all other errors of urllib.
    reason = getattr(error, "reason", error)
    reason = getattr(reason, "strerror", None) or reason
    raise ValueError(
      f"--enhance {url} does not answer ({reason}); check that it runs, or leave "
      "--enhance out."
    ) from None
  return _text(answer, url)


def _request(prompt: str, url: str, model: str | None) -> urllib.request.Request:
  parts = urllib.parse.urlsplit(url)
  if parts.scheme not in ("http", "https") or not parts.netloc:
    raise ValueError(
      f"--enhance is {url}; give the address of an OpenAI-compatible endpoint, such as "
      "http://localhost:8000/v1."
    )
  path = parts.path.rstrip("/").removesuffix(_PATH) + _PATH
  body: dict[str, Any] = {
    "messages": [
      {"role": "system", "content": INSTRUCTION},
      {"role": "user", "content": prompt},
    ]
  }
  if model is not None:
    body["model"] = model
  headers = {"Content-Type": "application/json"}
  if os.environ.get(KEY):
    headers["Authorization"] = f"Bearer {os.environ[KEY]}"
  address = urllib.parse.urlunsplit(parts._replace(path=path))
  return urllib.request.Request(address, json.dumps(body).encode(), headers)


def _said(error: urllib.error.HTTPError) -> str:
  """Returns the endpoint's message, on one line and shortened."""
  words = " ".join(error.read().decode("utf-8", "replace").split())
  return words[:_MOST_SAID] or error.reason


def _text(answer: bytes, url: str) -> str:
  try:
    text = parse_json(answer)["choices"][0]["message"]["content"]
    line = " ".join(text.split())
  except (ValueError, LookupError, TypeError, AttributeError):
    line = ""
  if not line:
    raise ValueError(
      f"--enhance {url} answers without a text; it must be an OpenAI-compatible "
      "endpoint for chat completions."
    )
  return line
