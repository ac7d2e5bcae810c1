"""Starts a study's server: checks its files, restores its state, binds an address."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from ltx_jax.cli.console import counted
from ltx_jax.data import partial
from train.evaluate.study import design, ledger, raters
from train.evaluate.study.ballots import Ballots
from train.evaluate.study.design import Study
from train.evaluate.study.ledger import Ledger
from train.evaluate.study.server import Server

_LOCAL = ("127.0.0.1", "localhost", "::1")
_MOST_CONNECTIONS = 1000


def check_media(folder: Path, study: Study) -> None:
  """Compares all clips with their hashes.

  Raises:
    ValueError: If one is missing or was changed.
  """
  wrong = []
  for name, sha256 in study.clips().items():
    path = folder / design.MEDIA / name
    if not path.is_file():
      wrong.append(f"{name} is missing")
      continue
    with path.open("rb") as file:
      if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        wrong.append(f"{name} was changed")
  if wrong:
    more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
    raise ValueError(
      f"{folder / design.MEDIA} is not as make wrote it: {', '.join(wrong[:10])}"
      f"{more}; restore those files."
    )


def open_study(folder: Path, say: Callable[[str], None]) -> Server:
  """Returns a server that goes on where the last one ended.

  Args:
    folder: Folder of the study.
    say: Function that tells the owner what was found.

  Raises:
    ValueError: If a file is not as it was left.
  """
  study = design.read(folder)
  check_media(folder, study)
  people = raters.read(folder / design.RATERS)
  path = folder / design.VOTES
  start = study.sha256
  if torn := ledger.set_torn_aside(path, folder / design.TORN):
    say(
      f"The last line of {path} had no end, since a write was cut off; its {torn} "
      f"bytes are in {design.TORN}. Its vote was not acknowledged."
    )
  chain = ledger.read(path, start)
  if chain.fault:
    raise ValueError(
      f"{path} is broken: {chain.fault}. The study's hash is {start[:12]}; restore the "
      "file, or begin a new study."
    )
  ballots = Ballots(study, [rater.id for rater in people])
  ballots.restore(partial.read_json_lines(folder / design.SHOWN), chain.rows)
  book = Ledger(path, chain.head)
  say(f"{counted(len(chain.rows), 'vote')} so far, {counted(len(people), 'rater')}.")
  return Server(folder, study, people, ballots, book)


def serve(folder: Path, host: str, port: int, say: Callable[[str], None]) -> None:
  """Serves a study until it is interrupted.

  Raises:
    ValueError: If the study cannot be opened.
  """
  import uvicorn

  for name in ("uvicorn", "uvicorn.error"):
    logging.getLogger(name).setLevel(logging.WARNING)
  server = open_study(folder, say)
  try:
    with _bound(host, port) as bound:
      say(f"Links begin with {address(host, bound.getsockname()[1])}; Ctrl-C ends.")
      if host not in _LOCAL:
        say(
          "Others can reach this address. Put a server with TLS in front of it: over "
          "plain HTTP, links and votes can be read on their way."
        )
      config = uvicorn.Config(
        server.app(),
        # A line of an access log would hold a link.
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        h11_max_incomplete_event_size=16_384,
        timeout_graceful_shutdown=5,
      )
      uvicorn.Server(config).run([bound])
  finally:
    server.close()
    say(f"The votes end with the hash {server.ledger.head}; keep it for --head.")
    if server.refused:
      say(f"{counted(server.refused, 'request')} had no valid link or clip.")


def address(host: str, port: int) -> str:
  """Returns what all links begin with."""
  shown = f"[{host}]" if ":" in host else host
  return f"http://{shown}:{port}/r/"


def _bound(host: str, port: int) -> socket.socket:
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except OSError as error:
    raise ValueError(
      f"{host}:{port} cannot be listened on ({error.strerror or error}); give another "
      "--host or --port."
    ) from None
