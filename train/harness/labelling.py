"""A small server, for this machine alone, that shows pairs and writes votes.

Every vote is a line that is written before the next pair is shown, so nothing is lost
when the program ends, and the next one goes on where it was. Taking a vote back writes
another line; nothing is ever removed.

Only programs of this machine can connect. The server answers under no other name than
its own, and takes votes only with a token that the page has, so that no other page in
the same browser can see pictures or vote. Pictures are asked for by number, and
messages name no files.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from ltx_jax.files import NotJSON, parse_json
from train.harness.labelling_page import PAGE, TOKEN
from train.harness.preferences import append_rows, read_votes
from train.page.safety import HEADERS, policy

VOTES = (0, 0.5, 1)
_LONGEST = 1000  # Bytes of a vote.
_POLICY = policy(PAGE, "img-src 'self'")


class Refused(Exception):
  """A request that is not answered; the message is shown on the page."""

  def __init__(self, status: HTTPStatus, words: str):
    super().__init__(words)
    self.status = status


class Session:
  """The pairs that one person sees, and the votes so far."""

  def __init__(self, pairs: Sequence[tuple[str, str]], path: Path, rater: str):
    """Reads the votes of an earlier session.

    Args:
      pairs: Names of the pictures of each pair.
      path: File of votes.
      rater: Name of the person.
    """
    self.pairs, self._path, self._rater = pairs, path, rater
    self._lock = threading.Lock()
    earlier = read_votes(path) if path.is_file() else {}
    number = {pair: k for k, pair in enumerate(pairs)}
    # In the order in which they were cast, so that the last one can be taken back.
    self._done = [
      number[first, second]
      for first, second, by in earlier
      if by == rater and (first, second) in number
    ]

  def state(self) -> dict[str, Any]:
    """Returns the number of the next pair, or None, and how many have a vote."""
    with self._lock:
      done = set(self._done)
      left = (k for k in range(len(self.pairs)) if k not in done)
      return {"pair": next(left, None), "done": len(done), "count": len(self.pairs)}

  def vote(self, pair: int, vote: float) -> None:
    """Writes a vote; another one for the same pair replaces it."""
    with self._lock:
      self._write(pair, vote)
      if pair in self._done:
        self._done.remove(pair)
      self._done.append(pair)

  def undo(self) -> None:
    """Takes the last vote back, if there is one."""
    with self._lock:
      if self._done:
        self._write(self._done[-1], None)
        self._done.pop()

  def _write(self, pair: int, vote: float | None) -> None:
    first, second = self.pairs[pair]
    row = {"first": first, "second": second, "vote": vote, "rater": self._rater}
    append_rows(self._path, [row])


class Labelling(ThreadingHTTPServer):
  """The server; `serve_forever` runs it."""

  daemon_threads = True

  def __init__(self, session: Session, paths: Mapping[str, Path], port: int):
    """Binds a port of this machine.

    Args:
      session: Pairs and votes.
      paths: File of each picture, by its name.
      port: Port; 0 takes any that is free.
    """
    self.session, self.paths = session, paths
    self.token = secrets.token_urlsafe(16)
    super().__init__(("127.0.0.1", port), _Handler)
    port = self.server_address[1]
    self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

  @property
  def url(self) -> str:
    """Address of the page."""
    return f"http://127.0.0.1:{self.server_address[1]}/"

  def handle_error(self, request: Any, client_address: Any) -> None:
    """Says nothing: a browser that goes away in the middle is no error."""


class _Handler(BaseHTTPRequestHandler):
  server: Labelling
  server_version, sys_version = "labelling", ""
  timeout = 30

  def log_message(self, format: str, *args: Any) -> None:
    """Says nothing."""

  def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
    """Refuses what is no proper request, in words."""
    self._send(HTTPStatus(code), "text/plain", b"This is no request of the page.")

  def do_GET(self) -> None:
    """Answers with the page, its state, or a picture."""
    self._answer(self._get)

  def do_POST(self) -> None:
    """Takes a vote, or takes one back."""
    self._answer(self._post)

  def _answer(self, work: Any) -> None:
    try:
      if self.headers.get("Host") not in self.server.hosts:
        raise Refused(HTTPStatus.FORBIDDEN, "Open the address that the program shows.")
      kind, content = work()
      self._send(HTTPStatus.OK, kind, content)
    except Refused as refused:
      self._send(refused.status, "text/plain", str(refused).encode())
    except ConnectionError:
      raise
    except OSError:
      words = b"The vote could not be written; see whether the disk is full."
      self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", words)

  def _get(self) -> tuple[str, bytes]:
    if self.path == "/":
      return "text/html", PAGE.replace(TOKEN, self.server.token).encode()
    if self.path == "/state":
      return self._state()
    parts = self.path.split("/")
    if len(parts) == 4 and parts[1] == "picture" and parts[3] in ("0", "1"):
      return self._picture(self._pair(parts[2]), int(parts[3]))
    raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")

  def _post(self) -> tuple[str, bytes]:
    given = self.headers.get("X-Token", "")
    if not secrets.compare_digest(given.encode(), self.server.token.encode()):
      raise Refused(HTTPStatus.FORBIDDEN, "Reload the page; it is an old one.")
    length = self.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit() and int(length) <= _LONGEST):
      raise Refused(HTTPStatus.BAD_REQUEST, "This is no vote.")
    content = self.rfile.read(int(length))
    if self.path == "/undo":
      self.server.session.undo()
    elif self.path == "/vote":
      self.server.session.vote(*self._vote(content))
    else:
      raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
    return self._state()

  def _vote(self, content: bytes) -> tuple[int, float]:
    try:
      row = parse_json(content)
    except NotJSON:
      row = None
    row = row if isinstance(row, dict) else {}
    vote = row.get("vote")
    if type(vote) not in (int, float) or vote not in VOTES:
      raise Refused(HTTPStatus.BAD_REQUEST, "A vote is 1, 0 or 0.5.")
    return self._pair(str(row.get("pair"))), vote

  def _pair(self, text: str) -> int:
    count = len(self.server.session.pairs)
    digits = text.isascii() and text.isdigit() and len(text) < 10
    if not digits or int(text) >= count:
      raise Refused(HTTPStatus.NOT_FOUND, f"There are {count} pairs.")
    return int(text)

  def _picture(self, pair: int, side: int) -> tuple[str, bytes]:
    path = self.server.paths[self.server.session.pairs[pair][side]]
    try:
      with Image.open(path) as image:
        kind = Image.MIME.get(image.format, "")
      content = path.read_bytes()
    except Exception:  # Damaged images make Pillow raise almost anything.
      raise Refused(HTTPStatus.NOT_FOUND, "The picture cannot be read.") from None
    return kind or "application/octet-stream", content

  def _state(self) -> tuple[str, bytes]:
    return "application/json", json.dumps(self.server.session.state()).encode()

  def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
    self.send_response(status)
    text = kind.startswith(("text/", "application/json"))
    self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
    self.send_header("Content-Length", str(len(content)))
    self.send_header("Cache-Control", "no-store")
    self.send_header("Content-Security-Policy", _POLICY)
    for name, value in HEADERS.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(content)
