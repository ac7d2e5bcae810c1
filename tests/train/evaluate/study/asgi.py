"""Speaks to an application as a server does, without a network."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple


class Reply(NamedTuple):
  status: int
  headers: dict[str, str]
  content: bytes

  def json(self):
    return json.loads(self.content)


async def asked(app, method, path, body=b"", *, headers=(), parts=None):
  """Sends a request whose body comes in parts; returns the reply."""
  waiting = [body] if parts is None else list(parts)
  sent = []

  async def receive():
    if not waiting:
      await asyncio.Event().wait()  # The browser waits for the reply.
    part = waiting.pop(0)
    if part is None:  # The browser went away.
      return {"type": "http.disconnect"}
    return {"type": "http.request", "body": part, "more_body": bool(waiting)}

  async def send(message):
    sent.append(message)

  scope = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": method,
    "scheme": "http",
    "path": path,
    "raw_path": path.encode(),
    "root_path": "",
    "query_string": b"",
    "headers": [(k.lower().encode(), v.encode()) for k, v in headers],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8000),
  }
  await app(scope, receive, send)
  start = sent[0]
  content = b"".join(m.get("body", b"") for m in sent[1:])
  found = {k.decode(): v.decode() for k, v in start["headers"]}
  return Reply(start["status"], found, content)


def ask(app, method, path, body=b"", **how):
  """Sends one request."""
  return asyncio.run(asked(app, method, path, body, **how))
