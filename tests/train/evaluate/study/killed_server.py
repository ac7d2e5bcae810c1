"""The real server under many raters, killed again and again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.train.evaluate.study import folder_case
from tests.train.evaluate.study.test_ballots import ballot
from train.evaluate.study import design, ledger
from train.evaluate.study.design import Rules

ROOT = Path(__file__).resolve().parents[4]


class Killed:
  """A server that is killed and started again."""

  def __init__(self, folder):
    self.folder, self.port, self.process = folder, None, None

  def start(self):
    command = [sys.executable, "-m", "train.evaluate.study", "serve", str(self.folder)]
    self.process = subprocess.Popen(
      [*command, "--port", "0"],
      cwd=ROOT,
      env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    said = []
    for line in self.process.stdout:
      said.append(line)
      if found := re.search(r"http://127\.0\.0\.1:(\d+)/r/", line):
        self.port = int(found[1])
        return
    raise AssertionError("".join(said))

  def end(self, how):
    self.process.send_signal(how)
    said = self.process.communicate(timeout=60)[0]
    return said


def rater(server, token, stop, acknowledged, problems, waits):
  """Votes until all is answered, as the page does: the same vote until it is told."""
  last = {}

  def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):  # Also if the server is killed meanwhile.
      connection.request(method, f"/r/{token}{path}", body and json.dumps(body))
      reply = connection.getresponse()
      return reply.status, reply.read()

  while not stop.is_set():
    try:
      status, content = ask("GET", "/state")
      face = json.loads(content)["open"]
      if face is None:
        return
      last = ballot(face)
      while not stop.is_set():
        sent = time.monotonic()
        try:
          status, content = ask("POST", "/vote", last)
        except (OSError, http.client.HTTPException):
          time.sleep(0.05)
          continue
        if status == 200:
          acknowledged.append(last["vote"])
          waits.append(time.monotonic() - sent)
          break
        if status != 425 and status != 503:
          problems.append((status, content))
          break
        time.sleep(0.1)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
      time.sleep(0.05)


class Outcome(NamedTuple):
  """What became of the votes.

  Attributes:
    acknowledged: Names of votes that the server said it keeps.
    kept: Names of votes in the file, a line each.
    fault: What is wrong with the chain of lines; "" if nothing is.
    problems: Other answers than those that a page expects.
    head: Hash of the last line.
    said: What the server said when it ended.
    waits: Seconds that each acknowledged request took.
    seconds: Seconds from the first start to the last vote.
  """

  acknowledged: list[str]
  kept: list[str]
  fault: str
  problems: list[Any]
  head: str
  said: str
  waits: list[float]
  seconds: float


def under_kills(
  folder: Path, raters: int, rules: Rules, kills: int, between: float = 3.0
) -> Outcome:
  """Lets raters vote to the end while the server is killed.

  Args:
    folder: Folder for the study.
    raters: Number of raters, each with a connection of its own.
    rules: Rules of the study.
    kills: Number of kills.
    between: Seconds between them.
  """
  made, tokens = folder_case.written(folder, raters, rules=rules)
  server, stop = Killed(folder), threading.Event()
  acknowledged, problems, waits = [], [], []
  server.start()
  begin = time.monotonic()
  given = stop, acknowledged, problems, waits
  threads = [
    threading.Thread(target=rater, args=(server, token, *given)) for token in tokens
  ]
  for thread in threads:
    thread.start()
  try:
    for _ in range(kills):
      time.sleep(between)
      server.end(signal.SIGKILL)
      server.start()
    for thread in threads:
      thread.join(timeout=240)
    seconds = time.monotonic() - begin
  finally:
    stop.set()
    said = server.end(signal.SIGTERM)
  chain = ledger.read(folder / design.VOTES, made.sha256)
  kept = [row["vote"] for row in chain.rows]
  said = said.replace("\n", " ")
  return Outcome(
    acknowledged, kept, chain.fault, problems, chain.head, said, waits, seconds
  )
