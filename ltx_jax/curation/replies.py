"""Questions about clips, and the replies to them, which are kept.

A network that writes captions is asked a `Question`: some stills of a clip and a
prompt. Its `Reply` may cost seconds of an accelerator, and need not come out equal a
second time, even at temperature 0. So every reply is kept under the hash of all that it
depends on,

    key = sha256(stills, prompt, model, settings)

before anything else is done with it, and the same question is not asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from ltx_jax.errors import shown
from ltx_jax.files import AnyPath, NotJSON, json_bytes, named_in_errors, parse_json

Settings = Mapping[str, str | int | float]


class Stills(NamedTuple):
  """Some images of a clip, in order.

  Attributes:
    images: JPEG files.
    seconds: When each is shown, from the beginning of the clip.
  """

  images: tuple[bytes, ...]
  seconds: tuple[float, ...]


class Question(NamedTuple):
  """What a captioner is asked.

  Attributes:
    stills: What it sees.
    prompt: What it reads.
  """

  stills: Stills
  prompt: str


class Reply(NamedTuple):
  """What a captioner writes.

  Attributes:
    text: The caption, as it was written.
    finish: Why it ended: "stop", or "length" if there were too many tokens.
    tokens: Number of its tokens; 0 if that is not known.
    model: Name of the network, in the words of who runs it.
  """

  text: str
  finish: str
  tokens: int
  model: str


class NoReply(Exception):
  """Some questions have no reply, now; the message is the reason, without a stop."""


@runtime_checkable
class Captioner(Protocol):
  """A network that writes captions, here or on a server.

  Calling it gives the replies to some questions, in their order. It raises `NoReply` if
  they have none, and a `ValueError` if no other question would have one.
  """

  @property
  def settings(self) -> Settings:
    """All that replies depend on: the network and its options."""
    ...

  @property
  def batch(self) -> int:
    """Number of questions in a call."""
    ...

  @property
  def at_once(self) -> int:
    """Number of calls at the same time, each from a thread of its own."""
    ...

  def __call__(self, questions: Sequence[Question]) -> list[Reply]: ...


def key(question: Question, settings: Settings) -> str:
  """Returns the name under which the reply to a question is kept."""
  digest = hashlib.sha256()
  options = json.dumps(dict(settings), sort_keys=True).encode()
  prompt = question.prompt.encode()
  for part in (options, prompt, *question.stills.images):
    # With its length, so that no part can pass for two.
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)
  return digest.hexdigest()


class Cache:
  """Replies in a file, one a line; several processes may add to it.

  A line is written at once and flushed, so an interrupted run leaves at most one torn
  line, the last. Torn lines are skipped: their questions are asked again.
  """

  def __init__(self, path: AnyPath):
    """Reads the file, if there is one.

    Raises:
      ValueError: If a line is whole, but is no reply.
      OSError: If the file cannot be read.
    """
    self._path = os.fspath(path)
    self._lock = threading.Lock()
    self._replies: dict[str, Reply] = {}
    self._torn = False
    if os.path.exists(self._path):
      with open(self._path, "rb") as file:
        for number, line in enumerate(file, 1):
          self._torn = not line.endswith(b"\n")
          self._read(number, line)

  def __len__(self) -> int:
    return len(self._replies)

  def get(self, name: str) -> Reply | None:
    """Returns the reply that is kept under a key; None if there is none."""
    return self._replies.get(name)

  def keep(self, name: str, reply: Reply) -> Reply:
    """Keeps a reply, and returns the one that is kept: the first under its key."""
    with self._lock:
      if name in self._replies:
        return self._replies[name]
      line = json_bytes({"key": name, **reply._asdict()}) + b"\n"
      folder = os.path.dirname(self._path)
      with named_in_errors(self._path):
        os.makedirs(folder or ".", exist_ok=True)
        with open(self._path, "ab", buffering=0) as file:
          file.write(b"\n" * self._torn + line)
      self._torn = False
      self._replies[name] = reply
      return reply

  def _read(self, number: int, line: bytes) -> None:
    try:
      row = parse_json(line)
    except NotJSON:
      return
    name, reply = _reply(row) or (None, None)
    if reply is None:
      raise ValueError(
        f"{self._path}, line {number}, is {shown(row)}, which is no reply of a "
        "captioner; name a file that curation wrote, or a new one."
      )
    self._replies.setdefault(name, reply)


def _reply(row: object) -> tuple[str, Reply] | None:
  """Returns what a line holds; None if it is something else."""
  if not isinstance(row, dict) or not isinstance(row.get("key"), str):
    return None
  kinds = {"text": str, "finish": str, "tokens": int, "model": str}
  if not all(isinstance(row.get(name), kind) for name, kind in kinds.items()):
    return None
  return row["key"], Reply(*(row[name] for name in Reply._fields))
