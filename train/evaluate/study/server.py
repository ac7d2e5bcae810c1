"""Serves a study: a page for each personal link, its clips, and votes that stay.

    GET  /r/TOKEN               the page
    GET  /r/TOKEN/state         the open pair and the last one
    GET  /r/TOKEN/media/NAME    a clip or image of those two
    POST /r/TOKEN/vote          a vote; the reply is the next state

All else is 404 without a hint. Clips are looked up among those of the rater's pairs, so
no path is ever made of what a browser sends. A vote is answered after it is on disk, or
after a second with 503: the page keeps it then, and sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ltx_jax.files import NotJSON, parse_json, read_text
from train.evaluate.study import design
from train.evaluate.study.ballots import Ballots, Refused, Row
from train.evaluate.study.design import Study
from train.evaluate.study.ledger import Ledger
from train.evaluate.study.raters import ACTIVE, Rater, hashed
from train.page.safety import HEADERS, policy

LONGEST = 2000
"""Largest number of bytes of a vote."""
PATIENCE = 1.0
"""Seconds after which a vote that is not on disk yet is answered with 503."""
_UPLOAD = 10.0  # Seconds that a vote may take to arrive.
_PAGE = Path(__file__).with_name("page.html")
_MEDIA = "img-src blob:; media-src blob:"
_LOG = logging.getLogger("ltx_jax")
_NOT_SAVED = "The vote is not saved yet."


class Server:
  """What the routes share; one event loop uses it."""

  def __init__(
    self,
    folder: Path,
    study: Study,
    raters: Sequence[Rater],
    ballots: Ballots,
    ledger: Ledger,
  ):
    """Reads the page; votes and shown trials were read before.

    Args:
      folder: Folder of the study.
      study: The study.
      raters: Who may vote.
      ballots: State of the votes.
      ledger: Where votes go.
    """
    self.study, self.ballots, self.ledger = study, ballots, ledger
    self.clock: Callable[[], float] = time.time
    self.refused = 0
    self._media = folder / design.MEDIA
    self._shown = open(folder / design.SHOWN, "ab", buffering=0)
    self._raters = {r.token: r.id for r in raters if r.state == ACTIVE}
    self._locks = {rater.id: asyncio.Lock() for rater in raters}
    self._tasks: set[asyncio.Task] = set()
    page = read_text(_PAGE)
    self._page, self._policy = page.encode(), policy(page, _MEDIA)

  def app(self) -> Starlette:
    """Returns the application."""
    base = "/r/{token}"
    routes = [
      Route(base, self._answer(self._see)),
      Route(f"{base}/state", self._answer(self._state)),
      Route(f"{base}/media/{{name}}", self._answer(self._clip)),
      Route(f"{base}/vote", self._answer(self._vote), methods=["POST"]),
    ]
    missing = self._answer(self._missing)
    errors = {404: missing, 405: missing}
    app = Starlette(routes=routes, exception_handlers=errors, lifespan=self._lifespan)
    # A redirect to a path with or without a slash would say that there is one.
    app.router.redirect_slashes = False
    return app

  @contextlib.asynccontextmanager
  async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
    yield
    await asyncio.gather(*self._tasks, return_exceptions=True)
    self.close()

  def close(self) -> None:
    """Writes the votes that have arrived, and closes the files."""
    self.ledger.close()
    self._shown.close()

  def _answer(
    self, work: Callable[[Request, str], Awaitable[Response]]
  ) -> Callable[..., Awaitable[Response]]:
    async def answer(request: Request, *_: Exception) -> Response:
      try:
        token = hashed(request.path_params.get("token", ""))
        rater = self._raters.get(token)
        if rater is None:
          raise Refused(HTTPStatus.NOT_FOUND, "")
        response = await work(request, rater)
      except Refused as refused:
        self.refused += refused.status == HTTPStatus.NOT_FOUND
        response = Response(str(refused), refused.status, media_type="text/plain")
      except ClientDisconnect:
        response = Response(status_code=HTTPStatus.BAD_REQUEST)
      for name, value in HEADERS.items():
        response.headers[name] = value
      response.headers["X-Robots-Tag"] = "noindex"
      response.headers.setdefault("Cache-Control", "no-store")
      return response

    return answer

  async def _missing(self, request: Request, rater: str) -> Response:
    raise Refused(HTTPStatus.NOT_FOUND, "")

  async def _see(self, request: Request, rater: str) -> Response:
    said = {"Content-Security-Policy": self._policy}
    return Response(self._page, headers=said, media_type="text/html")

  async def _state(self, request: Request, rater: str) -> Response:
    async with self._locks[rater]:
      return self._told(rater)

  async def _clip(self, request: Request, rater: str) -> Response:
    name = request.path_params["name"]
    path = self._media / name
    if name not in self.ballots.media(rater) or not path.is_file():
      raise Refused(HTTPStatus.NOT_FOUND, "")
    # A browser keeps what it has played; nobody between it and us does.
    said = {"Cache-Control": "private, max-age=3600"}
    return FileResponse(path, headers=said)

  async def _vote(self, request: Request, rater: str) -> Response:
    try:
      ballot = parse_json(await _body(request))
    except NotJSON:
      raise Refused(HTTPStatus.BAD_REQUEST, "This is no vote.") from None
    # It goes on if the browser leaves, or if the disk takes longer than we wait.
    task = asyncio.create_task(self._cast(rater, ballot, self.clock()))
    self._tasks.add(task)
    task.add_done_callback(self._tasks.discard)
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
      task.add_done_callback(_heard)
      raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_SAVED)
    try:
      return task.result()
    except OSError as error:
      _LOG.warning(f"A vote could not be written: {error.strerror or error}.")
      raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_SAVED) from None

  async def _cast(self, rater: str, ballot: Any, now: float) -> Response:
    """Writes a vote; votes of one rater wait for each other."""
    async with self._locks[rater]:
      try:
        row = self.ballots.check(rater, ballot, now)
      except Refused as refused:
        if refused.status != HTTPStatus.CONFLICT:
          raise
        return self._told(rater, refused.status)
      if row is not None:
        await asyncio.wrap_future(self.ledger.append(row))
        self.ballots.apply(row)
      return self._told(rater)

  def _told(self, rater: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Opens the next trial if none is open, and says what the page is to show."""
    if row := self.ballots.open(rater, self.clock()):
      try:
        self._shown.write(json.dumps(row).encode() + b"\n")
      except OSError as error:  # A restart would ask anew; votes say what they are for.
        _LOG.warning(f"A shown pair is not noted: {error.strerror or error}.")
    fixed: Row = {"question": self.study.question, "rate": self.study.rate}
    state = json.dumps(fixed | self.ballots.state(rater))
    return Response(state, status, media_type="application/json")


def _heard(task: asyncio.Task) -> None:
  """Takes note of an error that nobody waits for: the page sends its vote again."""
  if not task.cancelled() and (error := task.exception()):
    _LOG.warning(f"A vote could not be written: {error}.")


async def _body(request: Request) -> bytes:
  """Returns what a browser sends, if it is as short as a vote.

  Raises:
    Refused: If it is longer, or takes too long.
  """
  content = bytearray()
  try:
    async with asyncio.timeout(_UPLOAD):
      async for part in request.stream():
        content += part
        if len(content) > LONGEST:
          raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is no vote.")
  except TimeoutError:
    raise Refused(HTTPStatus.REQUEST_TIMEOUT, _NOT_SAVED) from None
  return bytes(content)
